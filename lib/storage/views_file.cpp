#include "lib/storage/views_file.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::storage {
namespace {

using data::Mix;
using data::PixelBox;
using data::ViewBatch;
using data::ViewsInfo;
using Sampling = ViewsInfo::Sampling;

constexpr char kEncoding[] = "f16";

struct SamplingName {
  Sampling sampling;
  const char* name;
};
constexpr std::array kSamplings{SamplingName{Sampling::Order, "order"},
                                SamplingName{Sampling::PoolReplace, "pool_replace"},
                                SamplingName{Sampling::PoolUnique, "pool_unique"}};

// What mix_kind says.
constexpr std::array kMixKinds{Mix::Kind::None, Mix::Kind::CutMix, Mix::Kind::MixUp};

std::string part(const std::string& name) { return str(kViewsGroup, "/", name); }

void require(bool holds, const std::string& source, const std::string& finding) {
  if (!holds) throw StorageError(str(source, ": ", finding));
}

// "'set.h5': /labels/views/crop: ..."; faults begin with the part.
std::string views_source(const std::string& file) { return str(file, ": /", kViewsGroup, "/"); }

[[noreturn]] void fail(const std::string& source, const std::string& fault) {
  throw StorageError(views_source(source) + fault);
}

std::string sampling_name(Sampling sampling) {
  const auto* found = std::find_if(kSamplings.begin(), kSamplings.end(),
                                   [&](const auto& known) { return known.sampling == sampling; });
  return found->name;
}

template <class Value>
Tensor copied(const std::vector<Value>& values, at::ScalarType type) {
  Tensor result = at::empty({std::int64_t(values.size())}, type);
  std::memcpy(result.data_ptr(), values.data(), result.nbytes());
  return result;
}

std::vector<std::int64_t> integers(const Tensor& values) {
  const Tensor wide = values.to(at::kLong).contiguous();
  const auto* begin = wide.const_data_ptr<std::int64_t>();
  return {begin, begin + wide.numel()};
}

// Rows of four, of a crop: top, left, height, width.
std::vector<PixelBox> boxes(const Tensor& values) {
  const std::vector<std::int64_t> all = integers(values);
  std::vector<PixelBox> result;
  for (std::size_t i = 0; i + 3 < all.size(); i += 4) {
    result.push_back({all[i], all[i + 1], all[i + 2], all[i + 3]});
  }
  return result;
}

data::ImageSize stored_image_size(const H5Reader& in, const std::string& source) {
  const char* path = in.has("images/data") ? "images/data" : "params/canvas";
  const std::vector<std::int64_t> shape = in.dataset_shape(path);
  require(shape.size() == 4, source, str("/", path, ": expected rank 4, found ", shape.size()));
  return {shape[2], shape[3]};
}

data::ImageSize read_canvas(const H5Reader& in, const std::string& source) {
  const std::vector<double> values = in.doubles_attribute(kViewsGroup, "canvas");
  if (values.size() != 2) fail(source, str("canvas: expected two sizes, found ", values.size()));
  for (const double value : values) {
    if (!(value >= 1 && value <= 65535)) {
      fail(source, str("canvas: expected sizes 1 .. 65535, found ", value));
    }
  }
  return {std::int64_t(values[0]), std::int64_t(values[1])};
}

Sampling read_sampling(const H5Reader& in, const std::string& source) {
  const std::string name = in.text_attribute(kViewsGroup, "sampling");
  const auto* found = std::find_if(kSamplings.begin(), kSamplings.end(),
                                   [&](const auto& known) { return known.name == name; });
  if (found != kSamplings.end()) return found->sampling;
  fail(source, str("sampling: must be order, pool_replace or pool_unique, is '", name, "'"));
}

data::SoftLabels::Kind read_kind(const H5Reader& in, const std::string& source) {
  const std::string kind = in.text_attribute(kViewsGroup, "value_kind");
  if (kind == "logit") return data::SoftLabels::Kind::Logit;
  if (kind == "prob") return data::SoftLabels::Kind::Probability;
  fail(source, str("value_kind: must be logit or prob, is '", kind, "'"));
}

ViewsInfo read_info(const H5Reader& in, const std::string& source) {
  require(in.has(kViewsGroup), source, str("/", kViewsGroup, " is missing"));
  const std::string encoding = in.text_attribute(kViewsGroup, "encoding");
  if (encoding != kEncoding) {
    fail(source, str("encoding: '", encoding, "' needs a newer program; known: ", kEncoding));
  }
  return {.images = in.int_attribute("labels", "num_images"),
          .classes = in.int_attribute("labels", "num_classes"),
          .source = stored_image_size(in, source),
          .canvas = read_canvas(in, source),
          .epochs = in.int_attribute(kViewsGroup, "epochs"),
          .batch = in.int_attribute(kViewsGroup, "batch"),
          .kind = read_kind(in, source),
          .tau0 = in.double_attribute(kViewsGroup, "tau0"),
          .prune_ratio = in.double_attribute(kViewsGroup, "prune_ratio"),
          .sampling = read_sampling(in, source),
          .seed = in.uint_attribute(kViewsGroup, "seed"),
          // Not in files from before it was recorded.
          .recipe = in.has_attribute(kViewsGroup, "recipe")
                        ? in.text_attribute(kViewsGroup, "recipe")
                        : ""};
}

/// Whole batches, so many that checksums and the unused end of the last chunk do not count, and few
/// enough that a reader of one batch does not read much more.
std::int64_t rows_per_chunk(const ViewsInfo& info) {
  constexpr std::int64_t kChunks = 256;
  constexpr std::int64_t kBytes = 64 << 10;
  const auto views = std::int64_t(double(info.images * info.epochs) * (1 - info.prune_ratio));
  const std::int64_t batches =
      std::min(views / (kChunks * info.batch), kBytes / (info.batch * info.classes * 2));
  return info.batch * std::max<std::int64_t>(1, batches);
}

void check_ascending(const std::vector<std::uint64_t>& batch_ptr, const std::string& source) {
  if (batch_ptr.size() < 2) {
    fail(source,
         str("batch_ptr: expected at least one batch, found ", batch_ptr.size(), " entries"));
  }
  if (batch_ptr.front() != 0) {
    fail(source, str("batch_ptr: expected to begin with 0, found ", batch_ptr.front()));
  }
  for (std::size_t i = 1; i < batch_ptr.size(); ++i) {
    if (batch_ptr[i] > batch_ptr[i - 1]) continue;
    fail(source, str("batch_ptr: expected ascending entries, found ", batch_ptr[i], " after ",
                     batch_ptr[i - 1], " at entry ", i));
  }
}

}  // namespace

