#include "lib/kernels/common.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <new>

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "lib/core/parallel.h"
#include "lib/kernels/device_backend.h"
#include "lib/kernels/loops/loops.h"
#include "lib/kernels/uncounted.h"

namespace retort::kernels {
namespace {

constexpr std::size_t kCacheLine = 64;

constexpr NamedCounter kCounters[] = {
    {"conv_fast", &Counters::conv_fast},
    {"conv_fallback", &Counters::conv_fallback},
    {"convnet_fast", &Counters::convnet_fast},
    {"convnet_fallback", &Counters::convnet_fallback},
    {"convnet_mixed", &Counters::convnet_mixed},
    {"gradient_fast", &Counters::gradient_fast},
    {"gradient_fallback", &Counters::gradient_fallback},
    {"attention_fast", &Counters::attention_fast},
    {"attention_fallback", &Counters::attention_fallback},
    {"batch_norm_fast", &Counters::batch_norm_fast},
    {"batch_norm_fallback", &Counters::batch_norm_fallback},
    {"second_order", &Counters::second_order},
    {"device_block_fast", &Counters::device_block_fast},
    {"device_block_fallback", &Counters::device_block_fallback},
    {"device_augment_fast", &Counters::device_augment_fast},
    {"device_augment_fallback", &Counters::device_augment_fallback},
    {"device_step_fast", &Counters::device_step_fast},
    {"device_step_fallback", &Counters::device_step_fallback},
};

struct State {
  std::atomic<Policy> policy{Policy::Fast};
  std::atomic<Precision> precision{Precision::Fp32};
  std::array<std::atomic<std::int64_t>, std::size(kCounters)> counts{};  ///< as kCounters
};

State& state() {
  static State instance;
  return instance;
}

struct FreeAligned {
  void operator()(float* p) const { std::free(p); }
};

struct Buffer {
  std::unique_ptr<float, FreeAligned> memory;
  std::int64_t capacity = 0;
};

}  // namespace

void set_policy(Policy policy) { state().policy = policy; }
Policy policy() { return state().policy; }
void set_precision(Precision precision) { state().precision = precision; }
Precision precision() { return state().precision; }

bool processor_gains_by_mixed() {
#if defined(__x86_64__)
  constexpr unsigned kAmxBf16 = 1U << 22;
  constexpr unsigned kAmxTile = 1U << 24;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  static const bool has = __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 &&
                          (edx & kAmxBf16) != 0 && (edx & kAmxTile) != 0;
  return has;
#else
  return false;
#endif
}

std::span<const NamedCounter> named_counters() { return kCounters; }

Counters counters() {
  Counters result;
  for (std::size_t i = 0; i < std::size(kCounters); ++i) {
    result.*kCounters[i].value = state().counts[i];
  }
  return result;
}

void reset_counters() {
  for (auto& value : state().counts) value = 0;
}

Uncounted::~Uncounted() {
  for (std::size_t i = 0; i < std::size(kCounters); ++i) {
    state().counts[i] = before_.*kCounters[i].value;
  }
}

void count(std::int64_t Counters::*counter) {
  for (std::size_t i = 0; i < std::size(kCounters); ++i) {
    if (kCounters[i].value == counter) ++state().counts[i];
  }
}

bool is_fast_map(const Tensor& x) {
  return policy() == Policy::Fast && best_loops() != nullptr && x.dim() == 4 && x.numel() > 0 &&
         is_fast_parameter(x) && !is_for_device(x);
}

bool is_fast_parameter(const Tensor& p) {
  return p.defined() && p.is_cpu() && p.scalar_type() == at::kFloat && p.layout() == at::kStrided;
}

std::int64_t padded_channels(std::int64_t channels) {
  return (channels + kChannelStep - 1) / kChannelStep * kChannelStep;
}

float* scratch(Slot slot, std::int64_t floats) {
  thread_local std::array<Buffer, std::size_t(Slot::Count)> buffers;
  Buffer& buffer = buffers[std::size_t(slot)];
  if (buffer.capacity < floats) {
    const std::size_t bytes =
        (std::size_t(floats) * sizeof(float) + kCacheLine - 1) / kCacheLine * kCacheLine;
    buffer.memory.reset();
    buffer.memory.reset(static_cast<float*>(std::aligned_alloc(kCacheLine, bytes)));
    if (!buffer.memory) throw std::bad_alloc();
    buffer.capacity = floats;
  }
  return buffer.memory.get();
}

float* at_image(const Tensor& images, std::int64_t image) {
  return images.mutable_data_ptr<float>() + image * images.stride(0);
}

std::int64_t range_count(std::int64_t n) {
  return std::max<std::int64_t>(1, std::min<std::int64_t>(n, at::get_num_threads()));
}

void for_ranges(
    std::int64_t n,
    const std::function<void(std::int64_t range, std::int64_t first, std::int64_t end)>& body) {
  const std::int64_t ranges = range_count(n);
  if (ranges == 1) {
    body(0, 0, n);
    return;
  }
  parallel_tasks(ranges, [&](std::int64_t range) {
    body(range, n * range / ranges, n * (range + 1) / ranges);
  });
}

void for_parts(
    std::int64_t parts, std::int64_t n,
    const std::function<void(std::int64_t part, std::int64_t first, std::int64_t end)>& body) {
  const auto one = [&](std::int64_t part) { body(part, n * part / parts, n * (part + 1) / parts); };
  parallel_tasks(parts, one);
}

Tensor wide_sum(const Tensor& rows) {
  const Tensor wide = rows.to(at::kDouble).contiguous();
  const Tensor total = at::zeros({wide.size(1)}, wide.options());
  const double* row = wide.const_data_ptr<double>();
  double* const sums = total.mutable_data_ptr<double>();
  for (std::int64_t n = 0; n < wide.size(0); ++n, row += wide.size(1)) {
    for (std::int64_t c = 0; c < wide.size(1); ++c) sums[c] += row[c];
  }
  return total;
}

Tensor sum_of_parts(const Tensor& parts) {
  const Tensor total = parts[0];
  for (std::int64_t i = 1; i < parts.size(0); ++i) total.add_(parts[i]);
  return total;
}

Tensors contiguous(at::TensorList tensors) {
  Tensors result;
  for (const Tensor& t : tensors) result.push_back(t.detach().contiguous());
  return result;
}

Tensor padded_vector(const Tensor& values, std::int64_t size) {
  const Tensor result = at::zeros({size}, values.options().requires_grad(false));
  result.narrow(0, 0, values.numel()).copy_(values.detach());
  return result;
}

Tensors differentiable_gradients(const std::function<Tensor(const Tensors&)>& reference,
                                 const Tensors& inputs, const Tensor& gy) {
  count(&Counters::second_order);
  Tensors wanted;
  for (const Tensor& input : inputs) {
    if (input.defined() && input.requires_grad()) wanted.push_back(input);
  }
  const Tensors gradients =
      torch::autograd::grad({reference(inputs)}, wanted, {gy}, /*retain_graph=*/true,
                            /*create_graph=*/true, /*allow_unused=*/true);
  Tensors result(inputs.size());
  for (std::size_t i = 0, next = 0; i < inputs.size(); ++i) {
    if (inputs[i].defined() && inputs[i].requires_grad()) result[i] = gradients[next++];
  }
  return result;
}

}  // namespace retort::kernels
