// Augmentation: DiffAugment of VICO-UoE/DatasetCondensation and GeorgeCazenavette/mtt-distillation
// (utils.py), DiffAug of snu-mllab/Efficient-Dataset-Condensation (misc/augment.py), BatchAug and
// DiffAugment of cvlab-yonsei/FYI. The stored parameters are injected; nothing is drawn.

#include "lib/augment/augment.h"

#include <algorithm>

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/synth/parametrization.h"
#include "tests/golden/draws.h"
#include "tests/golden/golden.h"
#include "tests/support/catch.h"

namespace retort::testing::golden {
namespace {

using augment::Draw;
using augment::Operation;
using augment::Strategy;
using Operations = std::vector<Operation>;

/// The parameters of sample 0 for all: what Siamese files repeat for every sample.
Draw shared(const Draw& draw) {
  Draw one = draw;
  for (auto* values : {&one.brightness, &one.saturation, &one.contrast, &one.flip, &one.scale_x,
                       &one.scale_y, &one.angle}) {
    if (!values->empty()) values->resize(1);
  }
  for (auto* values : {&one.shift_row, &one.shift_col, &one.center_row, &one.center_col}) {
    if (!values->empty()) values->resize(1);
  }
  return one;
}

/// Output, and the input gradient of sum(weight * output), against `group`.
void check_application(const GoldenFile& file, const std::string& group, const Strategy& strategy,
                       const Draw& draw, const Tensor& x, const Tensor& weight,
                       const Precision& precision) {
  INFO(group << ", " << precision.name);
  const at::AutoGradMode gradients(true);
  const Tensor leaf = x.detach().requires_grad_();
  const Tensor output = augment::apply(strategy, draw, leaf);
  CHECK_CLOSE(output, file.tensor(group + "/output", precision.dtype), precision.tolerance);
  const Tensor gradient = torch::autograd::grad({output}, {leaf}, {weight})[0];
  CHECK_CLOSE(gradient, file.tensor(group + "/grad_x", precision.dtype), precision.tolerance);
}

Operations without(const Operations& all, const Operations& removed) {
  Operations left;
  for (const Operation op : all) {
    if (std::find(removed.begin(), removed.end(), op) == removed.end()) left.push_back(op);
  }
  return left;
}

bool contains(const Operations& all, Operation op) {
  return std::find(all.begin(), all.end(), op) != all.end();
}

/// Hands out `draws/00`, `draws/01`, ... of a group in order, whatever their shape.
class RawDraws {
 public:
  RawDraws(const GoldenFile& file, const std::string& group)
      : file_(file), group_(group + "/draws"), names_(file.children(group_)) {}

  std::vector<double> reals() {
    const Tensor values = next().to(at::kDouble).flatten().contiguous();
    const auto* first = values.const_data_ptr<double>();
    return {first, first + values.numel()};
  }
  std::vector<std::int64_t> integers() {
    const Tensor values = next().to(at::kLong).flatten().contiguous();
    const auto* first = values.const_data_ptr<std::int64_t>();
    return {first, first + values.numel()};
  }
  bool done() const { return used_ == names_.size(); }

 private:
  Tensor next() {
    if (done()) throw StorageError(str(file_.name(), ": ", group_, " holds too few draws"));
    return file_.stored(group_ + "/" + names_[used_++]);
  }

