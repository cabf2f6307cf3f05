#include "lib/synth/parametrization.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "lib/config/options.h"
#include "lib/core/error.h"
#include "lib/core/names.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"

namespace retort::synth {
namespace {

std::vector<std::string> known_decoders() {
  std::vector<std::string> names;
  for (const auto& info : parametrizations()) names.push_back(info.name);
  return names;
}

std::string config_entry(const data::Decoder& spec, const std::string& key) {
  const auto entry = spec.config.find(key);
  if (entry != spec.config.end()) return entry->second;
  throw ConfigError(str("decoder '", spec.id, "': the configuration has no '", key, "'"));
}

std::int64_t integer_entry(const data::Decoder& spec, const std::string& key) {
  const std::string text = config_entry(spec, key);
  std::int64_t value = 1;
  config::OptionTable table;
  table.add(key, value, "", config::at_least(1));
  with_context(str("decoder '", spec.id, "'"), [&] { table.set(key, text, config::Origin::File); });
  return value;
}

/// First rows of runs of equal classes, and the end.
std::vector<std::int64_t> run_starts(const Tensor& class_index) {
  const Tensor classes = class_index.to(at::kLong).contiguous();
  const auto* c = classes.const_data_ptr<std::int64_t>();
  std::vector<std::int64_t> starts;
  for (std::int64_t i = 0; i < classes.numel(); ++i) {
    if (i == 0 || c[i] != c[i - 1]) starts.push_back(i);
  }
  starts.push_back(classes.numel());
  return starts;
}

std::int64_t label_count(const data::Labels& labels) {
  return std::visit(
      [](const auto& l) { return l.classes.defined() ? l.classes.size(0) : std::int64_t{0}; },
      labels);
}

}  // namespace

const std::vector<ParametrizationInfo>& parametrizations() {
  static const std::vector<ParametrizationInfo> all = {
      {"pixels", "every stored image is one training image"},
      {"multi-formation",
       "every stored image is a grid of small images, enlarged when used (IDC; factor 1 .. 5, type "
       "single or multi)"},
      {"compensator",
       "real images, and the same with images added that all classes share (INFER; copies 1 or "
       "more)"},
  };
  return all;
}

Tensor mid_gray(const data::Preprocessing& preprocessing, data::ImageShape shape) {
  const Tensor gray =
      at::full({1, shape.channels, shape.height, shape.width}, 0.5, at::TensorOptions(at::kDouble));
  return preprocessing.apply(gray).mean(at::IntArrayRef{0, 2, 3});
}

std::unique_ptr<ImageDecoder> make_decoder(const data::Decoder& spec,
                                           const data::Preprocessing& preprocessing,
                                           data::ImageShape shape,
                                           const std::map<std::string, Tensor>& parameters) {
  constexpr std::int64_t kNewest = 1;
  const auto known = known_decoders();
  if (std::find(known.begin(), known.end(), spec.id) == known.end()) {
    throw ConfigError(unknown_name_message("decoder", spec.id, known));
  }
  if (spec.version < 1 || spec.version > kNewest) {
    throw ConfigError(str("decoder '", spec.id, "': this program knows version ", kNewest,
                          ", found ", spec.version));
  }
  if (spec.id == "pixels") return make_pixels();
  if (spec.id == "compensator") {
    const auto found = parameters.find(kCompensators);
    if (found == parameters.end()) {
      throw ConfigError(
          str("decoder 'compensator': the set has no parameters '", kCompensators, "'"));
    }
    expect_shape(found->second, {-1, shape.channels, shape.height, shape.width}, kCompensators);
    return make_compensator(integer_entry(spec, "copies"), found->second, preprocessing);
  }
  return make_multi_formation(integer_entry(spec, "factor"), config_entry(spec, "type"),
                              mid_gray(preprocessing, shape));
}

std::unique_ptr<ImageDecoder> make_decoder(std::int64_t factor, const std::string& type,
                                           const data::Preprocessing& preprocessing,
                                           data::ImageShape shape) {
  if (factor == 1) return make_pixels();
  return make_multi_formation(factor, type, mid_gray(preprocessing, shape));
}

data::LabelledImages decode(const data::SyntheticSet& set) {
  const at::NoGradGuard no_gradients;
  expect_shape(set.images, {-1, -1, -1, -1}, "images of the set");
  const data::ImageShape shape{set.images.size(1), set.images.size(2), set.images.size(3)};
  const auto decoder = make_decoder(set.decoder, set.preprocessing, shape, set.parameters);
  Tensor images = set.images;
  if (decoder->images_per_stored() > 1) {
    expect_shape(set.class_index, {set.images.size(0)}, "class_index of the set");
    Tensors groups;
    const auto starts = run_starts(set.class_index);
    for (std::size_t g = 0; g + 1 < starts.size(); ++g) {
      groups.push_back(decoder->decode(set.images.slice(0, starts[g], starts[g + 1])));
    }
    images = at::cat(groups);
  }
  const std::int64_t labels = label_count(set.labels);
  if (labels != images.size(0)) {
    throw DataError(str("synthetic set: expected a label for each of the ", images.size(0),
                        " decoded images, found ", labels));
  }
  return {images, set.labels};
}

Tensor with_flips(const Tensor& images) { return at::cat({images, images.flip(3)}); }

Parametrization::Parametrization(Tensor stored, std::int64_t num_classes,
                                 std::unique_ptr<ImageDecoder> decoder)
    : num_classes_(num_classes), decoder_(std::move(decoder)) {
  expect_shape(stored, {-1, -1, -1, -1}, "stored images");
  if (!stored.is_floating_point()) {
    throw ConfigError(str("stored images: expected floating point, found ", stored.dtype()));
  }
  if (num_classes < 1 || stored.size(0) < num_classes || stored.size(0) % num_classes != 0) {
    throw ConfigError(str("stored images: expected a multiple of ", num_classes, " classes, found ",
                          stored.size(0), " images"));
  }
  stored_ = stored.detach().clone().requires_grad_();
}

std::int64_t Parametrization::ipc() const { return stored_.size(0) / num_classes_; }

Tensor Parametrization::labels() const {
  const std::int64_t per_class = ipc() * decoder_->images_per_stored();
  return at::arange(num_classes_, at::kLong).repeat_interleave(per_class);
}

}  // namespace retort::synth
