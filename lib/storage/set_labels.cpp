#include "lib/storage/set_labels.h"

#include <algorithm>

#include "lib/core/log.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/storage/hdf5.h"
#include "lib/storage/set_file.h"
#include "lib/storage/tensor_checks.h"
#include "lib/storage/views_file.h"

namespace retort::storage {
namespace {

constexpr std::int64_t kLabelsMajor = 1;
constexpr std::int64_t kLabelsMinor = 0;
constexpr char kSoftGroup[] = "labels/soft";
constexpr char kFull[] = "f32";
constexpr char kHalf[] = "f16";

// Labels of teachers take two bytes each.
Tensor half_of(const data::SoftLabels& soft) { return soft.values.to(at::kHalf); }

void write_views(H5Writer& out, const data::RecordedViews& views, const std::string& source) {
  ViewsWriter writer(out, views.info(), source);
  for (std::int64_t i = 0; i < views.batches(); ++i) writer.append(views.batch(i));
  writer.finish();
}

void write_soft_labels(H5Writer& out, const data::SoftLabels& soft) {
  out.tensor(kSoftValues, soft.by_teachers() ? half_of(soft) : soft.values);
  out.attribute(kSoftGroup, "encoding", soft.by_teachers() ? kHalf : kFull);
  out.attribute(kSoftGroup, "value_kind",
                soft.kind == data::SoftLabels::Kind::Logit ? "logit" : "prob");
  out.attribute(kSoftGroup, "tau0", 1.0);
  out.attribute(kSoftGroup, "learned", std::int64_t(soft.learned));
  out.attribute(kSoftGroup, "recipe", soft.recipe);
}

data::SoftLabels read_soft_labels(const H5Reader& in, const Tensor& hard,
                                  const std::string& source) {
  const std::string encoding = in.text_attribute(kSoftGroup, "encoding");
  require(encoding == kFull || encoding == kHalf, source,
          str("/labels/soft: encoding '", encoding, "' needs a newer program; known: f32, f16"));
  const std::string kind = in.text_attribute(kSoftGroup, "value_kind");
  require(kind == "logit" || kind == "prob", source,
          str("/labels/soft: value_kind must be logit or prob, is '", kind, "'"));
  const Tensor stored = in.tensor(kSoftValues);
  const at::ScalarType type = encoding == kHalf ? at::kHalf : at::kFloat;
  check_tensor(stored, type, 2, source, "soft labels");
  return data::SoftLabels{
      .classes = hard,
      .values = stored.to(at::kFloat),
      .kind = kind == "logit" ? data::SoftLabels::Kind::Logit : data::SoftLabels::Kind::Probability,
      .learned = in.int_attribute(kSoftGroup, "learned") != 0,
      .recipe =
          in.has_attribute(kSoftGroup, "recipe") ? in.text_attribute(kSoftGroup, "recipe") : ""};
}

}  // namespace

std::int64_t label_classes(const data::SyntheticSet& set) {
  const auto* soft = std::get_if<data::SoftLabels>(&set.labels);
  return soft != nullptr ? soft->values.size(1) : set.num_classes();
}

void check_labels(const data::SyntheticSet& set, const std::string& source) {
  const Tensor& classes = data::hard_classes(set.labels);
  require(classes.defined(), source, "labels are missing");
  if (const auto* soft = std::get_if<data::SoftLabels>(&set.labels)) {
    check_tensor(soft->values, at::kFloat, 2, source, "soft labels");
    require(soft->values.size(0) == classes.numel(), source,
            str("expected one soft label per hard label, found ", soft->values.size(0), " and ",
                classes.numel()));
    require(!soft->by_teachers() || half_of(*soft).to(at::kFloat).equal(soft->values), source,
            "soft labels of teachers: expected values that float16 has, found others");
  }
  check_classes(classes, label_classes(set), source, "hard labels");
}

void check_views(const data::SyntheticSet& set, const std::string& source) {
  if (set.views == nullptr) return;
  const data::ViewsInfo& info = set.views->info();
  const std::int64_t count = data::hard_classes(set.labels).numel();
  const std::int64_t num_classes = label_classes(set);
  require(info.images == count && info.classes == num_classes, source,
          str("views: expected ", count, " images of ", num_classes, " classes, found ",
              info.images, " of ", info.classes));
  const data::ImageShape shape = set.shape();
  require(info.source.height == shape.height && info.source.width == shape.width, source,
          str("views: expected crops of ", shape.height, " x ", shape.width, " pixels, found ",
              info.source.height, " x ", info.source.width));
}

void write_labels(H5Writer& out, const data::SyntheticSet& set, const std::string& source) {
  const Tensor& classes = data::hard_classes(set.labels);
  const auto* soft = std::get_if<data::SoftLabels>(&set.labels);
  out.tensor_as_int32("labels/hard", classes);
  out.attribute("labels", "layout_major", kLabelsMajor);
  out.attribute("labels", "layout_minor", kLabelsMinor);
  out.attribute("labels", "num_images", classes.numel());
  out.attribute("labels", "num_classes", label_classes(set));
  out.attribute("labels", "default",
                set.views != nullptr ? "views"
                : soft != nullptr    ? "soft"
                                     : "hard");
  const auto labelers =
      std::find_if(set.assets.begin(), set.assets.end(),
                   [](const data::Asset& asset) { return asset.role == data::kLabelers; });
  const bool labelled = labelers != set.assets.end();
  out.attribute("labels", "teacher", labelled ? labelers->note : "");
  out.attribute("labels", "teacher_sha256", labelled ? labelers->sha256 : "");
  if (labelled && labelers->accuracy) {
    out.attribute("labels", "teacher_top1", *labelers->accuracy);
  }
  if (set.preprocessing.kind() == data::Preprocessing::Kind::MeanStd) {
    out.attribute("labels", "norm_mean", set.preprocessing.mean());
    out.attribute("labels", "norm_std", set.preprocessing.std());
  }
  if (set.views != nullptr) write_views(out, *set.views, source);
  if (soft != nullptr) write_soft_labels(out, *soft);
}

data::Labels read_labels(const H5Reader& in, const std::string& source) {
  const std::int64_t major = in.int_attribute("labels", "layout_major");
  require(major == kLabelsMajor, source,
          str("/labels: expected layout ", kLabelsMajor, ".x, found ", major));
  const Tensor hard = in.tensor("labels/hard").to(at::kLong);
  const std::int64_t count = in.int_attribute("labels", "num_images");
  require(hard.dim() == 1 && hard.numel() == count, source,
          str("/labels/hard: expected ", count, " labels, found shape ", shape_text(hard)));
  const std::string chosen = in.text_attribute("labels", "default");
  require(chosen == "hard" || chosen == "soft" || chosen == "views", source,
          str("/labels: default labels of kind '", chosen, "' need a newer program"));
  require(chosen != "views" || in.has(kViewsGroup), source,
          str("/labels: default labels are views, but /", kViewsGroup, " is missing"));
  // Beside views lie soft labels or none but the hard ones.
  const bool soft = chosen == "soft" || (chosen == "views" && in.has(kSoftGroup));
  if (!soft) return data::HardLabels{hard};
  return read_soft_labels(in, hard, source);
}

void warn_without_views(const H5Reader& in, const data::SyntheticSet& set,
                        const std::string& source) {
  if (set.views != nullptr || in.text_attribute("labels", "default") != "views") return;
  log::warn(str(source, ": /", kViewsGroup, ": encoding '",
                in.text_attribute(kViewsGroup, "encoding"),
                "' needs a newer program; its other labels are used"));
}

LabelBytes label_bytes(const std::filesystem::path& path) {
  const H5Reader in(path);
  expect_schema(in, kSetSchema, kSetMajor);
  const auto in_group = [](const std::string& dataset, const char* group) {
    return dataset.starts_with(str("labels/", group, "/"));
  };
  LabelBytes bytes;
  for (const std::string& dataset : in.datasets()) {
    if (!dataset.starts_with("labels/")) continue;
    const std::string name = dataset.substr(dataset.rfind('/') + 1);
    const bool value = name == "values" || name == "index" || name == "affine";
    std::uint64_t& bytes_of_part =
        in_group(dataset, "views")       ? (value ? bytes.views_values : bytes.views_meta)
        : in_group(dataset, "generator") ? (name == "backbone" ? bytes.backbone : bytes.generator)
        : in_group(dataset, "soft")      ? bytes.soft
                                         : bytes.hard;
    bytes_of_part += in.payload_bytes(dataset);
  }
  return bytes;
}

LabelBytes label_bytes(const data::SyntheticSet& set) {
  LabelBytes bytes;
  bytes.hard = std::uint64_t(data::hard_classes(set.labels).numel()) * sizeof(std::int32_t);
  if (const auto* soft = std::get_if<data::SoftLabels>(&set.labels)) {
    const std::size_t each = soft->by_teachers() ? sizeof(c10::Half) : sizeof(float);
    bytes.soft = std::uint64_t(soft->values.numel()) * each;
  }
  if (set.views != nullptr) {
    const ViewsBytes views = views_bytes(*set.views);
    bytes.views_values = views.values;
    bytes.views_meta = views.meta;
  }
  return bytes;
}

}  // namespace retort::storage
