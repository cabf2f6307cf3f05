#pragma once
// What the kernels share; not for use outside this folder.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "lib/core/tensor.h"
#include "lib/kernels/policy.h"

namespace retort::kernels {

/// Parameters of a ConvNet's block: weight and bias of its convolution, then of its norm.
inline constexpr std::size_t kParametersPerBlock = 4;

/// Whether our loops may see this tensor at all: policy, processor, and [N,C,H,W] float32 on the
/// CPU with nothing empty, unless a device backend has taken over the CPU's tensors (tests).
bool is_fast_map(const Tensor& x);
/// The same for a parameter of any shape.
bool is_fast_parameter(const Tensor& p);

/// The next multiple of the loops' channel step.
std::int64_t padded_channels(std::int64_t channels);

/// Scratch memory of the calling thread, aligned to a cache line and kept between calls. A slot's
/// content is lost when the slot is asked for again.
enum class Slot {
  Convolve,
  Map,
  Gradient,
  Patches,
  Products,
  Statistics,
  Even,  ///< these two: one is read while the other is written
  Odd,
  Group,  ///< what a group of images keeps from its way forwards to its way back
  Count
};
float* scratch(Slot slot, std::int64_t floats);
/// Of Even and Odd the one that `slot` is not.
inline Slot other(Slot slot) { return slot == Slot::Even ? Slot::Odd : Slot::Even; }

/// Where entry `image` of the first dimension begins.
float* at_image(const Tensor& images, std::int64_t image);

/// Cuts 0 .. n-1 into contiguous ranges, one per thread that LibTorch would use here, and runs
/// body(range number, first, last + 1). The cut depends on the number of threads only.
std::int64_t range_count(std::int64_t n);
void for_ranges(
    std::int64_t n,
    const std::function<void(std::int64_t range, std::int64_t first, std::int64_t end)>& body);

/// Cuts 0 .. n-1 into `parts` contiguous parts whatever the number of threads, and runs body(part,
/// first, last + 1): what each part sums up and the caller adds in order has the same bits always.
/// LibTorch's own operations keep to one thread in there, so theirs are the same too.
void for_parts(
    std::int64_t parts, std::int64_t n,
    const std::function<void(std::int64_t part, std::int64_t first, std::int64_t end)>& body);

/// parts[0] + parts[1] + ... in this order, which a reduction of LibTorch's would choose by itself.
/// Written over the first.
Tensor sum_of_parts(const Tensor& parts);
/// The same of rows [N,c] of any dtype, in float64.  @return [c]
Tensor wide_sum(const Tensor& rows);

/// Detached, each contiguous; a tensor that is contiguous already is shared, not copied.
Tensors contiguous(at::TensorList tensors);

/// A copy padded with zeros to `size` entries.
Tensor padded_vector(const Tensor& values, std::int64_t size);

/// Gradients of reference(inputs) for cotangent `gy`, differentiable in the inputs and in `gy`, for
/// every input that requires one; what a kernel's backward returns under create_graph.
Tensors differentiable_gradients(const std::function<Tensor(const Tensors&)>& reference,
                                 const Tensors& inputs, const Tensor& gy);

}  // namespace retort::kernels
