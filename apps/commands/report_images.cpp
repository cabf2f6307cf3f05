#include "apps/commands/report_images.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>

#include "apps/commands/set_text.h"
#include "lib/core/files.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/synth/nearest_real.h"
#include "lib/synth/parametrization.h"
#include "lib/synth/picture.h"
#include "lib/vision/vision.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostPictures = 11;  // of an evolution, beside the set itself
constexpr std::int64_t kMostStrips = 20;   // classes of an evolution
constexpr double kWidestBins = 128;        // how many bins at most
constexpr double kHalfStep = 0.5 / 255;    // of 8-bit pixels: rounding is not leaving the range

/// @param pixels uint8 [C,H,W]
report::Image image_of(const Tensor& pixels, const std::string& alt) {
  const std::vector<std::byte> png = vision::encode_png(pixels);
  return {.png = std::string(reinterpret_cast<const char*>(png.data()), png.size()),
          .width = pixels.size(2),
          .height = pixels.size(1),
          .alt = alt};
}

/// The first images of class c. int64 [n]
Tensor first_members(const Tensor& classes, std::int64_t c, std::int64_t per_class) {
  const Tensor members = at::nonzero(classes == c).flatten();
  return per_class > 0 ? members.slice(0, 0, std::min(per_class, members.numel())) : members;
}

report::Gallery gallery_of(const data::SyntheticSet& set, const std::string& kind,
                           const Tensor& images, const Tensor& classes, std::int64_t per_class) {
  report::Gallery gallery{.title = kind == "stored" ? "Stored images" : "As networks see them",
                          .rows = {}};
  for (std::int64_t c = 0; c < set.num_classes(); ++c) {
    const Tensor members = first_members(classes, c, per_class);
    const std::string name = class_name(set, c);
    report::ClassRow row{.name = name, .cells = {}, .left_out = 0};
    row.left_out = (classes == c).sum().item<std::int64_t>() - members.numel();
    const Tensor pixels =
        synth::to_pixels(images.index_select(0, members), set.preprocessing).values;
    for (std::int64_t i = 0; i < pixels.size(0); ++i) {
      row.cells.push_back({image_of(pixels[i], str(name, ", ", kind, " image ", i)), {}});
    }
    gallery.rows.push_back(std::move(row));
  }
  return gallery;
}

/// Fills in what is nearest to the images of a gallery that was made of the same arguments.
void add_nearest(report::Gallery& gallery, const data::SyntheticSet& set, const Tensor& images,
                 const Tensor& classes, std::int64_t per_class, const data::ImageDataset& dataset,
                 const StopFlag& stop) {
  std::vector<Tensor> shown;
  for (std::int64_t c = 0; c < set.num_classes(); ++c) {
    shown.push_back(first_members(classes, c, per_class));
  }
  const Tensor members = at::cat(shown);
  log::info(str("looking for the real images nearest to ", members.numel(), " of the set, among ",
                dataset.size(data::Split::Train)));
  const Tensor pixels = synth::to_pixels(images.index_select(0, members), set.preprocessing).values;
  const synth::NearestReal nearest = synth::nearest_real(pixels, dataset, &stop);
  const Tensor real = dataset.pixels(data::Split::Train, nearest.indices);
  const Tensor labels = dataset.labels(data::Split::Train).index_select(0, nearest.indices);
  std::int64_t next = 0;
  for (report::ClassRow& row : gallery.rows) {
    for (report::Cell& cell : row.cells) {
      const std::int64_t index = nearest.indices[next].item<std::int64_t>();
      const std::string name = class_name(set, labels[next].item<std::int64_t>());
      cell.nearest = report::Neighbour{
          .image = image_of(real[next], str("real training image ", index, ", ", name,
                                            ", nearest to ", cell.image.alt)),
          .index = index,
          .class_name = name,
          .distance = nearest.distances[next].item<double>()};
      ++next;
    }
  }
}

/// Iteration and file of every picture that a run kept on its way.
std::map<std::int64_t, fs::path> kept_pictures(const methods::RunFolder& run) {
  std::map<std::int64_t, fs::path> found;
  for (const auto& entry : fs::directory_iterator(run.root)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("grid-") || !name.ends_with(".png")) continue;
    std::int64_t iteration = 0;
    const auto [end, error] =
        std::from_chars(name.data() + 5, name.data() + name.size(), iteration);
    if (error == std::errc() && std::string(end) == ".png") found[iteration] = entry.path();
  }
  return found;
}

/// Evenly chosen, the last one among them.
std::map<std::int64_t, fs::path> some_of(const std::map<std::int64_t, fs::path>& all) {
  const std::size_t step = (all.size() + kMostPictures - 1) / kMostPictures;
  std::map<std::int64_t, fs::path> some;
  std::size_t left = all.size();
  for (const auto& entry : all) {
    if (--left % step == 0) some.insert(entry);
  }
  return some;
}

