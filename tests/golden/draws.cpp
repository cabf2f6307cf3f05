#include "tests/golden/draws.h"

#include "lib/core/str.h"
#include "lib/synth/parametrization.h"
#include "tests/support/catch.h"

namespace retort::testing::golden {
namespace {

template <class T>
std::vector<T> values(const GoldenFile& file, const std::string& path) {
  if (!file.has(path)) return {};
  const Tensor stored = file.stored(path).to(c10::CppTypeToScalarType<T>::value).flatten();
  const T* first = stored.const_data_ptr<T>();
  return {first, first + stored.numel()};
}

/// Synthetic images come class by class; a file that says their classes must agree.
void check_class_major(const GoldenFile& file, const Tensor& synthetic, std::int64_t classes) {
  if (!file.has("inputs/label_syn")) return;
  const Tensor expected =
      at::arange(classes, at::kLong).repeat_interleave(synthetic.size(0) / classes);
  CHECK(at::equal(file.stored("inputs/label_syn"), expected));
}

}  // namespace

augment::Draw read_draw(const GoldenFile& file, const std::string& group,
                        const std::string& operation) {
  const auto reals = [&](const std::string& name) {
    return values<double>(file, group + "/" + name);
  };
  const auto integers = [&](const std::string& name) {
    return values<std::int64_t>(file, group + "/" + name);
  };
  augment::Draw draw;
  draw.sequence = augment::Strategy::parse(operation).operations;
  draw.brightness = reals("u_brightness");
  draw.saturation = reals("u_saturation");
  draw.contrast = reals("u_contrast");
  draw.shift_row = integers("shift_row");
  draw.shift_col = integers("shift_col");
  draw.center_row = integers("center_row");
  draw.center_col = integers("center_col");
  draw.flip = reals("u_flip");
  draw.scale_x = reals("sx");
  draw.scale_y = reals("sy");
  draw.angle = reals("theta");
  return draw;
}

void check_choice(const GoldenFile& file, const std::string& group,
                  const std::vector<augment::Operation>& choices, const std::string& operation) {
  if (!file.has(group + "/op_index")) return;
  const auto index = std::size_t(file.stored(group + "/op_index").item<std::int64_t>());
  REQUIRE(index < choices.size());
  CHECK(augment::operation_name(choices[index]) == operation);
}

void check_formulas(const GoldenFile& file, const std::string& parameters,
                    const augment::Strategy& strategy) {
  const auto check = [&](const std::string& drawn, const std::string& applied, const auto& map) {
    if (!file.has(parameters + "/" + drawn)) return;
    const Tensor u = file.tensor(parameters + "/" + drawn, at::kDouble).flatten();
    const Tensor values = file.tensor(parameters + "/" + applied, at::kDouble).flatten();
    REQUIRE(u.numel() == values.numel());
    for (std::int64_t i = 0; i < u.numel(); ++i) {
      CHECK(map(u[i].item<double>()) == Approx(values[i].item<double>()).epsilon(1e-12));
    }
  };
  const auto factor = [&](double u) { return augment::scale_factor(strategy, u); };
  check("u_sx", "sx", factor);
  check("u_sy", "sy", factor);
  check("u_theta", "theta", [&](double u) { return augment::rotation_angle(strategy, u); });
}

std::vector<methods::matching::ClassPair> stored_pairs(const GoldenFile& file,
                                                       const Precision& precision,
                                                       const Tensor& synthetic, bool with_flips) {
  const Tensor real = file.tensor("inputs/real", precision.dtype);  // [K,B,C,H,W]
  const std::int64_t classes = real.size(0);
  const std::int64_t per_class = synthetic.size(0) / classes;
  check_class_major(file, synthetic, classes);
  const augment::Strategy strategy =
      augment::Strategy::parse("color_crop_cutout_flip_scale_rotate");
  std::vector<methods::matching::ClassPair> pairs;
  for (std::int64_t c = 0; c < classes; ++c) {
    methods::matching::ClassPair pair{c, real[c],
                                      synthetic.slice(0, c * per_class, (c + 1) * per_class)};
    if (with_flips) pair.synthetic = synth::with_flips(pair.synthetic);
    const std::string group = str("aug/class", c);
    if (file.has(group)) {
      const std::string operation = file.text(group, "op");
      check_choice(file, group, strategy.operations, operation);
      const augment::Draw draw = read_draw(file, group, operation);
      pair.real = augment::apply(strategy, draw, pair.real);
      pair.synthetic = augment::apply(strategy, draw, pair.synthetic);
      CHECK_CLOSE(pair.real, file.tensor(group + "/real", precision.dtype), precision.tolerance);
    }
    pairs.push_back(pair);
  }
  return pairs;
}

}  // namespace retort::testing::golden
