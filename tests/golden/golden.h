#pragma once
// Numbers computed once by the papers' own code, one HDF5 file per case. The root attribute `kind`
// of a file names the handler that recomputes its contents. A handler takes shapes, options and
// counts from the file, never from its own knowledge of one file. What no handler reads is reported
// as skipped, by name.
//
// To serve another kind: write `void check_<kind>(const GoldenFile&)` in the source of its area,
// declare it at the end of this header and add a line to handlers() in handlers.cpp.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "lib/core/tensor.h"
#include "lib/nn/network.h"
#include "lib/storage/hdf5.h"

namespace retort::testing::golden {

/// One open file. Paths inside it are relative ("outputs/loss"); "" is the root. It remembers which
/// datasets were read, so that those nobody asked for can be named.
class GoldenFile {
 public:
  /// @throws StorageError if the file cannot be read or has no attribute `kind`
  explicit GoldenFile(const std::filesystem::path& path);

  const std::string& name() const { return name_; }  ///< "dm_batchnorm.h5"
  const std::string& kind() const { return kind_; }

  bool has(const std::string& path) const { return h5_.has(path); }
  /// Names inside a group, sorted; empty if there is no such group.
  std::vector<std::string> children(const std::string& group) const;

  /// Floating datasets come as `dtype`, integer ones as stored.
  Tensor tensor(const std::string& path, at::ScalarType dtype) const;
  Tensor stored(const std::string& path) const;  ///< in the type it has in the file
  std::vector<std::string> texts(const std::string& path) const;
  double number(const std::string& path) const;                    ///< a rank-0 dataset
  std::vector<std::int64_t> shape(const std::string& path) const;  ///< does not count as reading

  /// Attributes of the group or dataset `path`. @throws StorageError if it has none of that name
  std::int64_t integer(const std::string& path, const std::string& name) const;
  std::string text(const std::string& path, const std::string& name) const;
  /// The same with a value for files that do not say.
  std::int64_t integer_or(const std::string& path, const std::string& name,
                          std::int64_t fallback) const;
  double number_or(const std::string& path, const std::string& name, double fallback) const;
  std::string text_or(const std::string& path, const std::string& name,
                      const std::string& fallback) const;
  std::vector<double> numbers(const std::string& path, const std::string& name) const;
  /// A vector attribute; empty if there is none.
  std::vector<std::int64_t> integers_or_none(const std::string& path,
                                             const std::string& name) const;

  /// Says on stdout that a part is not compared; once, however often it is called. part "" means
  /// the whole file.
  void skip(const std::string& part, const std::string& reason) const;
  const std::set<std::string>& skipped() const { return skipped_; }
  /// What was neither read nor skipped so far: datasets, and in their place the highest group in
  /// which that holds for all. Raw draws (in groups named "draws") are left out, since what they
  /// led to lies beside them, and so is the manifest of files that H5Writer made.
  std::vector<std::string> unread() const;

