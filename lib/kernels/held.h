#pragma once
// What a node of the autograd graph keeps besides tensors and numbers; not for use outside this
// folder.

#include <utility>

#include <torch/csrc/autograd/custom_function.h>

namespace retort::kernels {

template <class Value>
struct Held : torch::CustomClassHolder {
  explicit Held(Value kept) : value(std::move(kept)) {}
  Value value;
};

template <class Value>
void hold(torch::autograd::AutogradContext* ctx, Value value) {
  ctx->saved_data["held"] =
      c10::IValue::make_capsule(c10::make_intrusive<Held<Value>>(std::move(value)));
}

/// @return what hold<Value> was given, as long as the node lives
template <class Value>
const Value& held(torch::autograd::AutogradContext* ctx) {
  return static_cast<const Held<Value>&>(*ctx->saved_data["held"].toCapsule()).value;
}

}  // namespace retort::kernels