  const GoldenFile& file_;
  std::string group_;
  std::vector<std::string> names_;
  std::size_t used_ = 0;
};

void read_operation(Operation op, const Strategy& strategy, RawDraws& raw, Draw& draw) {
  draw.sequence.push_back(op);
  const auto mapped = [&](double (*map)(const Strategy&, double)) {
    auto values = raw.reals();
    for (double& value : values) value = map(strategy, value);
    return values;
  };
  switch (op) {
    case Operation::Color:
      draw.brightness = raw.reals();
      draw.saturation = raw.reals();
      draw.contrast = raw.reals();
      return;
    case Operation::Crop:
      draw.shift_row = raw.integers();
      draw.shift_col = raw.integers();
      return;
    case Operation::Cutout:
      draw.center_row = raw.integers();
      draw.center_col = raw.integers();
      return;
    case Operation::Flip:
      draw.flip = raw.reals();
      return;
    case Operation::Scale:
      draw.scale_x = mapped(augment::scale_factor);
      draw.scale_y = mapped(augment::scale_factor);
      return;
    case Operation::Rotate:
      draw.angle = mapped(augment::rotation_angle);
      return;
  }
}

/// IDC: flip, colour, one of the rest, cutout, each if listed.
Draw read_idc_draw(const GoldenFile& file, const std::string& group, const Strategy& strategy) {
  RawDraws raw(file, group);
  Draw draw;
  const Operations& all = strategy.operations;
  for (const Operation op : {Operation::Flip, Operation::Color}) {
    if (contains(all, op)) read_operation(op, strategy, raw, draw);
  }
  const Operations rest = without(all, {Operation::Flip, Operation::Color, Operation::Cutout});
  if (!rest.empty()) {
    const auto choice = std::size_t(raw.integers().at(0));
    read_operation(rest.at(choice), strategy, raw, draw);
  }
  if (contains(all, Operation::Cutout)) read_operation(Operation::Cutout, strategy, raw, draw);
  INFO(group);
  CHECK(raw.done());
  return draw;
}

void check_fyi_doubling(const GoldenFile& file) {
  const Tensor stored_labels = file.stored("batchaug/labels");
  const Tensor labels = file.stored("inputs/label");
  const Tensor rows = (labels == stored_labels[0]).nonzero().view({-1});
  const Tensor chosen = labels.index_select(0, rows);
  CHECK(at::equal(at::cat({chosen, chosen}), stored_labels));
  for (const auto& precision : precisions()) {
    INFO(precision.name);
    const Tensor images = file.tensor("inputs/syn", precision.dtype).index_select(0, rows);
    CHECK_CLOSE(synth::with_flips(images), file.tensor("batchaug/images", precision.dtype),
                precision.tolerance);
  }
}

void check_fyi_augmentation(const GoldenFile& file, const std::string& group) {
  INFO(group);
  Strategy strategy = Strategy::parse(file.text(group, "strategy"));
  strategy.align_corners = true;
  strategy.flip_first = true;
  const std::string parameters = group + "/param";
  const std::string op = file.text_or(group, "op_after_flip", "none");
  Draw draw = read_draw(file, parameters, op);
  if (contains(strategy.operations, Operation::Flip)) {
    draw.sequence.insert(draw.sequence.begin(), Operation::Flip);
  }
  if (op != "none") {
    check_choice(file, parameters, without(strategy.operations, {Operation::Flip}), op);
  }
  check_formulas(file, parameters, strategy);
  const bool siamese = file.integer(group, "siamese") != 0;
  for (const auto& precision : precisions()) {
    const Tensor weight = file.tensor("aug/weight", precision.dtype);
    const Tensor x = file.tensor("inputs/syn", precision.dtype).slice(0, 0, weight.size(0));
    check_application(file, group, strategy, draw, x, weight, precision);
    if (siamese) check_application(file, group, strategy, shared(draw), x, weight, precision);
  }
}

}  // namespace

void check_dsa(const GoldenFile& file) {
  const bool siamese = file.integer("", "siamese") != 0;
  std::int64_t compared = 0;
  for (const auto& op : file.children("")) {
    if (!file.has(op + "/output")) continue;
    Strategy strategy = Strategy::parse(op);
    strategy.align_corners = file.text_or("", "align_corners", "false") == "true";
    const Draw draw = read_draw(file, op + "/param", op);
    check_choice(file, op + "/param", strategy.operations, op);
    check_formulas(file, op + "/param", strategy);
    for (const auto& precision : precisions()) {
      const Tensor x = file.tensor("inputs/x", precision.dtype);
      const Tensor weight = file.tensor("inputs/weight", precision.dtype);
      check_application(file, op, strategy, draw, x, weight, precision);
      if (siamese) check_application(file, op, strategy, shared(draw), x, weight, precision);
    }
    ++compared;
  }
  CHECK(compared > 0);
}

void check_dsa_siamese_pair(const GoldenFile& file) {
  const Strategy strategy = Strategy::parse(file.text("", "strategy"));
  std::int64_t compared = 0;
  for (const auto& call : file.children("")) {
    if (!file.has(call + "/param")) continue;
    INFO(call);
    const std::string op = file.text(call, "op");
    check_choice(file, call + "/param", strategy.operations, op);
    check_formulas(file, call + "/param", strategy);
    const Draw draw = read_draw(file, call + "/param", op);
    for (const auto& precision : precisions()) {
      for (const std::string batch : {"real", "syn"}) {
        INFO(batch << ", " << precision.name);
        const Tensor x = file.tensor("inputs/" + batch, precision.dtype);
        CHECK_CLOSE(augment::apply(strategy, draw, x),
                    file.tensor(call + "/" + batch, precision.dtype), precision.tolerance);
      }
    }
    ++compared;
  }
  CHECK(compared > 0);
  if (file.has("outputs/op_table")) {
    file.skip("outputs/op_table", "numbers of PyTorch's generator, which is not used");
  }
}

void check_idc_diffaug(const GoldenFile& file) {
  std::int64_t compared = 0;
  for (const auto& group : file.children("")) {
    if (!file.has(group + "/output")) continue;
    Strategy strategy = Strategy::parse(file.text(group, "strategy"));
    strategy.combined = true;
    const Draw draw = read_idc_draw(file, group, strategy);
    for (const auto& precision : precisions()) {
      const Tensor x = file.tensor("inputs/x", precision.dtype);
      const Tensor weight = file.tensor("inputs/weight", precision.dtype);
      check_application(file, group, strategy, draw, x, weight, precision);
    }
    ++compared;
  }
  CHECK(compared > 0);
}

void check_fyi_flip(const GoldenFile& file) {
  REQUIRE((file.has("batchaug/images") || file.has("aug") || file.has("dm")));
  if (file.has("batchaug/images")) check_fyi_doubling(file);
  for (const auto& name : file.children("aug")) {
    const std::string group = "aug/" + name;
    if (file.has(group + "/output")) check_fyi_augmentation(file, group);
  }
  if (file.has("dm")) check_fyi_dm(file);
}

}  // namespace retort::testing::golden
