#include <torch/csrc/autograd/autograd.h>

#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "methods/gradient_matching/gradient_matching.h"
#include "tests/bench/lines.h"
#include "tests/bench/plain_gradients.h"
#include "tests/bench/stacked.h"

namespace retort::bench {
namespace {

namespace gm = methods::gradient_matching;

/// A style of plain_image_gradients, or all classes in one pass.
enum class Way { Best, Papers, OnePass };

struct GradientCase {
  std::string name;
  std::int64_t classes = 10;
  std::int64_t real = 256;  ///< per class
  std::int64_t synthetic = 10;
};

/// The images' gradient of the objective `gm`, asked for as the matching loop asks: class by class,
/// several at once. A lone class is asked for on this thread and may use all of them itself.
ImageGradient our_image_gradient(const nn::Network& network, const nn::NetworkState& state,
                                 const std::vector<ClassImages>& classes) {
  const gm::GradientObjective objective(gm::Metric::Rows);
  Tensors images(classes.size());
  std::vector<double> distances(classes.size());
  const auto one = [&](std::int64_t c) {
    const at::AutoGradMode gradients_on(true);
    const ClassImages& own = classes[std::size_t(c)];
    const Tensor leaf = own.synthetic.detach().clone().requires_grad_();
    const auto loss = objective.loss({network, state}, {{own.label, own.real, leaf}});
    images[std::size_t(c)] = torch::autograd::grad({loss.total}, {leaf})[0];
    distances[std::size_t(c)] = loss.total.item<double>();
  };
  if (classes.size() == 1) {
    one(0);
  } else {
    parallel_tasks(std::int64_t(classes.size()), one);
  }
  double sum = 0;
  for (const double d : distances) sum += d;
  return {at::cat(images), at::scalar_tensor(sum, at::kDouble)};
}

class GradientComparison : public Comparison {
 public:
  GradientComparison(Scene& scene, const std::string& workload, const GradientCase& wanted, Way way)
      : scene_(scene), key_(str(wanted.name, "/", workload)), way_(way) {
    const auto& dataset = scene.workloads.get(workload);
    network_ = default_network(scene.sizes, dataset);
    state_ = network_->initialize(Rng(3));
    for (std::int64_t c = 0; c < wanted.classes; ++c) {
      const Tensor& members = dataset.class_indices(c);
      const auto images = [&](std::int64_t first, std::int64_t count) {
        return dataset.batch(data::Split::Train, members.narrow(0, first, count));
      };
      classes_.push_back({c, images(wanted.synthetic, wanted.real), images(0, wanted.synthetic)});
    }
  }

  std::vector<Check> checks() override {
    const auto mine = our_image_gradient(*network_, state_, classes_);
    const auto other = plain_gradient();
    const auto& exact = scene_.exact.get(key_, [&] { return exact_gradient(); });
    return {{"gradient of the images", mine.images, other.images, exact[0]},
            {"distance", mine.distance, other.distance, exact[1]}};
  }

  void ours(std::int64_t) override { our_image_gradient(*network_, state_, classes_); }
  void plain(std::int64_t) override { plain_gradient(); }

 private:
  ImageGradient plain_gradient() const {
    if (way_ == Way::OnePass) return one_pass_image_gradients(*network_, state_, classes_);
    const Style style = way_ == Way::Best ? Style::Best : Style::Papers;
    return plain_image_gradients(style, *network_, state_, classes_)[0];
  }

  std::vector<Exact> exact_gradient() const {
    std::vector<ClassImages> classes;
    for (const auto& own : classes_) {
      classes.push_back({own.label, own.real.to(at::kDouble), own.synthetic.to(at::kDouble)});
    }
    return bracketed([&](const std::vector<double>& thresholds) {
      std::vector<Tensors> results;
      for (const auto& g :
           plain_image_gradients(Style::Best, *network_, in_float64(state_), classes, thresholds)) {
        results.push_back({g.images, g.distance});
      }
      return results;
    });
  }

