#pragma once
// Which kernels run, and how often each path was taken.

#include <cstdint>
#include <span>

namespace retort::kernels {

enum class Policy {
  Reference,  ///< plain LibTorch operations everywhere
  Fast,       ///< our own loops where they serve the input
};

/// For the whole program; Fast at start.
void set_policy(Policy policy);
Policy policy();

enum class Precision {
  Fp32,
  Mixed,  ///< bf16 convolutions where no gradient is taken, on processors that gain by it
};

/// For the whole program; Fp32 at start. What Mixed lowers is forward passes without gradients of
/// ConvNets with InstanceNorm, ReLU and average pooling, without attention: the real half of
/// distribution matching, choosing images, tests. All others stay in float32.
void set_precision(Precision precision);
Precision precision();
/// Whether the processor has matrix units for bf16 (Intel's AMX). Without them our float32 loops
/// are the faster ones, and Mixed changes nothing.
bool processor_gains_by_mixed();

/// Calls served by our own loops, and calls that went to LibTorch's operations instead, because of
/// the policy, the processor, the network, the shape or the type. What a network computes layer by
/// layer is a fallback of the whole, and its convolutions are counted one by one beside it.
struct Counters {
  std::int64_t conv_fast = 0;  ///< single convolutions of a network
  std::int64_t conv_fallback = 0;
  std::int64_t convnet_fast = 0;  ///< all blocks of a network, where nothing below applies
  std::int64_t convnet_fallback = 0;
  std::int64_t convnet_mixed = 0;  ///< of the fast ones, those in bf16
  std::int64_t gradient_fast = 0;  ///< of a loss with respect to all parameters
  std::int64_t gradient_fallback = 0;
  std::int64_t attention_fast = 0;  ///< ConvNets with attention sums
  std::int64_t attention_fallback = 0;
  std::int64_t batch_norm_fast = 0;  ///< ConvNets with BatchNorm; with attention, counted in both
  std::int64_t batch_norm_fallback = 0;
  /// First gradients of a fast forward that were asked for in differentiable form and therefore
  /// recomputed by the reference.
  std::int64_t second_order = 0;
  /// On a device for which a backend is there (device_backend.h); not counted elsewhere.
  std::int64_t device_block_fast = 0;  ///< norm, affine, ReLU, pooling
  std::int64_t device_block_fallback = 0;
  std::int64_t device_augment_fast = 0;  ///< operations of Siamese augmentation
  std::int64_t device_augment_fallback = 0;
  std::int64_t device_step_fast = 0;  ///< optimiser steps of one tensor
  std::int64_t device_step_fallback = 0;
};

/// Since the start or the last reset, over all threads.
Counters counters();
void reset_counters();
/// Adds one, from any thread.
void count(std::int64_t Counters::*counter);

struct NamedCounter {
  const char* name;
  std::int64_t Counters::*value;
};
/// All of them, by the names of the members above.
std::span<const NamedCounter> named_counters();

}  // namespace retort::kernels