/// Columns of the longest row of a picture, rows of parameters included.
std::int64_t grid_columns(const data::SyntheticSet& set) {
  std::int64_t most = at::bincount(set.class_index).max().item<std::int64_t>();
  for (const auto& [name, values] : set.parameters) most = std::max(most, values.size(0));
  return std::min(most, methods::kPictureColumns);
}

/// uint8 [K,C,H,W], or nothing.
std::optional<Tensor> first_images(const fs::path& picture, const data::SyntheticSet& set) {
  const data::ImageShape shape = set.shape();
  const std::int64_t rows = set.num_classes() + std::int64_t(set.parameters.size());
  const auto images = vision::first_images_of_grid(vision::read_image(picture), rows,
                                                   grid_columns(set), shape.height, shape.width);
  if (!images) return std::nullopt;
  return images->slice(0, 0, set.num_classes()).slice(1, 0, shape.channels);
}

/// uint8 [K,C,H,W], or fewer where classes are empty.
Tensor first_of_classes(const data::SyntheticSet& set) {
  std::vector<Tensor> firsts;
  for (std::int64_t c = 0; c < set.num_classes(); ++c) {
    firsts.push_back(first_members(set.class_index, c, 1));
  }
  return synth::to_pixels(set.images.index_select(0, at::cat(firsts)), set.preprocessing).values;
}

struct Bins {
  double low = 0;
  double high = 1;
  double width = 1.0 / 32;
};

/// Black and white lie on edges of bins.
Bins bins_for(double least, double largest) {
  Bins bins;
  const double low = least < -kHalfStep ? least : 0;
  const double high = largest > 1 + kHalfStep ? largest : 1;
  while ((high - low) / bins.width > kWidestBins) bins.width *= 2;
  bins.low = std::floor(low / bins.width) * bins.width;
  bins.high = std::ceil(high / bins.width) * bins.width;
  return bins;
}

}  // namespace

std::vector<report::Gallery> galleries(const data::SyntheticSet& set, std::int64_t per_class,
                                       const data::ImageDataset* dataset, const StopFlag& stop) {
  std::vector<report::Gallery> found;
  Tensor images = set.images;
  Tensor classes = set.class_index;
  found.push_back(gallery_of(set, "stored", images, classes, per_class));
  if (set.decoder.id != "pixels") {
    const data::LabelledImages decoded = synth::decode(set);
    images = decoded.images;
    classes = data::hard_classes(decoded.labels);
    found.push_back(gallery_of(set, "decoded", images, classes, per_class));
  }
  if (dataset != nullptr) {
    add_nearest(found.back(), set, images, classes, per_class, *dataset, stop);
  }
  return found;
}

report::Evolution evolution(const methods::RunFolder& run, const data::SyntheticSet& set) {
  const Tensor last = first_of_classes(set);
  if (last.size(0) != set.num_classes()) return {};
  report::Evolution evolution;
  const std::int64_t strips = std::min(set.num_classes(), kMostStrips);
  for (std::int64_t c = 0; c < strips; ++c) evolution.strips.push_back({class_name(set, c), {}});
  const auto add = [&](std::int64_t iteration, const Tensor& pixels) {
    evolution.iterations.push_back(iteration);
    for (std::int64_t c = 0; c < strips; ++c) {
      report::Evolution::Strip& strip = evolution.strips[std::size_t(c)];
      strip.images.push_back(
          image_of(pixels[c], str(strip.name, " after ", iteration, " iterations")));
    }
  };
  for (const auto& [iteration, picture] : some_of(kept_pictures(run))) {
    const std::optional<Tensor> images = first_images(picture, set);
    if (images && iteration < set.provenance.iterations) add(iteration, *images);
  }
  if (evolution.iterations.empty()) return {};
  add(set.provenance.iterations, last);
  return evolution;
}

std::optional<report::Image> last_picture(const methods::RunFolder& run) {
  const auto pictures = kept_pictures(run);
  if (pictures.empty()) return std::nullopt;
  const auto& [iteration, path] = *pictures.rbegin();
  const Tensor pixels = vision::read_image(path);
  return report::Image{.png = read_text(path),
                       .width = pixels.size(2),
                       .height = pixels.size(1),
                       .alt = str("images of all classes after ", iteration, " iterations")};
}

report::Histogram pixel_histogram(const data::SyntheticSet& set) {
  const Tensor values = set.preprocessing.invert(set.images).to(at::kDouble).flatten();
  const Bins bins = bins_for(values.min().item<double>(), values.max().item<double>());
  const auto count = std::int64_t(std::lround((bins.high - bins.low) / bins.width));
  const Tensor numbers =
      ((values - bins.low) / bins.width).floor().to(at::kLong).clamp(0, count - 1);
  const Tensor counts = at::bincount(numbers, {}, count);
  return {.title = "How often pixels have a value, black 0, white 1",
          .value_title = "value",
          .low = bins.low,
          .high = bins.high,
          .counts = {counts.const_data_ptr<std::int64_t>(),
                     counts.const_data_ptr<std::int64_t>() + count},
          .allowed_low = 0,
          .allowed_high = 1};
}

}  // namespace retort::commands