ViewsWriter::ViewsWriter(H5Writer& out, const data::ViewsInfo& info, const std::string& source)
    : out_(out), info_(info), source_(source) {
  const std::string fault = view_fault(info);
  if (!fault.empty()) fail(source_, fault);
  out_.growing(kViewsValues, at::kHalf, info.classes, rows_per_chunk(info));
}

void ViewsWriter::append(const data::ViewBatch& batch) {
  const std::string fault = view_fault(info_, batch);
  if (!fault.empty()) fail(source_, str(fault, " (batch ", epoch_.size(), ")"));
  const std::size_t count = batch.images.size();
  epoch_.push_back(std::uint32_t(batch.epoch));
  const Mix& mix = batch.views.mix;
  const auto* kind = std::find(kMixKinds.begin(), kMixKinds.end(), mix.kind);
  mix_kind_.push_back(std::uint8_t(kind - kMixKinds.begin()));
  mix_lambda_.push_back(float(mix.lambda));
  for (const std::int64_t edge :
       {mix.box.top, mix.box.left, mix.box.top + mix.box.height, mix.box.left + mix.box.width}) {
    mix_box_.push_back(std::uint16_t(edge));
  }
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t view = image_.size();
    image_.push_back(std::uint32_t(batch.images[i]));
    const PixelBox& crop = batch.views.crops[i];
    for (const std::int64_t value : {crop.top, crop.left, crop.height, crop.width}) {
      crop_.push_back(std::uint16_t(value));
    }
    flip_.resize(view / 8 + 1, 0);
    if (batch.views.flips[i]) flip_.back() |= std::uint8_t(1U << (view % 8));
    mix_perm_.push_back(std::uint16_t(mix.partner.empty() ? std::int64_t(i) : mix.partner[i]));
  }
  batch_ptr_.push_back(image_.size());
  out_.append(kViewsValues, batch.values);
}

void ViewsWriter::finish() {
  if (epoch_.empty()) fail(source_, "batch_ptr: expected at least one batch, found none");
  out_.uint64s(part("batch_ptr"), batch_ptr_);
  out_.uint32s(part("epoch"), epoch_);
  out_.uint32s(part("image"), image_);
  out_.uint16s(part("crop"), crop_, 4);
  out_.tensor(part("flip"), copied(flip_, at::kByte));
  out_.tensor(part("mix_kind"), copied(mix_kind_, at::kByte));
  out_.tensor(part("mix_lambda"), copied(mix_lambda_, at::kFloat));
  out_.uint16s(part("mix_box"), mix_box_, 4);
  out_.uint16s(part("mix_perm"), mix_perm_);
  out_.attribute(kViewsGroup, "encoding", kEncoding);
  out_.attribute(kViewsGroup, "value_kind",
                 info_.kind == data::SoftLabels::Kind::Logit ? "logit" : "prob");
  out_.attribute(kViewsGroup, "tau0", info_.tau0);
  out_.attribute(kViewsGroup, "epochs", info_.epochs);
  out_.attribute(kViewsGroup, "batch", info_.batch);
  out_.attribute(kViewsGroup, "canvas",
                 std::vector<double>{double(info_.canvas.height), double(info_.canvas.width)});
  out_.attribute(kViewsGroup, "prune_ratio", info_.prune_ratio);
  out_.attribute(kViewsGroup, "sampling", sampling_name(info_.sampling));
  out_.attribute(kViewsGroup, "seed", info_.seed);
  out_.attribute(kViewsGroup, "recipe", info_.recipe);
}

