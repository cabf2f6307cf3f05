#include "lib/kernels/device_augment.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "lib/kernels/node.h"

namespace retort::kernels {
namespace {

/// A kernel and the one that computes its transpose.
template <class Parameters>
struct Map {
  using Kernel = Tensor (*)(const Tensor& x, const std::vector<Parameters>& parameters);
  Kernel kernel, transpose;
  std::vector<Parameters> parameters;

  Map transposed() const {
    Map result{transpose, kernel, parameters};
    // Resampling is transposed by another kernel, with the same parameters.
    if constexpr (!std::is_same_v<Parameters, cuda::ResampleParameters>) {
      std::transform(parameters.begin(), parameters.end(), result.parameters.begin(),
                     [](const Parameters& p) { return cuda::adjoint(p); });
    }
    return result;
  }
};

template <class Parameters>
Tensor applied(const Tensor& x, const Map<Parameters>& map) {
  const auto forward = [&] {
    return Recorded{
        {map.kernel(x.detach().contiguous(), map.parameters)}, {}, [map](const BackwardPass& pass) {
          return Tensors{applied(pass.gradients[0], map.transposed())};
        }};
  };
  return record({x}, forward)[0];
}

template <class Parameters>
Tensor applied(const Tensor& x, typename Map<Parameters>::Kernel kernel,
               typename Map<Parameters>::Kernel transpose, std::vector<Parameters> parameters) {
  return applied(x, Map<Parameters>{kernel, transpose, std::move(parameters)});
}

}  // namespace

Tensor augmented(const CudaBackend& backend, const Tensor& x,
                 std::vector<cuda::ColorParameters> parameters) {
  return applied(x, backend.color, backend.color, std::move(parameters));
}

Tensor augmented(const CudaBackend& backend, const Tensor& x,
                 std::vector<cuda::CropParameters> parameters) {
  return applied(x, backend.crop, backend.crop, std::move(parameters));
}

Tensor augmented(const CudaBackend& backend, const Tensor& x,
                 std::vector<cuda::CutoutParameters> parameters) {
  return applied(x, backend.cutout, backend.cutout, std::move(parameters));
}

Tensor augmented(const CudaBackend& backend, const Tensor& x,
                 std::vector<cuda::FlipParameters> parameters) {
  return applied(x, backend.flip, backend.flip, std::move(parameters));
}

Tensor augmented(const CudaBackend& backend, const Tensor& x,
                 std::vector<cuda::ResampleParameters> parameters) {
  return applied(x, backend.resample, backend.resample_gradient, std::move(parameters));
}

}  // namespace retort::kernels
