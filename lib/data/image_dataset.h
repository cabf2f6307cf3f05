#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lib/core/rng.h"
#include "lib/core/tensor.h"
#include "lib/data/preprocessing.h"

namespace retort::data {

/// Where the pixels of one split are: in memory, or decoded from files on demand.
class ImageStore {
 public:
  virtual ~ImageStore() = default;
  virtual std::int64_t size() const = 0;
  virtual ImageShape shape() const = 0;
  /// @param indices int64 [n]  @return uint8 [n,C,H,W], a copy. Safe to call from several threads.
  virtual Tensor pixels(const Tensor& indices) const = 0;
};

/// All pixels in memory.
class MemoryStore : public ImageStore {
 public:
  /// @param images uint8 [N,C,H,W], kept, not copied
  explicit MemoryStore(const Tensor& images);
  std::int64_t size() const override;
  ImageShape shape() const override;
  Tensor pixels(const Tensor& indices) const override;

 private:
  Tensor images_;
};

enum class Split { Train, Test };

struct DataSplit {
  std::shared_ptr<const ImageStore> images;
  Tensor labels;  ///< int64 [N], values 0 .. K-1
};

struct DatasetInfo {
  std::string name;                      ///< registry name, "fashion-mnist"
  std::vector<std::string> class_names;  ///< K names in label order
  std::string sha256;                    ///< over pixels and labels of both splits
  std::string note;  ///< what a reader should know: "test split made from train, 10 %, seed 0"
  bool mirror_changes_class = false;  ///< digits and letters: a mirror image is another or no class
};

/// A labelled image dataset with a train and a test split and the preprocessing that belongs to
/// it. Immutable; copies share the pixels. Nothing downstream knows where the images came from.
class ImageDataset {
 public:
  /// @throws DataError unless both splits agree in shape, labels lie in 0 .. K-1 and no class of
  ///         the training split is empty; the message names the class
  ImageDataset(DatasetInfo info, DataSplit train, DataSplit test, Preprocessing preprocessing);

  const DatasetInfo& info() const { return info_; }
  ImageShape shape() const { return shape_; }
  std::int64_t num_classes() const { return std::int64_t(info_.class_names.size()); }
  const Preprocessing& preprocessing() const { return preprocessing_; }

  std::int64_t size(Split split) const;
  const Tensor& labels(Split split) const;  ///< int64 [N]
  /// Indices of the training images of class c, ascending; int64 [N_c].
  const Tensor& class_indices(std::int64_t c) const;
  std::int64_t smallest_class() const;  ///< number of training images of the smallest class

  /// @param indices int64 [n]
  Tensor pixels(Split split, const Tensor& indices) const;  ///< uint8 [n,C,H,W]
  /// Preprocessed float32 [n,C,H,W] on device(); the only place where real images get there.
  Tensor batch(Split split, const Tensor& indices) const;

  /// Where batches are made, the CPU unless said otherwise: whoever computes with them has networks
  /// and synthetic images there too. Pixels, labels and indices stay on the CPU.
  at::Device device() const { return device_; }
  ImageDataset on(at::Device device) const;

  ImageDataset with_preprocessing(Preprocessing preprocessing) const;
  /// A seeded random subset of n training images per class (all of a class that has fewer), in the
  /// order of the training split. Like every subset it keeps preprocessing and SHA-256 of the whole
  /// and says in info().note what was taken.  @throws ConfigError for n < 1
  ImageDataset images_per_class(std::int64_t n, Rng rng) const;
  /// A seeded stratified cut of the training split: `fraction` of every class (at least one image)
  /// becomes the test split, the rest the training split. The real test images are not in it.
  /// @throws ConfigError unless 0 < fraction < 1; DataError for a class with a single image
  ImageDataset hold_out(double fraction, Rng rng) const;
  /// Training split restricted to these indices (int64 [n]).
  ImageDataset train_subset(const Tensor& indices) const;
  /// Both splits without the images of other classes; `classes[i]` becomes class i.
  /// @throws ConfigError for no class, one that is not there, or one that is named twice; DataError
  ///         when none of them has a test image
  ImageDataset only_classes(const std::vector<std::int64_t>& classes) const;
  /// Test split restricted to the images of these classes; all labels stay what they are.
  /// @throws as only_classes
  ImageDataset test_only_classes(const std::vector<std::int64_t>& classes) const;

 private:
  DatasetInfo info_;
  DataSplit train_;
  DataSplit test_;
  Preprocessing preprocessing_;
  ImageShape shape_;
  std::vector<Tensor> class_indices_;
  at::Device device_ = at::kCPU;
};

/// A view of some rows of another store.
class SubsetStore : public ImageStore {
 public:
  SubsetStore(std::shared_ptr<const ImageStore> base, Tensor indices);
  std::int64_t size() const override;
  ImageShape shape() const override;
  Tensor pixels(const Tensor& indices) const override;

 private:
  std::shared_ptr<const ImageStore> base_;
  Tensor indices_;
};

/// Rows that stay and rows that are set aside, both ascending int64.
struct Cut {
  Tensor kept;
  Tensor held;
};

/// Sets `fraction` of every class aside, rounded, at least one image and not all of them. What is
/// drawn for a class depends on the class's own size only.
/// @param labels int64 [N], values 0 .. class_names.size()-1
/// @throws ConfigError unless 0 < fraction < 1; DataError for a class with fewer than two images
Cut stratified_cut(const Tensor& labels, const std::vector<std::string>& class_names,
                   double fraction, const Rng& rng);

/// SHA-256 over shape, pixels and labels of both splits, in order. Reads the pixels in blocks.
std::string dataset_sha256(const DataSplit& train, const DataSplit& test);

/// Per-channel mean and std of all training pixels in [0,1]; std over all pixels, floored at 1e-3.
/// Exact: from the counts of the 256 values, so threads and block sizes do not matter.
Preprocessing compute_mean_std(const ImageStore& images);

/// As fit_zca on all pixels divided by 255, reading them in blocks (two passes).
ZcaMatrices fit_zca(const ImageStore& images, double eps = 0.1);

}  // namespace retort::data
