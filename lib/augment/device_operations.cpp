#include "lib/augment/device_operations.h"

#include <algorithm>
#include <cstddef>

#include "lib/kernels/device_augment.h"
#include "lib/kernels/device_backend.h"

namespace retort::augment {
namespace {

using kernels::DeviceTask;

template <class Value>
Value entry(const std::vector<Value>& values, std::size_t i) {
  return values[values.size() == 1 ? 0 : i];
}

/// Runs a task with parameters make(0) .. make(count - 1).
template <class Make>
Tensor on_device(DeviceTask task, const Tensor& x, std::size_t count, const Make& make) {
  const kernels::CudaBackend* const backend = kernels::device_backend_for(task, x);
  if (backend == nullptr) return {};
  std::vector<decltype(make(std::size_t{0}))> parameters;
  parameters.reserve(count);
  for (std::size_t i = 0; i < count; ++i) parameters.push_back(make(i));
  return kernels::augmented(*backend, x, std::move(parameters));
}

}  // namespace

Tensor color_on_device(const Tensor& x, const std::vector<double>& shift,
                       const std::vector<double>& saturation, const std::vector<double>& contrast) {
  const std::size_t count = std::max({shift.size(), saturation.size(), contrast.size()});
  return on_device(DeviceTask::Color, x, count, [&](std::size_t i) {
    return kernels::cuda::ColorParameters{float(entry(shift, i)), float(entry(saturation, i)),
                                          float(entry(contrast, i))};
  });
}

Tensor crop_on_device(const Tensor& x, const std::vector<std::int64_t>& rows,
                      const std::vector<std::int64_t>& columns) {
  return on_device(DeviceTask::Crop, x, std::max(rows.size(), columns.size()), [&](std::size_t i) {
    return kernels::cuda::CropParameters{entry(rows, i), entry(columns, i)};
  });
}

Tensor cutout_on_device(const Tensor& x, const std::vector<std::int64_t>& center_rows,
                        const std::vector<std::int64_t>& center_columns, std::int64_t erased_rows,
                        std::int64_t erased_columns) {
  const std::size_t count = std::max(center_rows.size(), center_columns.size());
  return on_device(DeviceTask::Cutout, x, count, [&](std::size_t i) {
    return kernels::cuda::cutout_around(entry(center_rows, i), entry(center_columns, i),
                                        erased_rows, erased_columns);
  });
}

Tensor flip_on_device(const Tensor& x, const std::vector<double>& u) {
  return on_device(DeviceTask::Flip, x, u.size(),
                   [&](std::size_t i) { return kernels::cuda::FlipParameters{u[i] < 0.5}; });
}

Tensor scale_on_device(const Tensor& x, const std::vector<double>& scale_x,
                       const std::vector<double>& scale_y) {
  const std::size_t count = std::max(scale_x.size(), scale_y.size());
  return on_device(DeviceTask::Resample, x, count, [&](std::size_t i) {
    return kernels::cuda::scaling(entry(scale_x, i), entry(scale_y, i));
  });
}

Tensor rotate_on_device(const Tensor& x, const std::vector<double>& angles, bool align_corners) {
  return on_device(DeviceTask::Resample, x, angles.size(), [&](std::size_t i) {
    const kernels::cuda::ImageBatch batch{x.size(0), x.size(1), x.size(2), x.size(3)};
    return kernels::cuda::rotation(angles[i], batch, align_corners);
  });
}

}  // namespace retort::augment