  Scene& scene_;
  std::string key_;
  Way way_;
  std::unique_ptr<nn::Network> network_;
  nn::NetworkState state_;
  std::vector<ClassImages> classes_;
};

/// A step of trajectory matching's way back: gradients of soft targets, and their products with a
/// direction by images, targets and parameters.
class ProductComparison : public Comparison {
 public:
  ProductComparison(Scene& scene, const std::string& workload, Style style)
      : scene_(scene), key_(str("hvp/", workload)), style_(style) {
    const auto& dataset = scene.workloads.get(workload);
    network_ = default_network(scene.sizes, dataset);
    state_ = network_->initialize(Rng(3));
    images_ = training_batch(dataset, 0, scene.sizes.product_images).images;
    targets_ = Rng(4).normal_tensor({images_.size(0), dataset.num_classes()}).softmax(1);
    for (std::size_t i = 0; i < state_.parameters.size(); ++i) {
      directions_.push_back(
          Rng(5).child("direction", std::int64_t(i)).normal_tensor(state_.parameters[i].sizes()));
    }
  }

  std::vector<Check> checks() override {
    const Tensors mine = our_results();
    const Tensors other =
        results_of(plain_products(style_, *network_, state_, images_, targets_, directions_)[0]);
    const auto& exact = scene_.exact.get(key_, [&] { return exact_results(); });
    return {{"Hessian's product", mine[0], other[0], exact[0]},
            {"product by images", mine[1], other[1], exact[1], /*by_row=*/true},
            {"product by targets", mine[2], other[2], exact[2], /*by_row=*/true},
            {"gradient", mine[3], other[3], exact[3]}};
  }

  void ours(std::int64_t) override { our_results(); }
  void plain(std::int64_t) override {
    plain_products(style_, *network_, state_, images_, targets_, directions_);
  }

 private:
  static Tensors results_of(const PlainProducts& found) {
    return {nn::flatten(found.parameters), found.images, found.targets,
            nn::flatten(found.gradients)};
  }

  Tensors our_results() const {
    const auto graph = network_->loss_graph(state_, images_, targets_);
    const auto products = graph->products(directions_, {true, true, true});
    return results_of({graph->gradients(), products.images, products.targets, products.parameters});
  }

  std::vector<Exact> exact_results() const {
    const auto state = in_float64(state_);
    Tensors directions;
    for (const Tensor& v : directions_) directions.push_back(v.to(at::kDouble));
    return bracketed([&](const std::vector<double>& thresholds) {
      std::vector<Tensors> results;
      for (const auto& found :
           plain_products(Style::Best, *network_, state, images_.to(at::kDouble),
                          targets_.to(at::kDouble), directions, thresholds)) {
        results.push_back(results_of(found));
      }
      return results;
    });
  }

  Scene& scene_;
  std::string key_;
  Style style_;
  std::unique_ptr<nn::Network> network_;
  nn::NetworkState state_;
  Tensor images_, targets_;
  Tensors directions_;
};

}  // namespace

std::vector<Line> gradient_lines(Scene& scene) {
  const std::int64_t ipc = scene.sizes.ipc;
  // One real image per class is as good as none: the chain alone.
  const std::vector<GradientCase> cases = {
      {"gm-step", 10, scene.sizes.gradient_batch, ipc},
      {"chain/classes:10", 10, 1, ipc},
      {"chain/classes:10/ipc:1", 10, 1, 1},
      {"chain/classes:1", 1, 1, 10 * ipc},
  };
  std::vector<Line> lines;
  for (const GradientCase& wanted : cases) {
    for (const std::string& workload : Workloads::names()) {
      for (const auto& [opponent, way] :
           {std::pair("best", Way::Best), {"papers", Way::Papers}, {"one-pass", Way::OnePass}}) {
        if (way == Way::OnePass && wanted.classes == 1) continue;
        lines.push_back({opponent, wanted.name + "/" + workload, [&scene, workload, wanted, way] {
                           return std::make_unique<GradientComparison>(scene, workload, wanted,
                                                                       way);
                         }});
      }
    }
  }
  for (const std::string& workload : Workloads::names()) {
    for (const Style style : kStyles) {
      lines.push_back({style_name(style), "hvp/" + workload, [&scene, workload, style] {
                         return std::make_unique<ProductComparison>(scene, workload, style);
                       }});
    }
  }
  return lines;
}

}  // namespace retort::bench
