#pragma once
// The passes behind convnet_features; not for use outside this folder.

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "lib/core/tensor.h"
#include "lib/kernels/common.h"
#include "lib/kernels/convnet_forward.h"
#include "lib/kernels/direct.h"
#include "lib/kernels/loops/loops.h"

namespace retort::kernels {

/// What the backward pass needs of one block. Maps are channels-last with padded channels.
struct SavedBlock {
  Tensor input;      ///< [N,h,w,c]; undefined if no weight gradient will be asked for
  Tensor map;        ///< [N,h,w,c] output of the convolution; undefined for a direct first block
  Tensor mean;       ///< [N,c]; of stride zero where all images share them
  Tensor rstd;       ///< [N,c], the same
  Tensor gout = {};  ///< [N,h/2,w/2,c] cotangent of the output; where defined, `backward` fills it
  std::int64_t first_input = 0;  ///< image that `input` begins with

  float* input_at(std::int64_t image) const { return at_image(input, image - first_input); }
};

/// Whether a gradient of any block's convolution will be asked for.
/// @param parameters kParametersPerBlock per block
bool any_weight_requires_grad(at::TensorList parameters);

/// What a node of the graph keeps of the blocks one after another, all but `gout`; and back.
Tensors flattened(const std::vector<SavedBlock>& blocks);
std::vector<SavedBlock> unflattened(at::TensorList saved);

/// Rows of what a backward pass sums up of a block over images, [kSumRows][padded channels].
enum SumRow : std::int64_t {
  kNormWeightRow,       ///< gradient of the norm's weight
  kNormBiasRow,         ///< of its bias
  kConvolutionBiasRow,  ///< of the convolution's; zero unless channels share their statistics
  kSumRows,
};

/// Which gradients to compute.
struct WantedGradients {
  bool input = false;
  std::vector<bool> parameters;  ///< kParametersPerBlock per block
  bool cotangents = false;       ///< SavedBlock::gout of every block
};

struct ConvNetGradients {
  Tensor input;        ///< [N,C,H,W]; undefined if not wanted
  Tensors parameters;  ///< kParametersPerBlock per block; undefined where not wanted
};

/// InstanceNorm; what derives from it takes other norms.
class ConvNetPlan {
 public:
  struct Block {
    std::int64_t in_channels = 0;         // real
    std::int64_t out_channels = 0;        // real
    MapShape map;                         // output of the convolution
    MapShape out;                         // after pooling
    Tensor bias, norm_weight, norm_bias;  // padded
    std::int64_t step = 1;                // images per convolution call: fills the tile blocks
    std::int64_t norm_group = 1;          // channels that share the norm's statistics

    bool shares_statistics() const { return norm_group > 1; }
    MapShape in() const { return {1, map.height, map.width, padded_channels(in_channels)}; }
  };

  /// @param x [N,C,H,W] @param parameters kParametersPerBlock per block; both contiguous
  ConvNetPlan(const Tensor& x, const Tensors& parameters, const ConvNetShape& shape);
  virtual ~ConvNetPlan() = default;

  /// @param saved     nullptr, or filled for `backward`
  /// @param inputs    save the blocks' inputs too, for weight gradients
  /// @return [N,F]
  virtual Tensor forward(std::vector<SavedBlock>* saved, bool inputs) const;

  /// @param gy [N,F] contiguous
  virtual ConvNetGradients backward(const std::vector<SavedBlock>& saved, const Tensor& gy,
                                    const WantedGradients& wanted) const;

  /// The cotangent [n,F], contiguous, of the features [n,F] of images first .. first + n - 1.
  using Cotangent = std::function<Tensor(std::int64_t first, const Tensor& features)>;
  /// Forward and backward in one, a group of images at a time: inputs of blocks are still in cache
  /// when the weights' gradients need them, and are not kept. Sums over images are summed in
  /// `parts` (for_parts), in which `cotangent` is called.
  /// @param saved     of allocate_saved without inputs
  /// @param features  [N,F], written
  ConvNetGradients gradients(const std::vector<SavedBlock>& saved, const Tensor& features,
                             const Cotangent& cotangent, const WantedGradients& wanted,
                             std::int64_t parts) const;

  /// Whether the norms' statistics are given instead of each image's own.
  virtual bool has_fixed_statistics() const { return false; }

  const Tensor& images() const { return x_; }
  const std::vector<Block>& blocks() const { return blocks_; }
  bool first_is_direct() const { return direct_.has_value(); }
  const DirectConvolution& direct() const { return *direct_; }  ///< of the first block, if direct
  std::int64_t first_padding() const { return shape_.first_padding; }
  std::int64_t group() const { return group_; }
  const Tensor& weight(std::size_t block) const { return parameters_[kParametersPerBlock * block]; }
  virtual std::vector<SavedBlock> allocate_saved(bool inputs) const;
  /// Undefined `gout` of every block allocated, for a backward pass that keeps them.
  void allocate_cotangents(std::vector<SavedBlock>& saved) const;
  /// A weight gradient as the loops sum it up, to [O,I,3,3].
  Tensor finished_weight(std::size_t block, const Tensor& sums) const;

 protected:
  struct Pass;  // one backward pass: transformed weights and the sums of gradients

  Tensor transformed_weight(std::size_t block, bool adjoint) const;
  Tensors transformed_weights() const;  // for `forward`
  void forward_group(std::int64_t first, std::int64_t count, const Tensors& weights,
                     std::vector<SavedBlock>* saved, float* features) const;
  void forward_direct(std::int64_t first, std::int64_t count, const float* weight,
                      SavedBlock* saved, float* out) const;
  void forward_block(std::size_t block, std::int64_t first, std::int64_t count, const float* in,
                     const float* weight, SavedBlock* saved, float* out) const;
  virtual void norm_relu_pool(std::size_t block, std::int64_t image, const float* map,
                              SavedBlock* saved, float* out) const;

  /// The first block that has any gradient to compute.
  std::size_t lowest_block(const WantedGradients& wanted) const;
  Pass start_pass(const WantedGradients& wanted, std::int64_t parts) const;
  void backward_group(std::int64_t first, std::int64_t count, const std::vector<SavedBlock>& saved,
                      const float* gy, Pass& pass, std::int64_t part) const;
  void backward_direct(std::int64_t first, std::int64_t count, const SavedBlock& saved,
                       const float* gout, Pass& pass, std::int64_t part) const;
  void backward_block(std::size_t block, std::int64_t first, std::int64_t count,
                      const SavedBlock& saved, const float* gout, Pass& pass, std::int64_t part,
                      float* gin) const;
  /// @param sums [kSumRows][channels], added to; nullptr where statistics are given and no
  ///        gradient of the norm's parameters is wanted
  virtual void norm_gradient(std::size_t block, std::int64_t image, const SavedBlock& saved,
                             const float* map, const float* gout, float* gmap, float* sums) const;
  /// Of the convolution.  @param sums as above, of all images
  virtual Tensor bias_gradient(std::size_t block, const Tensor& sums) const;
  ConvNetGradients finish_pass(const Pass& pass, const WantedGradients& wanted) const;

  const Loops& loops_;
  Tensor x_;
  Tensors parameters_;
  ConvNetShape shape_;
  std::optional<DirectConvolution> direct_;  // of the first block
  std::vector<Block> blocks_;
  std::int64_t group_ = 1;  // images that go through all blocks together, to stay in cache
};

}  // namespace retort::kernels
