#include "lib/kernels/device_steps.h"

#include "lib/kernels/device_backend.h"

namespace retort::kernels {
namespace {

// A kernel that writes through a pointer does not tell autograd, which would go on with changed
// values where it now reports them.
void written(const Tensor& t) { t.unsafeGetTensorImpl()->bump_version(); }

}  // namespace

bool device_sgd_step(const Tensor& w, Tensor& velocity, const Tensor& g, const SgdRates& rates) {
  if (!is_for_device(w)) return false;
  const bool keeps = rates.momentum != 0;
  const bool first = !velocity.defined();
  const CudaBackend* const backend = device_backend_for(
      DeviceTask::SgdStep, keeps && !first ? Tensors{w, velocity, g} : Tensors{w, g});
  if (backend == nullptr) return false;
  if (keeps && first) velocity = at::empty_like(w);
  cuda::SgdStep numbers{};
  numbers.lr = float(rates.lr);
  numbers.momentum = float(rates.momentum);
  numbers.weight_decay = float(rates.weight_decay);
  numbers.first = first;
  backend->sgd_step(w, keeps ? velocity : Tensor(), g.contiguous(), numbers);
  written(w);
  if (keeps) written(velocity);
  return true;
}

bool device_adam_step(const Tensor& w, const Tensor& first, const Tensor& second, const Tensor& g,
                      const AdamRates& rates, std::int64_t step) {
  if (!is_for_device(w)) return false;
  const CudaBackend* const backend =
      device_backend_for(DeviceTask::AdamStep, Tensors{w, first, second, g});
  if (backend == nullptr) return false;
  backend->adam_step(w, first, second, g.contiguous(),
                     cuda::adam_step(w.numel(), rates.lr, rates.beta1, rates.beta2, step));
  for (const Tensor& t : {w, first, second}) written(t);
  return true;
}

}  // namespace retort::kernels
