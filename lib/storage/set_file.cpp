#include "lib/storage/set_file.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/data/pixels.h"
#include "lib/storage/expert_file.h"
#include "lib/storage/hdf5.h"
#include "lib/storage/tensor_checks.h"
#include "lib/storage/views_file.h"

namespace retort::storage {
namespace {

using nlohmann::json;

constexpr std::int64_t kMinor = 0;
constexpr char kPixels[] = "pixels";
constexpr char kParams[] = "params/";
constexpr char kCanvas[] = "params/canvas";

// Where the stored images of a set lie: on the canvas of a decoder that turns nothing else into
// images.
std::string images_path(const data::SyntheticSet& set) {
  return set.decoder.id == kPixels || !set.parameters.empty() ? "images/data" : kCanvas;
}

std::string parameter_path(const std::string& name) { return kParams + name; }

// The dataset that says which decoder there is.
std::string decoder_path(const data::SyntheticSet& set) {
  return set.parameters.empty() ? kCanvas : parameter_path(set.parameters.begin()->first);
}

// What must hold on both sides of a file.
void check_set(const data::SyntheticSet& set, const std::string& source) {
  check_tensor(set.images, at::kFloat, 4, source, "images");
  check_labels(set, source);
  const Tensor& classes = data::hard_classes(set.labels);
  const std::int64_t count = set.images.size(0);
  const std::int64_t num_classes = label_classes(set);
  check_classes(set.class_index, num_classes, source, "class index");
  require(set.class_index.numel() == count, source,
          str("expected one class index per stored image, found ", set.class_index.numel(), " for ",
              count, " images"));
  const auto names = std::int64_t(set.provenance.class_names.size());
  require(names == 0 || names == num_classes, source,
          str("expected ", num_classes, " class names, found ", names));
  require(set.decoder.id != kPixels || classes.numel() == count, source,
          str("expected one label per image, found ", classes.numel(), " for ", count, " images"));
  require(classes.numel() >= count, source,
          str("expected a label for each of ", count, " images or more, found ", classes.numel()));
  require(
      !set.from_bytes || images_path(set) != kCanvas, source,
      str("8-bit pixels need the decoder pixels, or one with parameters, found ", set.decoder.id));
  for (const auto& [name, value] : set.parameters) {
    check_tensor(value, at::kFloat, 4, source, "parameters '" + name + "'");
  }
  require(set.parameters.empty() || set.decoder.id != kPixels, source,
          "the decoder pixels has no parameters, found some");
  expect_preprocessing_of(set.preprocessing, set.shape(), source);
  check_views(set, source);
}

// Images as they lie in the file.
Tensor stored_images(const data::SyntheticSet& set, const std::string& source) {
  if (!set.from_bytes) return set.images;
  try {
    return data::exact_bytes(set.preprocessing, set.images);
  } catch (const DataError& e) {
    throw StorageError(str(source, ": ", e.what()));
  }
}

void write_images(H5Writer& out, const data::SyntheticSet& set, const std::string& source) {
  const Tensor stored = stored_images(set, source);
  auto bytes = double(stored.nbytes());
  out.tensor(images_path(set), stored);
  for (const auto& [name, value] : set.parameters) {
    out.tensor(parameter_path(name), value);
    bytes += double(value.nbytes());
  }
  out.tensor_as_int32("images/class_index", set.class_index);
  out.attribute("images", "space", "preprocessed");
  // Cost in units of one float32 image: what sets of other parametrisations are compared by.
  const double image_bytes = double(set.shape().numel()) * sizeof(float);
  out.attribute("images", "storage_units", bytes / image_bytes);
  if (set.decoder.id == kPixels) return;
  const std::string path = decoder_path(set);
  out.attribute(path, "decoder", set.decoder.id);
  out.attribute(path, "decoder_version", set.decoder.version);
  try {
    out.attribute(path, "decoder_config", json(set.decoder.config).dump());
  } catch (const json::exception& e) {
    throw StorageError(
        str(source, ": configuration of decoder '", set.decoder.id, "' is no JSON: ", e.what()));
  }
}

void write_provenance(H5Writer& out, const data::Provenance& p) {
  const std::string group = "provenance";
  out.text("provenance/config", p.config);
  out.texts("provenance/class_names", p.class_names);
  out.attribute(group, "program_version", p.program_version);
  out.attribute(group, "method", p.method);
  out.attribute(group, "seed", p.seed);
  out.attribute(group, "dataset", p.dataset);
  out.attribute(group, "dataset_sha256", p.dataset_sha256);
  out.attribute(group, "data_path", p.data_path);
  out.attribute(group, "iterations", p.iterations);
  out.attribute(group, "wall_seconds", p.wall_seconds);
  out.attribute(group, "cpu_seconds", p.cpu_seconds);
  out.attribute(group, "peak_memory_bytes", p.peak_memory_bytes);
  out.attribute(group, "processor", p.processor);
  out.attribute(group, "threads", p.threads);
}

std::string asset_path(std::size_t index) { return str("assets/", index); }

void write_assets(H5Writer& out, const std::vector<data::Asset>& assets) {
  out.group("assets");
  for (std::size_t i = 0; i < assets.size(); ++i) {
    const std::string path = asset_path(i);
    out.group(path);
    out.attribute(path, "role", assets[i].role);
    out.attribute(path, "file", assets[i].file);
    out.attribute(path, "sha256", assets[i].sha256);
    out.attribute(path, "id", assets[i].id);
    out.attribute(path, "count", assets[i].count);
    out.attribute(path, "wall_seconds", assets[i].wall_seconds);
    out.attribute(path, "note", assets[i].note);
    if (assets[i].accuracy) out.attribute(path, "accuracy", *assets[i].accuracy);
  }
}

std::vector<data::Asset> read_assets(const H5Reader& in) {
  std::vector<data::Asset> assets;
  while (in.has(asset_path(assets.size()))) {
    const std::string path = asset_path(assets.size());
    assets.push_back({.role = in.text_attribute(path, "role"),
                      .file = in.text_attribute(path, "file"),
                      .sha256 = in.text_attribute(path, "sha256"),
                      .id = in.has_attribute(path, "id") ? in.text_attribute(path, "id") : "",
                      .count = in.int_attribute(path, "count"),
                      .wall_seconds = in.double_attribute(path, "wall_seconds"),
                      .note = in.text_attribute(path, "note"),
                      .accuracy = in.has_attribute(path, "accuracy")
                                      ? std::optional(in.double_attribute(path, "accuracy"))
                                      : std::nullopt});
  }
  return assets;
}

data::Provenance read_provenance(const H5Reader& in) {
  const std::string group = "provenance";
  data::Provenance p;
  p.config = in.text("provenance/config");
  p.class_names = in.texts("provenance/class_names");
  p.program_version = in.text_attribute(group, "program_version");
  p.method = in.text_attribute(group, "method");
  p.seed = in.uint_attribute(group, "seed");
  p.dataset = in.text_attribute(group, "dataset");
  p.dataset_sha256 = in.text_attribute(group, "dataset_sha256");
  p.data_path = in.text_attribute(group, "data_path");
  p.iterations = in.int_attribute(group, "iterations");
  p.wall_seconds = in.double_attribute(group, "wall_seconds");
  p.cpu_seconds = in.double_attribute(group, "cpu_seconds");
  p.peak_memory_bytes = in.double_attribute(group, "peak_memory_bytes");
  p.processor = in.text_attribute(group, "processor");
  p.threads = in.int_attribute(group, "threads");
  return p;
}

// Datasets of /params, the canvas not among them.
std::vector<std::string> parameter_paths(const H5Reader& in) {
  std::vector<std::string> paths;
  for (const std::string& dataset : in.datasets()) {
    if (dataset.starts_with(kParams) && dataset != kCanvas) paths.push_back(dataset);
  }
  return paths;
}

// The dataset whose attributes name the decoder; empty: it is that of pixels.
std::string decoder_path(const H5Reader& in, const std::string& source) {
  for (const std::string& path : parameter_paths(in)) {
    if (in.has_attribute(path, "decoder")) return path;
  }
  if (in.has("images/data")) return "";
  require(in.has(kCanvas), source, str("expected /images/data or /", kCanvas, ", found neither"));
  return kCanvas;
}

data::Decoder read_decoder(const H5Reader& in, const std::string& path, const std::string& source) {
  data::Decoder decoder;
  if (path.empty()) return decoder;
  decoder.id = in.text_attribute(path, "decoder");
  decoder.version = in.int_attribute(path, "decoder_version");
  const json config = json::parse(in.text_attribute(path, "decoder_config"), nullptr, false);
  require(config.is_object(), source, str("/", path, "@decoder_config: expected a JSON object"));
  for (const auto& [key, value] : config.items()) {
    decoder.config[key] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return decoder;
}

data::SyntheticSet read_parts(const H5Reader& in, const std::string& source) {
  data::SyntheticSet set;
  set.preprocessing = read_preprocessing(in, "preprocessing");
  const std::string decoder = decoder_path(in, source);
  set.decoder = read_decoder(in, decoder, source);
  if (!decoder.empty() && decoder != kCanvas) {
    for (const std::string& path : parameter_paths(in)) {
      set.parameters[path.substr(std::string(kParams).size())] = in.tensor(path);
    }
  }
  set.images = in.tensor(images_path(set));
  // Sets of stored images may keep them as pixels.
  if (set.images.scalar_type() == at::kByte && set.images.dim() == 4) {
    set.images = set.preprocessing.apply(set.images);
    set.from_bytes = set.preprocessing.kind() == data::Preprocessing::Kind::MeanStd;
  }
  set.class_index = in.tensor("images/class_index").to(at::kLong);
  set.labels = read_labels(in, source);
  set.views = open_views(in);
  if (in.has("schedule/lr")) {
    const Tensor lr = in.tensor("schedule/lr");
    check_tensor(lr, at::kDouble, 0, source, "/schedule/lr");
    set.learned_lr = lr.item<double>();
  }
  set.assets = read_assets(in);
  set.provenance = read_provenance(in);
  check_set(set, source);
  const std::int64_t num_classes = in.int_attribute("labels", "num_classes");
  require(label_classes(set) == num_classes, source,
          str("/labels: num_classes is ", num_classes, ", labels and class names say ",
              label_classes(set)));
  return set;
}

void report_non_finite(const H5Reader& in, const std::string& path,
                       std::vector<std::string>& findings) {
  if (!in.has(path) || in.is_group(path)) return;
  const Tensor values = in.tensor(path);
  const auto bad = values.numel() - at::isfinite(values).sum().item<std::int64_t>();
  if (bad > 0) findings.push_back(str("/", path, ": ", bad, " values are not finite"));
}

// What the manifest knows as one dataset is named by expert and snapshot.
void add_damaged_snapshots(const std::filesystem::path& path, std::vector<std::string>& findings) {
  try {
    const std::vector<std::string> found = damaged_snapshots(path);
    findings.insert(findings.end(), found.begin(), found.end());
  } catch (const StorageError& e) {
    if (findings.empty()) findings.emplace_back(e.what());  // else the manifest has said it
  }
}

std::uint64_t text_bytes(const std::vector<std::string>& values) {
  std::size_t width = 1;
  for (const std::string& value : values) width = std::max(width, value.size());
  return values.size() * width;
}

}  // namespace

void write_preprocessing(H5Writer& out, const std::string& group,
                         const data::Preprocessing& preprocessing) {
  if (preprocessing.kind() == data::Preprocessing::Kind::MeanStd) {
    out.tensor(group + "/mean", at::tensor(preprocessing.mean(), at::kDouble));
    out.tensor(group + "/std", at::tensor(preprocessing.std(), at::kDouble));
    out.attribute(group, "kind", "mean-std");
    return;
  }
  const data::ZcaMatrices& zca = preprocessing.zca_matrices();
  out.tensor(group + "/mean", zca.mean.to(at::kDouble));
  out.tensor(group + "/whiten", zca.whiten.to(at::kDouble));
  out.tensor(group + "/inverse", zca.inverse.to(at::kDouble));
  out.attribute(group, "kind", "zca");
  out.attribute(group, "eps", zca.eps);
}

data::Preprocessing read_preprocessing(const H5Reader& in, const std::string& group) {
  const std::string source = str("'", in.path().string(), "': /", group);
  const std::string kind = in.text_attribute(group, "kind");
  const auto read = [&](const std::string& name, std::int64_t rank) {
    const Tensor value = in.tensor(group + "/" + name);
    check_tensor(value, at::kDouble, rank, source, name);
    require(at::isfinite(value).all().item<bool>(), source,
            name + " holds a value that is not finite");
    return value;
  };
  const Tensor mean = read("mean", 1);
  const std::int64_t size = mean.numel();
  if (kind == "mean-std") {
    const Tensor std = read("std", 1);
    require(std.numel() == size && size > 0, source,
            str("expected as many means as deviations, found ", size, " and ", std.numel()));
    require(std.gt(0).all().item<bool>(), source, "std must be positive");
    const auto values = [](const Tensor& t) {
      const double* begin = t.const_data_ptr<double>();
      return std::vector<double>(begin, begin + t.numel());
    };
    return data::Preprocessing::mean_std(values(mean), values(std));
  }
  require(kind == "zca", source, str("kind must be mean-std or zca, is '", kind, "'"));
  const Tensor whiten = read("whiten", 2);
  const Tensor inverse = read("inverse", 2);
  for (const Tensor& matrix : {whiten, inverse}) {
    require(matrix.size(0) == size && matrix.size(1) == size, source,
            str("expected matrices [", size, ", ", size, "], found ", shape_text(matrix)));
  }
  return data::Preprocessing::zca({.eps = in.double_attribute(group, "eps"),
                                   .mean = mean,
                                   .whiten = whiten,
                                   .inverse = inverse});
}

void expect_preprocessing_of(const data::Preprocessing& preprocessing, data::ImageShape shape,
                             const std::string& source) {
  if (preprocessing.kind() == data::Preprocessing::Kind::MeanStd) {
    const auto channels = std::int64_t(preprocessing.mean().size());
    require(channels == shape.channels, source,
            str("preprocessing is for ", channels, " channels, the images have ", shape.channels));
    return;
  }
  const std::int64_t pixels = preprocessing.zca_matrices().mean.numel();
  require(pixels == shape.numel(), source,
          str("preprocessing is for ", pixels, " pixels, the images have ", shape.numel()));
}

void write_set(const std::filesystem::path& path, const data::SyntheticSet& set) {
  const std::string source = str("'", path.string(), "': cannot be written");
  check_set(set, source);
  H5Writer::create(path, [&](H5Writer& out) {
    out.attribute("", "schema", kSetSchema);
    out.attribute("", "version_major", kSetMajor);
    out.attribute("", "version_minor", kMinor);
    write_images(out, set, source);
    write_labels(out, set, source);
    write_preprocessing(out, "preprocessing", set.preprocessing);
    if (set.learned_lr) out.tensor("schedule/lr", at::scalar_tensor(*set.learned_lr, at::kDouble));
    write_assets(out, set.assets);
    write_provenance(out, set.provenance);
  });
}

data::SyntheticSet read_set(const std::filesystem::path& path) {
  const std::string source = str("'", path.string(), "'");
  const H5Reader in(path);
  expect_schema(in, kSetSchema, kSetMajor);
  const std::vector<std::string> findings = in.damage({kViewsValues});
  require(findings.empty(), source, findings.empty() ? "" : "is damaged: " + findings.front());
  data::SyntheticSet set = read_parts(in, source);
  warn_without_views(in, set, source);
  return set;
}

StoredBytes stored_bytes(const std::filesystem::path& path) {
  const H5Reader in(path);
  expect_schema(in, kSetSchema, kSetMajor);
  StoredBytes bytes;
  for (const std::string& dataset : in.datasets()) {
    if (dataset.starts_with("manifest/") || dataset.starts_with("evaluations/")) continue;
    const bool image = dataset == "images/data" || dataset.starts_with("params/");
    const bool label = dataset.starts_with("labels/");
    (image ? bytes.images : label ? bytes.labels : bytes.other) += in.payload_bytes(dataset);
  }
  return bytes;
}

StoredBytes stored_bytes(const data::SyntheticSet& set) {
  StoredBytes bytes;
  bytes.images = std::uint64_t(set.images.numel()) * (set.from_bytes ? 1 : sizeof(float));
  for (const auto& [name, value] : set.parameters) bytes.images += value.nbytes();
  const LabelBytes labels = label_bytes(set);
  bytes.labels = labels.hard + labels.soft + labels.views_values + labels.views_meta;
  bytes.other = std::uint64_t(set.class_index.numel()) * sizeof(std::int32_t);
  if (set.preprocessing.kind() == data::Preprocessing::Kind::MeanStd) {
    bytes.other += 2 * set.preprocessing.mean().size() * sizeof(double);
  } else {
    const auto pixels = std::uint64_t(set.preprocessing.zca_matrices().mean.numel());
    bytes.other += (pixels + 2 * pixels * pixels) * sizeof(double);
  }
  if (set.learned_lr) bytes.other += sizeof(double);
  bytes.other += text_bytes({set.provenance.config}) + text_bytes(set.provenance.class_names);
  return bytes;
}

std::vector<std::string> verify_file(const std::filesystem::path& path) {
  const H5Reader in(path);
  std::vector<std::string> findings;
  try {
    findings = in.verify();
    if (in.has_attribute("", "schema") && in.text_attribute("", "schema") == kExpertSchema) {
      add_damaged_snapshots(path, findings);
    }
    if (!findings.empty() || file_schema(path) != kSetSchema) return findings;
    report_non_finite(in, "images/data", findings);
    report_non_finite(in, kCanvas, findings);
    for (const std::string& part : parameter_paths(in)) report_non_finite(in, part, findings);
    report_non_finite(in, kSoftValues, findings);
    expect_schema(in, kSetSchema, kSetMajor);
    const data::SyntheticSet set = read_parts(in, str("'", path.string(), "'"));
    const std::int64_t batches = set.views != nullptr ? set.views->batches() : 0;
    for (std::int64_t i = 0; i < batches; ++i) set.views->batch(i);
  } catch (const Error& e) {
    findings.push_back(e.what());
  }
  return findings;
}

bool has_schema(const std::filesystem::path& path, const std::string& schema) {
  try {
    return file_schema(path) == schema;
  } catch (const StorageError&) {
    return false;
  }
}

std::string file_schema(const std::filesystem::path& path) {
  const H5Reader in(path);
  require(in.has_attribute("", "schema"), str("'", path.string(), "'"),
          "has no attribute 'schema'; is it a file of this program?");
  return in.text_attribute("", "schema");
}

}  // namespace retort::storage
