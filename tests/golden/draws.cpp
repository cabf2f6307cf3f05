#include "tests/golden/draws.h"

namespace retort::testing::golden {
namespace {

template <class T>
std::vector<T> values(const GoldenFile& file, const std::string& path) {
  if (!file.has(path)) return {};
  const Tensor stored = file.h5().tensor(path).to(c10::CppTypeToScalarType<T>::value).flatten();
  const T* first = stored.const_data_ptr<T>();
  return {first, first + stored.numel()};
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

}  // namespace retort::testing::golden
