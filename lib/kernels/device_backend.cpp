#include "lib/kernels/device_backend.h"

#include <algorithm>
#include <atomic>

#include "lib/kernels/common.h"

namespace retort::kernels {
namespace {

struct Installed {
  CudaBackend backend{};
  at::DeviceType kind = at::kCUDA;
};

Installed& storage() {
  static Installed installed;
  return installed;
}

/// nullptr, or the storage.
std::atomic<const Installed*> active{nullptr};

bool offers(const CudaBackend& backend, DeviceTask task) {
  switch (task) {
    case DeviceTask::Block:
      return backend.norm_relu_pool != nullptr && backend.norm_relu_pool_gradient != nullptr;
    case DeviceTask::Color:
      return backend.color != nullptr;
    case DeviceTask::Crop:
      return backend.crop != nullptr;
    case DeviceTask::Cutout:
      return backend.cutout != nullptr;
    case DeviceTask::Flip:
      return backend.flip != nullptr;
    case DeviceTask::Resample:
      return backend.resample != nullptr && backend.resample_gradient != nullptr;
    case DeviceTask::SgdStep:
      return backend.sgd_step != nullptr;
    case DeviceTask::AdamStep:
      return backend.adam_step != nullptr;
  }
  return false;
}

bool is_step(DeviceTask task) {
  return task == DeviceTask::SgdStep || task == DeviceTask::AdamStep;
}

bool fits(DeviceTask task, at::TensorList tensors) {
  const Tensor& first = tensors[0];
  const bool ours = std::all_of(tensors.begin(), tensors.end(), [&](const Tensor& t) {
    return t.device() == first.device() && t.scalar_type() == at::kFloat &&
           t.layout() == at::kStrided && t.numel() > 0;
  });
  if (task == DeviceTask::Block) {
    return ours && first.dim() == 4 && first.size(2) >= 2 && first.size(3) >= 2;
  }
  if (!is_step(task)) return ours;
  const auto written = tensors.slice(0, tensors.size() - 1);
  return ours && tensors.back().sizes() == first.sizes() &&
         std::all_of(written.begin(), written.end(), [&](const Tensor& t) {
           return t.is_contiguous() && t.sizes() == first.sizes();
         });
}

std::int64_t Counters::*counter(DeviceTask task, bool fast) {
  if (task == DeviceTask::Block) {
    return fast ? &Counters::device_block_fast : &Counters::device_block_fallback;
  }
  if (is_step(task)) return fast ? &Counters::device_step_fast : &Counters::device_step_fallback;
  return fast ? &Counters::device_augment_fast : &Counters::device_augment_fallback;
}

}  // namespace

void install_device_backend(const CudaBackend& backend, at::DeviceType kind) {
  active = nullptr;
  storage() = {backend, kind};
  active = &storage();
}

void remove_device_backend() { active = nullptr; }

bool is_for_device(const Tensor& x) {
  const Installed* const installed = active;
  return installed != nullptr && x.device().type() == installed->kind;
}

const CudaBackend* device_backend_for(DeviceTask task, at::TensorList tensors) {
  const Installed* const installed = active;
  if (installed == nullptr || !is_for_device(tensors[0])) return nullptr;
  const bool serves =
      policy() == Policy::Fast && offers(installed->backend, task) && fits(task, tensors);
  count(counter(task, serves));
  return serves ? &installed->backend : nullptr;
}

}  // namespace retort::kernels
