#include "lib/data/image_dataset.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/hash.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/data/held_out.h"

namespace retort::data {
namespace {

constexpr std::int64_t kBlock = 2048;  // images read at once when a pass over a whole store is made

std::string shape_text(const ImageShape& shape) {
  return str(shape.channels, "x", shape.height, "x", shape.width);
}

Tensor to_tensor(const std::vector<std::int64_t>& values) { return at::tensor(values, at::kLong); }

void check_split(const DataSplit& split, std::int64_t classes, const std::string& name) {
  if (!split.images || !split.labels.defined())
    throw DataError(name + ": images or labels missing");
  const Tensor& labels = split.labels;
  if (labels.dim() != 1 || labels.scalar_type() != at::kLong) {
    throw DataError(retort::str(name, ": expected int64 labels [N], found ", labels.scalar_type(),
                                " ", retort::shape_text(labels)));
  }
  if (labels.size(0) != split.images->size()) {
    throw DataError(str(name, ": expected one label per image, found ", split.images->size(),
                        " images and ", labels.size(0), " labels"));
  }
  if (labels.size(0) == 0) throw DataError(name + ": holds no image");
  const Tensor wrong = (labels < 0).logical_or(labels >= classes).nonzero();
  if (wrong.size(0) > 0) {
    const auto first = wrong[0][0].item<std::int64_t>();
    throw DataError(str(name, ": label ", labels[first].item<std::int64_t>(), " of image ", first,
                        " is not in 0 .. ", classes - 1));
  }
}

// Ascending rows of every class: a stable sort by label keeps the rows' order.
std::vector<Tensor> rows_by_class(const Tensor& labels, std::int64_t classes) {
  const Tensor order = at::argsort(labels, /*stable=*/true, /*dim=*/0, /*descending=*/false);
  const Tensor counts = at::bincount(labels, /*weights=*/{}, /*minlength=*/classes);
  std::vector<Tensor> rows;
  std::int64_t begin = 0;
  for (std::int64_t c = 0; c < classes; ++c) {
    const auto count = counts[c].item<std::int64_t>();
    rows.push_back(order.narrow(0, begin, count).clone());
    begin += count;
  }
  return rows;
}

DataSplit take(const DataSplit& split, const Tensor& rows) {
  return {std::make_shared<SubsetStore>(split.images, rows), split.labels.index_select(0, rows)};
}

/// Old label -> place in `classes`, -1 for all others; int64 [count].
Tensor places_of(const std::vector<std::int64_t>& classes, std::int64_t count) {
  if (classes.empty()) throw ConfigError("a choice of classes: expected at least one, found none");
  Tensor places = at::full({count}, -1, at::kLong);
  auto* place = places.mutable_data_ptr<std::int64_t>();
  for (std::size_t i = 0; i < classes.size(); ++i) {
    const std::int64_t c = classes[i];
    if (c < 0 || c >= count) {
      throw ConfigError(str("a choice of classes: ", c, " is not in 0 .. ", count - 1));
    }
    if (place[c] >= 0) throw ConfigError(str("a choice of classes: ", c, " is named twice"));
    place[c] = std::int64_t(i);
  }
  return places;
}

/// Images whose label has a place; labels stay.
DataSplit take_placed(const DataSplit& split, const Tensor& places) {
  return take(split, places.index_select(0, split.labels).ge(0).nonzero().flatten());
}

void add_note(std::string& note, const std::string& more) {
  if (!note.empty()) note += "; ";
  note += more;
}

template <class Visit>
void for_each_block(const ImageStore& images, const Visit& visit) {
  for (std::int64_t i = 0; i < images.size(); i += kBlock) {
    visit(images.pixels(at::arange(i, std::min(images.size(), i + kBlock), at::kLong)));
  }
}

std::span<const std::byte> bytes_of(const Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

}  // namespace

MemoryStore::MemoryStore(const Tensor& images) : images_(images.contiguous()) {
  if (images_.dim() != 4 || images_.scalar_type() != at::kByte) {
    throw DataError(retort::str("image store: expected uint8 [N,C,H,W], found ",
                                images_.scalar_type(), " ", retort::shape_text(images_)));
  }
}

std::int64_t MemoryStore::size() const { return images_.size(0); }

ImageShape MemoryStore::shape() const {
  return {images_.size(1), images_.size(2), images_.size(3)};
}

Tensor MemoryStore::pixels(const Tensor& indices) const { return images_.index_select(0, indices); }

SubsetStore::SubsetStore(std::shared_ptr<const ImageStore> base, Tensor indices)
    : base_(std::move(base)), indices_(std::move(indices)) {}

std::int64_t SubsetStore::size() const { return indices_.size(0); }

ImageShape SubsetStore::shape() const { return base_->shape(); }

Tensor SubsetStore::pixels(const Tensor& indices) const {
  return base_->pixels(indices_.index_select(0, indices));
}

ImageDataset::ImageDataset(DatasetInfo info, DataSplit train, DataSplit test,
                           Preprocessing preprocessing)
    : info_(std::move(info)),
      train_(std::move(train)),
      test_(std::move(test)),
      preprocessing_(std::move(preprocessing)) {
  const std::string name = "dataset '" + info_.name + "'";
  if (info_.class_names.empty()) throw DataError(name + ": has no classes");
  check_split(train_, num_classes(), name + ", training split");
  check_split(test_, num_classes(), name + ", test split");
  shape_ = train_.images->shape();
  if (test_.images->shape() != shape_) {
    throw DataError(str(name, ": training images are ", shape_text(shape_), ", test images are ",
                        shape_text(test_.images->shape()), "; they must agree"));
  }
  class_indices_ = rows_by_class(train_.labels, num_classes());
  for (std::size_t c = 0; c < class_indices_.size(); ++c) {
    if (class_indices_[c].size(0) > 0) continue;
    throw DataError(str(name, ": class ", c, " ('", info_.class_names[c],
                        "') has no training image; every class needs at least one"));
  }
}

std::int64_t ImageDataset::size(Split split) const { return labels(split).size(0); }

const Tensor& ImageDataset::labels(Split split) const {
  return split == Split::Train ? train_.labels : test_.labels;
}

const Tensor& ImageDataset::class_indices(std::int64_t c) const {
  return class_indices_.at(std::size_t(c));
}

std::int64_t ImageDataset::smallest_class() const {
  const auto smaller = [](const Tensor& a, const Tensor& b) { return a.size(0) < b.size(0); };
  return std::min_element(class_indices_.begin(), class_indices_.end(), smaller)->size(0);
}

Tensor ImageDataset::pixels(Split split, const Tensor& indices) const {
  return (split == Split::Train ? train_ : test_).images->pixels(indices);
}

Tensor ImageDataset::batch(Split split, const Tensor& indices) const {
  return preprocessing_.apply(pixels(split, indices).to(device_));
}

ImageDataset ImageDataset::on(at::Device device) const {
  ImageDataset result = *this;
  result.device_ = device;
  result.preprocessing_ = preprocessing_.on(device);
  return result;
}

ImageDataset ImageDataset::with_preprocessing(Preprocessing preprocessing) const {
  ImageDataset result = *this;
  result.preprocessing_ = device_.is_cpu() ? std::move(preprocessing) : preprocessing.on(device_);
  return result;
}

ImageDataset ImageDataset::images_per_class(std::int64_t n, Rng rng) const {
  if (n < 1) throw ConfigError(str("images per class: expected 1 or more, found ", n));
  std::vector<Tensor> taken;
  for (std::int64_t c = 0; c < num_classes(); ++c) {
    const Tensor& rows = class_indices(c);
    const std::int64_t count = std::min(n, rows.size(0));
    const Tensor picked = to_tensor(rng.child("class", c).sample(rows.size(0), count));
    taken.push_back(rows.index_select(0, picked));
  }
  ImageDataset result = train_subset(std::get<0>(at::cat(taken).sort()));
  add_note(result.info_.note, str("training split reduced to ", n, " images per class"));
  return result;
}

ImageDataset ImageDataset::hold_out(double fraction, Rng rng) const {
  const Cut cut = stratified_cut(train_.labels, info_.class_names, fraction, rng);
  DatasetInfo info = info_;
  add_note(info.note, held_out_note(fraction, cut.held));
  return ImageDataset(std::move(info), take(train_, cut.kept), take(train_, cut.held),
                      preprocessing_)
      .on(device_);
}

ImageDataset ImageDataset::train_subset(const Tensor& indices) const {
  return ImageDataset(info_, take(train_, indices), test_, preprocessing_).on(device_);
}

ImageDataset ImageDataset::only_classes(const std::vector<std::int64_t>& classes) const {
  const Tensor places = places_of(classes, num_classes());
  DataSplit train = take_placed(train_, places);
  DataSplit test = take_placed(test_, places);
  for (DataSplit* split : {&train, &test}) split->labels = places.index_select(0, split->labels);
  DatasetInfo info = info_;
  info.class_names.clear();
  for (const std::int64_t c : classes)
    info.class_names.push_back(info_.class_names[std::size_t(c)]);
  add_note(info.note, str("of ", num_classes(), " classes only ", join(classes)));
  return ImageDataset(std::move(info), std::move(train), std::move(test), preprocessing_)
      .on(device_);
}

ImageDataset ImageDataset::test_only_classes(const std::vector<std::int64_t>& classes) const {
  DatasetInfo info = info_;
  add_note(info.note, str("test split of only the classes ", join(classes)));
  return ImageDataset(std::move(info), train_,
                      take_placed(test_, places_of(classes, num_classes())), preprocessing_)
      .on(device_);
}

Cut stratified_cut(const Tensor& labels, const std::vector<std::string>& class_names,
                   double fraction, const Rng& rng) {
  if (!(fraction > 0 && fraction < 1)) {
    throw ConfigError(str("fraction held out: expected a value between 0 and 1, found ", fraction));
  }
  Tensor held = at::zeros({labels.size(0)}, at::kBool);
  const auto rows_of = rows_by_class(labels, std::int64_t(class_names.size()));
  for (std::size_t c = 0; c < rows_of.size(); ++c) {
    const std::int64_t size = rows_of[c].size(0);
    if (size < 2) {
      throw DataError(str("class ", c, " ('", class_names[c], "') has ", size,
                          " training image(s); holding some out needs two or more"));
    }
    const auto count = std::clamp<std::int64_t>(std::llround(fraction * double(size)), 1, size - 1);
    const Tensor picked = to_tensor(rng.child("class", std::int64_t(c)).sample(size, count));
    held.index_fill_(0, rows_of[c].index_select(0, picked), true);
  }
  return {at::logical_not(held).nonzero().flatten(), held.nonzero().flatten()};
}

std::string dataset_sha256(const DataSplit& train, const DataSplit& test) {
  Sha256 hash;
  for (const DataSplit* split : {&train, &test}) {
    hash.update(
        str("split ", split->images->size(), "x", shape_text(split->images->shape()), "\n"));
    for_each_block(*split->images,
                   [&](const Tensor& block) { hash.update(bytes_of(block.contiguous())); });
    hash.update(bytes_of(split->labels.contiguous()));
  }
  return hash.hex();
}

Preprocessing compute_mean_std(const ImageStore& images) {
  const std::int64_t channels = images.shape().channels;
  Tensor counts = at::zeros({channels, 256}, at::kLong);
  for_each_block(images, [&](const Tensor& block) {
    for (std::int64_t c = 0; c < channels; ++c) {
      counts[c] += at::bincount(block.select(1, c).flatten(), /*weights=*/{}, /*minlength=*/256);
    }
  });
  const Tensor values = at::arange(256, at::kDouble) / 255;
  const Tensor weights = counts.to(at::kDouble) / counts[0].sum().to(at::kDouble);
  const Tensor mean = (weights * values).sum(1);
  const Tensor variance = (weights * (values - mean.unsqueeze(1)).square()).sum(1);
  const Tensor std = variance.sqrt().clamp_min(1e-3);  // a constant channel must not divide by 0
  const auto list = [](const Tensor& t) {
    return std::vector<double>(t.const_data_ptr<double>(), t.const_data_ptr<double>() + t.numel());
  };
  return Preprocessing::mean_std(list(mean), list(std));
}

}  // namespace retort::data