 private:
  std::string name_;
  storage::H5Reader h5_;
  std::string kind_;
  // A record of use, no part of the value.
  mutable std::set<std::string> read_;
  mutable std::set<std::string> skipped_;
};

/// Every comparison is made in both. Tolerances are relative to the largest stored entry.
struct Precision {
  at::ScalarType dtype;
  double tolerance;
  std::string name;
};
/// float64 at 1e-10 and float32 at 1e-5, unless the kind needs other tolerances.
std::vector<Precision> precisions(double float64_tolerance = 1e-10,
                                  double float32_tolerance = 1e-5);

/// Names and shapes of a `net` group (datasets names, shapes, offsets), in stored order.
/// @throws StorageError if the offsets are not the running sum of the sizes
std::vector<nn::ParameterInfo> read_layout(const GoldenFile& file, const std::string& group);

/// Parameters and running statistics of a `net` group. Buffers come in the order of the norm
/// layers, mean before variance: the order of Network::buffers() for all chain networks.
nn::NetworkState read_network(const GoldenFile& file, const std::string& group,
                              at::ScalarType dtype);

/// The buffers alone, from a group of datasets named "features.<i>.running_mean" / "_var".
Tensors read_buffers(const GoldenFile& file, const std::string& group, at::ScalarType dtype);

/// The ConvNet whose parameters lie in `net_group`. Depth, width and classes come from the layout;
/// norm, activation and pooling from the attributes of `options_group`, then of the root, then from
/// the layout (norm) and the reference's defaults (ReLU, average pooling).
std::unique_ptr<nn::Network> make_stored_convnet(const GoldenFile& file,
                                                 const std::string& options_group,
                                                 const std::string& net_group,
                                                 nn::ImageShape input);

/// Shape of one image of a [..., C, H, W] tensor.
nn::ImageShape image_shape(const Tensor& images);

/// CHECKs that names, shapes, offsets and count of `group` are those of the network.
void check_layout(const nn::Network& network, const GoldenFile& file, const std::string& group);

/// Golden files of a folder, sorted. @throws StorageError if it has none
std::vector<std::filesystem::path> golden_files(const std::filesystem::path& folder);

/// Opens a file, runs the handler of its kind and reports what that did not read; a kind without
/// handler is skipped as a whole.
/// @return the parts skipped; "" stands for the whole file
std::set<std::string> check_file(const std::filesystem::path& path);

struct Handler {
  std::string kind;
  std::function<void(const GoldenFile&)> check;
};
/// One entry per kind.
const std::vector<Handler>& handlers();

// networks.cpp
void check_convnet_variants(const GoldenFile& file);
void check_networks_large(const GoldenFile& file);

// pixels.cpp
void check_pixel_operations(const GoldenFile& file);

// matching.cpp
void check_dm(const GoldenFile& file);
void check_datadam(const GoldenFile& file);
void check_dc(const GoldenFile& file);
/// The `dm` part of a fyi_flip file.
void check_fyi_dm(const GoldenFile& file);

// gradient.cpp
/// The `outputs` of a dc file: what the distances are made of.
void check_dc_outputs(const GoldenFile& file);
void check_dc_outer_loop(const GoldenFile& file);
void check_idc_matchloss(const GoldenFile& file);
void check_idc_class_loop(const GoldenFile& file);

// batch_norm_loss.cpp
void check_bn_loss(const GoldenFile& file);

// augment.cpp
void check_dsa(const GoldenFile& file);
void check_dsa_siamese_pair(const GoldenFile& file);
void check_idc_diffaug(const GoldenFile& file);
void check_fyi_flip(const GoldenFile& file);

// synth.cpp
void check_idc_decode(const GoldenFile& file);
/// The `herding` part of a zca_metrics_herding file.
void check_herding(const GoldenFile& file);

// data.cpp
void check_zca_metrics_herding(const GoldenFile& file);

// trajectory.cpp
void check_mtt(const GoldenFile& file);
void check_datm(const GoldenFile& file);
void check_tesla(const GoldenFile& file);
void check_fyi_mtt(const GoldenFile& file);
void check_datm_labels_schedule(const GoldenFile& file);
/// The `ema` part of a ftd file: the running mean of the images.
void check_ftd_ema(const GoldenFile& file);

// recover.cpp
void check_recover(const GoldenFile& file);
void check_cvdd(const GoldenFile& file);
void check_infer(const GoldenFile& file);

// views.cpp
void check_fkd_mix_kl(const GoldenFile& file);

// decoupled.cpp
void check_cda_schedule(const GoldenFile& file);
void check_rded(const GoldenFile& file);

// relabel.cpp
/// The `bssl` part of a cvdd file: what a committee says of a mixed batch.
void check_bssl(const GoldenFile& file);

// training.cpp
void check_eval_protocol(const GoldenFile& file);
/// The steps of FTD's experts.
void check_ftd(const GoldenFile& file);
/// GUARD's regulariser of teachers.
void check_guard(const GoldenFile& file);

}  // namespace retort::testing::golden
