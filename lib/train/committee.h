#pragma once
// Teachers of a file, ready to be asked: what images are recovered from and labelled by.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lib/core/rng.h"
#include "lib/core/stop.h"
#include "lib/core/tensor.h"
#include "lib/data/image_dataset.h"
#include "lib/data/synthetic_set.h"
#include "lib/nn/network.h"

namespace retort::train {

/// One teacher of a committee.
struct Member {
  std::string name;         ///< of its network: "R18m-w16"
  std::int64_t number = 0;  ///< in its file
  std::shared_ptr<const nn::Network> network;
  nn::NetworkState state;
  Tensors class_statistics;       ///< one [K, ...] per buffer (LPLD); empty: the file has none
  double accuracy = 0;            ///< percent, as the file says; NaN: not tested
  std::string sha256;             ///< of network, parameters and buffers
  std::string statistics_sha256;  ///< of the statistics of classes; empty: none
  double wall_seconds = 0;        ///< of its training
};

/// @param names teachers in this order, by the name of their network or their number in the file;
///        empty: all of it in its order
/// @param device where their states go
/// Warns if they were trained on another part of the dataset than this one is.
/// @throws DataError, StorageError as TeacherReader and expect_fitting say; ConfigError for a name
///         that the file has not or has twice, spelling out what it has, and for teachers that may
///         have seen what this dataset holds out, with the command that makes others
std::vector<Member> load_committee(const std::filesystem::path& file,
                                   const std::vector<std::string>& names,
                                   const data::ImageDataset& dataset);

/// Their networks alone, for whoever predicts what they will cost. Says nothing of their images.
/// @throws as load_committee, but for those
std::vector<std::shared_ptr<const nn::Network>> load_networks(const std::filesystem::path& file,
                                                              const std::vector<std::string>& names,
                                                              const data::ImageDataset& dataset);

/// That every teacher knows the dataset: on a seeded sample of 500 of its training images, as many
/// of each class, its accuracy must be beyond chance by three standard errors and, where there are
/// many classes, twice chance (with few of them a quarter of what is missing to 100 %). Classes in
/// another order and other preprocessing are the usual reasons why it is not, and the commonest
/// silent failure of these methods.
/// @throws DataError naming the teacher, its accuracy there, and what it probably is: another order
///         (one to one relabelled it knows them), other preprocessing (under another usual one it
///         does, or its answers fall into few classes), or a teacher that is not trained
void expect_knowing(const std::vector<Member>& committee, const std::filesystem::path& file,
                    const data::ImageDataset& dataset, const Rng& rng);

/// What members know of training images; what they say of the test split decides nothing.
struct Knowledge {
  std::vector<double> percent;  ///< one per member, right answers
  std::int64_t images = 0;      ///< that were asked about
};

/// Of 2000 training images, as many of each class, or of all if there are no more: the same ones of
/// a dataset whoever asks. What members count for where nobody gives priors.
/// @throws Interrupted when `stop` was requested
Knowledge measured_knowledge(const std::vector<Member>& committee,
                             const data::ImageDataset& dataset, const StopFlag* stop = nullptr);

/// What a set says of the teachers that it was made with.
/// @param role "teachers" (recovered from), data::kLabelers
data::Asset asset_of(const std::vector<Member>& committee, const std::filesystem::path& file,
                     const std::string& role);

/// How the BatchNorm of teachers normalises while they label.
struct LabelNorm {
  /// 0: on the running statistics of training (`eval`). g > 0: on those of every g consecutive
  /// images of a batch, all else as in evaluation (Cui et al. 2025: batch-specific soft labels);
  /// an image's label then depends on the others of its group.
  std::int64_t group = 0;
};

/// Logits of a committee, each member's weighed. No gradient.
class Labeler {
 public:
  /// @param weights one per member, 0 .. 1, that add up to 1
  /// @throws ConfigError for others, and for no member
  Labeler(std::vector<Member> committee, std::vector<double> weights, LabelNorm norm);

  const std::vector<Member>& committee() const { return committee_; }
  LabelNorm norm() const { return norm_; }
  /// @param images [n,C,H,W] preprocessed, as a student sees them  @return [n,K] float32
  Tensor operator()(const Tensor& images) const;

 private:
  std::vector<Member> committee_;
  std::vector<double> weights_;
  LabelNorm norm_;
};

}  // namespace retort::train
