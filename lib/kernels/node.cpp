#include "lib/kernels/node.h"

#include <algorithm>
#include <utility>

#include <torch/csrc/autograd/custom_function.h>

namespace retort::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Held : torch::CustomClassHolder {
  std::size_t inputs = 0;
  std::function<Tensors(const BackwardPass&)> backward;
};

struct Node : torch::autograd::Function<Node> {
  static variable_list forward(AutogradContext* ctx, at::TensorList inputs,
                               const std::function<Recorded()>& function) {
    Recorded recorded = function();
    ctx->save_for_backward(std::move(recorded.saved));
    ctx->set_materialize_grads(false);
    auto kept = c10::make_intrusive<Held>();
    kept->inputs = inputs.size();
    kept->backward = std::move(recorded.backward);
    ctx->saved_data["held"] = c10::IValue::make_capsule(std::move(kept));
    return recorded.outputs;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto& kept = static_cast<const Held&>(*ctx->saved_data["held"].toCapsule());
    if (std::none_of(gradients.begin(), gradients.end(),
                     [](const Tensor& g) { return g.defined(); })) {
      return variable_list(kept.inputs + 1);
    }
    BackwardPass pass{ctx->get_saved_variables(), gradients, {}};
    for (std::size_t i = 0; i < kept.inputs; ++i) pass.needed.push_back(ctx->needs_input_grad(i));
    variable_list result = kept.backward(pass);
    result.resize(kept.inputs + 1);  // nothing for the function
    return result;
  }
};

}  // namespace

Tensors record(const Tensors& inputs, const std::function<Recorded()>& forward) {
  return Node::apply(at::TensorList(inputs), forward);
}

}  // namespace retort::kernels
