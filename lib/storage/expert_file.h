#pragma once
// Expert trajectories: what networks looked like after every epoch of training on real images, and
// everything needed to train like them. Schema `retort.experts` 1.0, lib/storage/README.md.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/core/tensor.h"
#include "lib/data/image_dataset.h"
#include "lib/storage/state_file.h"
#include "lib/storage/trained_on.h"

namespace retort::storage {

inline constexpr char kExpertSchema[] = "retort.experts";

/// One parameter tensor; all of them, flattened one after the other, are a snapshot.
struct ParameterLayout {
  std::string name;                 ///< "features.0.weight"
  std::vector<std::int64_t> shape;  ///< 1 to 4 positive sizes

  std::int64_t numel() const;
  bool operator==(const ParameterLayout&) const = default;
};

/// What all experts of a file share.
struct ExpertInfo : TrainedOn {
  enum class Store { F32, Bf16 };

  std::string recipe;                   ///< "sgd", "gsam", "ast"; the root attribute `method`
  std::string network;                  ///< "ConvNet-3"
  std::vector<ParameterLayout> layout;  ///< tiles [0,P) in this order
  std::vector<std::int64_t> epochs;     ///< training epoch of every snapshot, ascending, first 0
  std::string options;       ///< the resolved recipe, `key = value` lines in a fixed order
  Store store = Store::F32;  ///< Bf16: snapshots are rounded when they are written
  /// Who trained, where: kept per expert, no part of the id and free to differ between experts. Of
  /// a file with several experts the different ones, joined with "; ".
  std::string program_version;
  std::string processor;
};

/// Log entries of one snapshot; NaN: not measured. Stored in single precision except norms and
/// time.
struct SnapshotLog {
  double train_loss = 0;      ///< mean over the epoch before; NaN for the first snapshot
  double train_accuracy = 0;  ///< percent; NaN for the first snapshot
  double test_loss = 0;
  double test_accuracy = 0;  ///< percent
  double norm = 0;           ///< |theta_s|
  double step_norm = 0;      ///< |theta_s - theta_(s-1)|; 0 for the first snapshot
  double wall_seconds = 0;   ///< spent since the snapshot before
};

/// What an expert's random streams started from. No two experts of a file share all three.
struct ExpertSeeds {
  std::uint64_t init = 0;
  std::uint64_t data = 0;
  std::uint64_t augment = 0;
  bool operator==(const ExpertSeeds&) const = default;
};

/// Everything that a file or a part says beside its snapshots.
struct ExpertSummary {
  struct Expert {
    ExpertSeeds seeds;
    bool complete = false;
    std::vector<SnapshotLog> log;  ///< one per snapshot: as many as info.epochs once complete
    std::string program_version;
    std::string processor;
  };

  ExpertInfo info;
  std::string id;                    ///< see ExpertReader::id
  std::optional<std::int64_t> part;  ///< the number of the expert, if the file is a part
  std::vector<Expert> experts;       ///< in file order
};

/// Reads a finished file or a part, running or complete, without its snapshots.
/// @throws StorageError naming file, rule and finding: not HDF5, another schema or a newer version,
///         damage outside of the snapshots, a missing field, a layout that does not tile
ExpertSummary read_expert_summary(const std::filesystem::path& path);

/// The id of a file of such experts: SHA-256 (hex) of the text that says what they have in common.
std::string expert_id(const ExpertInfo& info);

/// A finished file, or a complete part, opened once; any thread may read.
class ExpertReader {
 public:
  using Seeds = ExpertSeeds;

  /// @throws StorageError as read_expert_summary, and for a file without a complete expert
  explicit ExpertReader(const std::filesystem::path& path);
  ~ExpertReader();
  ExpertReader(ExpertReader&&) noexcept;

  /// Reads as if the file held the first `count` complete experts alone.
  /// @throws StorageError if it has fewer
  void keep_first(std::int64_t count);

  const std::filesystem::path& path() const;
  const ExpertInfo& info() const;
  /// See expert_id. More experts of the same kind do not change it.
  const std::string& id() const;
  /// Of seeds and snapshots: experts with the same are the same to the bit, in the same order. See
  /// `assets` in lib/storage/README.md.
  std::string sha256() const;
  std::int64_t experts() const;     ///< complete ones, numbered from 0 in file order
  std::int64_t parameters() const;  ///< P

  /// [P] float32, a copy. Its SHA-256 is checked when it is read for the first time.
  /// @param snapshot indexes info().epochs
  /// @throws StorageError naming expert and snapshot when the values are damaged
  Tensor snapshot(std::int64_t expert, std::int64_t snapshot) const;
  const SnapshotLog& log(std::int64_t expert, std::int64_t snapshot) const;
  const Seeds& seeds(std::int64_t expert) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// One finished or running expert in memory: what a part file holds.
struct ExpertPart {
  ExpertInfo info;
  std::int64_t number = 0;  ///< its place among the experts of a run
  ExpertSeeds seeds;
  Tensors snapshots;             ///< [P] float32 each, of the first of info.epochs
  std::vector<SnapshotLog> log;  ///< one per snapshot
  bool complete = false;         ///< there is a snapshot for each of info.epochs
  StateWriter state;             ///< what training goes on from; `StateReader(part.state)` reads it
};

/// "OUT.parts/expert-3.h5", where part 3 of the file OUT lies while it is made.
std::filesystem::path part_path(const std::filesystem::path& out, std::int64_t number);

/// Written aside and renamed. @throws StorageError for a part that does not fit together
void write_part(const std::filesystem::path& path, const ExpertPart& part);
/// Every snapshot is compared with its SHA-256. @throws StorageError as read_expert_summary, and
/// for
///         a file that is no part
ExpertPart read_part(const std::filesystem::path& path);

/// Writes `out` aside and renames it: the experts of `existing`, which may be `out` itself, then
/// the parts in the order of their numbers. Holds one snapshot at a time. Whatever fails leaves an
/// old `out` as it was.
/// @throws StorageError for nothing to merge, a part that still runs, experts of another kind
/// (which
///         field, both values), two experts of the same seeds, a damaged snapshot
void merge_experts(const std::filesystem::path& out,
                   const std::optional<std::filesystem::path>& existing,
                   const std::vector<std::filesystem::path>& parts);

/// Whether networks of this kind, trained on this dataset, can follow the experts: same network and
/// layout, image shape, class names in the same order, preprocessing (mean and std, or ZCA's eps
/// and matrices, to the bit), dataset. Which images of the dataset either of them uses is free.
/// @throws DataError naming file, rule and finding
void expect_fitting(const ExpertReader& experts, const data::ImageDataset& dataset,
                    const std::string& network, const std::vector<ParameterLayout>& layout);

/// What `retort verify` reports beyond the manifest: snapshots that disagree with their SHA-256,
/// named by expert and number, and values that are not finite. One line per finding; empty: all
/// well. @throws StorageError as read_expert_summary
std::vector<std::string> damaged_snapshots(const std::filesystem::path& path);

}  // namespace retort::storage
