#include "tests/golden/golden.h"

#include <algorithm>
#include <iostream>
#include <map>
#include <numeric>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "tests/support/catch.h"

namespace retort::testing::golden {
namespace {

/// Position of the layer in "features.12.running_mean"; layers are stored sorted by name, where 12
/// comes before 4.
std::int64_t layer_number(const std::string& name) {
  const auto digit = name.find_first_of("0123456789");
  return digit == std::string::npos ? 0 : std::stoll(name.substr(digit));
}

std::string option(const GoldenFile& file, const std::string& group, const std::string& name,
                   const std::string& fallback) {
  return file.text_or(group, name, file.text_or("", name, fallback));
}

template <class Value>
Value parse(const GoldenFile& file, const std::string& what, const std::string& text,
            const std::map<std::string, Value>& known) {
  const auto found = known.find(text);
  if (found != known.end()) return found->second;
  throw StorageError(str(file.name(), ": unknown ", what, " '", text, "'"));
}

/// What the layout says about the norm; 4 groups cannot be told from one group per channel.
std::string norm_of_layout(const GoldenFile& file, const std::string& group,
                           const std::vector<nn::ParameterInfo>& layout) {
  if (!file.children(group + "/buffers").empty()) return "batchnorm";
  const std::size_t after_convolution = 2;
  if (layout.size() <= after_convolution) return "none";
  const std::size_t rank = layout[after_convolution].shape.size();
  return rank == 3 ? "layernorm" : rank == 1 ? "instancenorm" : "none";
}

bool without_use(const std::string& path) {
  return ("/" + path).find("/draws/") != std::string::npos || path.starts_with("manifest/");
}

bool lies_in_any(const std::string& path, const std::set<std::string>& groups) {
  return std::any_of(groups.begin(), groups.end(), [&](const std::string& group) {
    return path == group || path.starts_with(group + "/");
  });
}

/// The longest way up from `path` that meets none of the `known` paths, which do not hold it.
std::string highest_outside(const std::string& path, const std::set<std::string>& known) {
  for (auto slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    const std::string inside = path.substr(0, slash + 1);
    const auto next = known.lower_bound(inside);
    if (next == known.end() || !next->starts_with(inside)) return path.substr(0, slash);
  }
  return path;
}

}  // namespace

GoldenFile::GoldenFile(const std::filesystem::path& path)
    : name_(path.filename().string()), h5_(path), kind_(h5_.text_attribute("", "kind")) {}

std::vector<std::string> GoldenFile::children(const std::string& group) const {
  if (!group.empty() && !h5_.has(group)) return {};
  return h5_.children(group);
}

Tensor GoldenFile::tensor(const std::string& path, at::ScalarType dtype) const {
  const Tensor values = stored(path);
  return values.is_floating_point() ? values.to(dtype) : values;
}

Tensor GoldenFile::stored(const std::string& path) const {
  read_.insert(path);
  return h5_.tensor(path);
}

std::vector<std::string> GoldenFile::texts(const std::string& path) const {
  read_.insert(path);
  return h5_.texts(path);
}

double GoldenFile::number(const std::string& path) const {
  return stored(path).to(at::kDouble).item<double>();
}

std::vector<std::int64_t> GoldenFile::shape(const std::string& path) const {
  return h5_.dataset_shape(path);
}

std::int64_t GoldenFile::integer(const std::string& path, const std::string& name) const {
  return h5_.int_attribute(path, name);
}

std::string GoldenFile::text(const std::string& path, const std::string& name) const {
  return h5_.text_attribute(path, name);
}

std::int64_t GoldenFile::integer_or(const std::string& path, const std::string& name,
                                    std::int64_t fallback) const {
  return h5_.has_attribute(path, name) ? h5_.int_attribute(path, name) : fallback;
}

double GoldenFile::number_or(const std::string& path, const std::string& name,
                             double fallback) const {
  return h5_.has_attribute(path, name) ? h5_.double_attribute(path, name) : fallback;
}

std::string GoldenFile::text_or(const std::string& path, const std::string& name,
                                const std::string& fallback) const {
  return h5_.has_attribute(path, name) ? h5_.text_attribute(path, name) : fallback;
}

std::vector<double> GoldenFile::numbers(const std::string& path, const std::string& name) const {
  return h5_.doubles_attribute(path, name);
}

std::vector<std::int64_t> GoldenFile::integers_or_none(const std::string& path,
                                                       const std::string& name) const {
  if (!h5_.has_attribute(path, name)) return {};
  const std::vector<double> values = h5_.doubles_attribute(path, name);
  return {values.begin(), values.end()};
}

void GoldenFile::skip(const std::string& part, const std::string& reason) const {
  if (!skipped_.insert(part).second) return;
  std::cout << str("golden: SKIPPED ", name_, part.empty() ? "" : " part ", part, ": ", reason)
            << std::endl;
}

std::vector<std::string> GoldenFile::unread() const {
  std::set<std::string> known = read_;
  known.insert(skipped_.begin(), skipped_.end());
  if (known.count("") > 0) return {};
  std::set<std::string> parts;
  for (const std::string& path : h5_.datasets()) {
    if (!without_use(path) && !lies_in_any(path, skipped_) && read_.count(path) == 0) {
      parts.insert(highest_outside(path, known));
    }
  }
  return {parts.begin(), parts.end()};
}

std::vector<Precision> precisions(double float64_tolerance, double float32_tolerance) {
  return {{at::kDouble, float64_tolerance, "float64"}, {at::kFloat, float32_tolerance, "float32"}};
}

std::vector<nn::ParameterInfo> read_layout(const GoldenFile& file, const std::string& group) {
  const auto names = file.texts(group + "/names");
  const Tensor shapes = file.stored(group + "/shapes").to(at::kLong).contiguous();
  const Tensor offsets = file.stored(group + "/offsets").to(at::kLong).contiguous();
  const auto count = std::int64_t(names.size());
  if (shapes.dim() != 2 || shapes.size(0) != count || offsets.numel() != count) {
    throw StorageError(str(file.name(), ": ", group, ": ", count,
                           " names do not go with the stored shapes and offsets"));
  }
  std::vector<nn::ParameterInfo> layout;
  std::int64_t offset = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    nn::ParameterInfo info{.name = names[std::size_t(i)], .shape = {}};
    const auto* row = shapes.const_data_ptr<std::int64_t>() + i * shapes.size(1);
    std::copy_if(row, row + shapes.size(1), std::back_inserter(info.shape),
                 [](std::int64_t size) { return size >= 0; });
    if (offsets.const_data_ptr<std::int64_t>()[i] != offset) {
      throw StorageError(str(file.name(), ": ", group, ": offset of ", info.name,
                             " is not the sum of the sizes before it"));
    }
    offset +=
        std::accumulate(info.shape.begin(), info.shape.end(), std::int64_t{1}, std::multiplies<>());
    layout.push_back(std::move(info));
  }
  return layout;
}

