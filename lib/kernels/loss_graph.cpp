#include "lib/kernels/loss_graph.h"

#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"

namespace retort::kernels {
namespace {

std::string kind_text(const Tensor& t) {
  return t.defined() ? str(shape_text(t), " ", at::toString(t.scalar_type())) : "none";
}

}  // namespace

void expect_products_left(bool left) {
  if (!left) throw Error("a loss has products once, if it was made for them");
}

void expect_directions(const Tensors& directions, const Tensors& parameters) {
  if (directions.size() != parameters.size()) {
    throw ConfigError(str("directions of a loss: expected ", parameters.size(),
                          " tensors, one per parameter, found ", directions.size()));
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Tensor& d = directions[i];
    const Tensor& p = parameters[i];
    if (d.defined() && d.sizes() == p.sizes() && d.scalar_type() == p.scalar_type()) continue;
    throw ConfigError(str("direction ", i, " of a loss: expected ", kind_text(p),
                          " like the parameter, found ", kind_text(d)));
  }
}

}  // namespace retort::kernels