ViewsReader::ViewsReader(const std::filesystem::path& set_file)
    : in_(set_file), source_(str("'", set_file.string(), "'")), info_(read_info(in_, source_)) {
  const std::string fault = view_fault(info_);
  if (!fault.empty()) fail(source_, fault);
  read_batches();
  check_shapes();
}

void ViewsReader::read_batches() {
  batch_ptr_ = in_.uint64s(part("batch_ptr"));
  check_ascending(batch_ptr_, source_);
  epoch_ = in_.tensor(part("epoch"));
  mix_kind_ = in_.tensor(part("mix_kind"));
  mix_lambda_ = in_.tensor(part("mix_lambda"));
  mix_box_ = in_.tensor(part("mix_box"));
}

void ViewsReader::check_shapes() const {
  using Shape = std::vector<std::int64_t>;
  const auto expect = [&](const char* name, const Shape& shape) {
    const Shape found = in_.dataset_shape(part(name));
    if (found == shape) return;
    fail(source_, str(name, ": expected shape [", join(shape), "], found [", join(found), "]"));
  };
  const std::int64_t count = views();
  expect("epoch", {batches()});
  expect("mix_kind", {batches()});
  expect("mix_lambda", {batches()});
  expect("mix_box", {batches(), 4});
  expect("image", {count});
  expect("crop", {count, 4});
  expect("flip", {(count + 7) / 8});
  expect("mix_perm", {count});
  expect("values", {count, info_.classes});
}

data::BatchViews ViewsReader::views_of(std::int64_t index, std::int64_t begin,
                                       std::int64_t end) const {
  data::BatchViews views;
  views.crops = boxes(in_.rows(part("crop"), begin, end));
  const std::vector<std::int64_t> bits = integers(in_.rows(part("flip"), begin / 8, (end + 7) / 8));
  for (std::int64_t view = begin; view < end; ++view) {
    views.flips.push_back(((bits[std::size_t(view / 8 - begin / 8)] >> (view % 8)) & 1) != 0);
  }
  const auto kind = mix_kind_[index].item<std::int64_t>();
  if (kind >= std::int64_t(kMixKinds.size())) {
    fail(source_, str("mix_kind: expected 0, 1 or 2, found ", kind, " (batch ", index, ")"));
  }
  Mix& mix = views.mix;
  mix.kind = kMixKinds[std::size_t(kind)];
  mix.lambda = mix_lambda_[index].item<double>();
  const PixelBox edges = boxes(mix_box_[index]).front();
  mix.box = {edges.top, edges.left, edges.height - edges.top, edges.width - edges.left};
  if (mix.kind != Mix::Kind::None) mix.partner = integers(in_.rows(part("mix_perm"), begin, end));
  return views;
}

data::ViewBatch ViewsReader::batch(std::int64_t index) const {
  if (index < 0 || index >= batches()) {
    throw StorageError(
        str(source_, ": /", kViewsGroup, ": holds ", batches(), " batches, no batch ", index));
  }
  const auto begin = std::int64_t(batch_ptr_[std::size_t(index)]);
  const auto end = std::int64_t(batch_ptr_[std::size_t(index) + 1]);
  ViewBatch batch;
  batch.epoch = epoch_[index].item<std::int64_t>();
  batch.images = integers(in_.rows(part("image"), begin, end));
  batch.views = views_of(index, begin, end);
  batch.values = in_.rows(kViewsValues, begin, end);
  const std::string fault = view_fault(info_, batch);
  if (!fault.empty()) fail(source_, str(fault, " (batch ", index, ")"));
  return batch;
}

std::shared_ptr<const data::RecordedViews> open_views(const H5Reader& set_file) {
  if (!set_file.has(kViewsGroup)) return nullptr;
  if (set_file.text_attribute(kViewsGroup, "encoding") != kEncoding) return nullptr;
  return std::make_shared<ViewsReader>(set_file.path());
}

ViewsBytes views_bytes(std::int64_t views, std::int64_t batches, std::int64_t classes) {
  constexpr std::uint64_t kPerView = 4 + 4 * 2 + 2;           // image, crop, mix_perm
  constexpr std::uint64_t kPerBatch = 8 + 4 + 1 + 4 + 4 * 2;  // batch_ptr, epoch, mix
  const auto count = std::uint64_t(views);
  return {.values = count * std::uint64_t(classes) * 2,
          .meta = count * kPerView + (count + 7) / 8 + std::uint64_t(batches) * kPerBatch +
                  sizeof(std::uint64_t)};
}

ViewsBytes views_bytes(const data::RecordedViews& views) {
  return views_bytes(views.views(), views.batches(), views.info().classes);
}

}  // namespace retort::storage