Tensors read_buffers(const GoldenFile& file, const std::string& group, at::ScalarType dtype) {
  auto names = file.children(group);
  std::stable_sort(names.begin(), names.end(),
                   [](const auto& a, const auto& b) { return layer_number(a) < layer_number(b); });
  Tensors buffers;
  for (const auto& name : names) buffers.push_back(file.tensor(group + "/" + name, dtype));
  return buffers;
}

nn::NetworkState read_network(const GoldenFile& file, const std::string& group,
                              at::ScalarType dtype) {
  const Tensor flat = file.tensor(group + "/flat", dtype);
  nn::NetworkState state{.parameters = nn::unflatten(flat, read_layout(file, group)),
                         .buffers = read_buffers(file, group + "/buffers", dtype)};
  // Parameters of their own, not views that share one version counter.
  return state.detached_clone();
}

std::unique_ptr<nn::Network> make_stored_convnet(const GoldenFile& file,
                                                 const std::string& options_group,
                                                 const std::string& net_group,
                                                 nn::ImageShape input) {
  const auto layout = read_layout(file, net_group);
  if (layout.empty()) throw StorageError(str(file.name(), ": ", net_group, " is empty"));
  nn::ConvNetConfig config;
  config.width = layout.front().shape.at(0);
  config.depth = std::count_if(layout.begin(), layout.end(),
                               [](const auto& info) { return info.shape.size() == 4; });
  config.norm = parse<nn::Norm>(
      file, "norm", option(file, options_group, "norm", norm_of_layout(file, net_group, layout)),
      {{"none", nn::Norm::None},
       {"batchnorm", nn::Norm::Batch},
       {"layernorm", nn::Norm::Layer},
       {"instancenorm", nn::Norm::Instance},
       {"groupnorm", nn::Norm::Group}});
  config.activation =
      parse<nn::Activation>(file, "activation", option(file, options_group, "activation", "relu"),
                            {{"relu", nn::Activation::Relu},
                             {"leakyrelu", nn::Activation::LeakyRelu},
                             {"sigmoid", nn::Activation::Sigmoid},
                             {"swish", nn::Activation::Swish}});
  config.pooling =
      parse<nn::Pooling>(file, "pooling", option(file, options_group, "pooling", "avgpooling"),
                         {{"none", nn::Pooling::None},
                          {"maxpooling", nn::Pooling::Max},
                          {"avgpooling", nn::Pooling::Average}});
  return nn::make_convnet(config, input, layout.back().shape.at(0));
}

nn::ImageShape image_shape(const Tensor& images) {
  return {.channels = images.size(-3), .height = images.size(-2), .width = images.size(-1)};
}

void check_layout(const nn::Network& network, const GoldenFile& file, const std::string& group) {
  const auto stored = read_layout(file, group);
  const auto& ours = network.parameters();
  REQUIRE(ours.size() == stored.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    INFO("parameter " << i << " of " << group);
    CHECK(ours[i].name == stored[i].name);
    CHECK(ours[i].shape == stored[i].shape);
  }
  CHECK(network.parameter_count() ==
        file.integer_or(group, "num_params", network.parameter_count()));
}

std::vector<std::filesystem::path> golden_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".h5") files.push_back(entry.path());
  }
  if (files.empty()) {
    throw StorageError(str("golden folder '", folder.string(), "': expected .h5 files, found ",
                           error ? error.message() : "none"));
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::set<std::string> check_file(const std::filesystem::path& path) {
  const GoldenFile file(path);
  INFO("golden file " << file.name() << ", kind " << file.kind());
  const auto& all = handlers();
  const auto handler =
      std::find_if(all.begin(), all.end(), [&](const Handler& h) { return h.kind == file.kind(); });
  if (handler == all.end()) {
    file.skip("", "no code serves kind '" + file.kind() + "'");
  } else {
    handler->check(file);
    for (const std::string& part : file.unread()) file.skip(part, "nothing is compared with it");
  }
  return file.skipped();
}

}  // namespace retort::testing::golden
