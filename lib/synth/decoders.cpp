// The decoders behind make_pixels, make_multi_formation and make_compensator.

#include <algorithm>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/names.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/data/pixels.h"
#include "lib/synth/parametrization.h"

namespace retort::synth {
namespace {

constexpr std::int64_t kLargestFactor = 5;

void expect_factor(std::int64_t factor) {
  if (factor >= 1 && factor <= kLargestFactor) return;
  throw ConfigError(
      str("multi-formation: the factor lies in 1 .. ", kLargestFactor, ", found ", factor));
}

/// Adds rows below and columns to the right that hold one value per channel.
Tensor padded(const Tensor& x, const Tensor& value, std::int64_t rows, std::int64_t columns) {
  if (rows == 0 && columns == 0) return x;
  expect_shape(value, {x.size(1)}, "multi-formation: padding value");
  const Tensor fill = value.to(x.options()).view({1, -1, 1, 1});
  const std::int64_t n = x.size(0);
  const std::int64_t c = x.size(1);
  const Tensor wide = at::cat({x, fill.expand({n, c, x.size(2), columns})}, 3);
  return at::cat({wide, fill.expand({n, c, rows, wide.size(3)})}, 2);
}

/// Every tile of every image, enlarged to the full size; row t*n+i is tile t of image i.
Tensor decode_at(const Tensor& stored, std::int64_t factor, const Tensor& pad_value) {
  if (factor == 1) return stored;
  const std::int64_t height = stored.size(2);
  const std::int64_t width = stored.size(3);
  const std::int64_t tile_height = (height + factor - 1) / factor;
  const std::int64_t tile_width = (width + factor - 1) / factor;
  const Tensor whole =
      padded(stored, pad_value, factor * tile_height - height, factor * tile_width - width);
  const Tensor tiles =
      whole.view({stored.size(0), stored.size(1), factor, tile_height, factor, tile_width})
          .permute({2, 4, 0, 1, 3, 5})
          .reshape({factor * factor * stored.size(0), stored.size(1), tile_height, tile_width});
  return at::upsample_bilinear2d(tiles, {height, width}, /*align_corners=*/false);
}

/// Sides of the tiles that real images are packed into: the first ones take the remainder. Where it
/// is not zero they differ from the tiles that decoding cuts, as in the authors' code.
std::vector<std::int64_t> packed_sides(std::int64_t side, std::int64_t factor) {
  std::vector<std::int64_t> sides(static_cast<std::size_t>(factor), side / factor);
  std::for_each(sides.begin(), sides.begin() + side % factor, [](auto& s) { ++s; });
  return sides;
}

class Pixels : public ImageDecoder {
 public:
  data::Decoder spec() const override { return {}; }
  std::int64_t images_per_stored() const override { return 1; }
  std::int64_t images_per_packed() const override { return 1; }
  Tensor decode(const Tensor& stored) const override { return stored; }
  Tensor pack(const Tensor& images) const override { return images; }
};

class MultiFormation : public ImageDecoder {
 public:
  MultiFormation(std::int64_t factor, bool multi, Tensor pad_value)
      : factor_(factor), multi_(multi), pad_value_(std::move(pad_value)) {}

  data::Decoder spec() const override {
    return {"multi-formation",
            1,
            {{"factor", std::to_string(factor_)}, {"type", multi_ ? "multi" : "single"}}};
  }

  std::int64_t images_per_stored() const override {
    std::int64_t images = 0;
    for (std::int64_t f = smallest(); f <= factor_; ++f) images += f * f;
    return images;
  }

  std::int64_t images_per_packed() const override { return factor_ * factor_; }

  Tensor decode(const Tensor& stored) const override {
    if (smallest() == factor_) return decode_at(stored, factor_, pad_value_);
    Tensors decoded;
    for (std::int64_t f = smallest(); f <= factor_; ++f) {
      decoded.push_back(decode_at(stored, f, pad_value_));
    }
    return at::cat(decoded);
  }

  Tensor pack(const Tensor& images) const override {
    expect_shape(images, {-1, -1, -1, -1}, "images to pack");
    const std::int64_t n = images.size(0) / images_per_packed();
    if (n < 1 || n * images_per_packed() != images.size(0)) {
      throw ConfigError(str("multi-formation: ", images_per_packed(),
                            " real images go into each stored one, found ", images.size(0)));
    }
    Tensors rows;
    std::int64_t tile = 0;
    for (const auto height : packed_sides(images.size(2), factor_)) {
      Tensors row;
      for (const auto width : packed_sides(images.size(3), factor_)) {
        row.push_back(
            at::upsample_nearest2d(images.slice(0, tile * n, (tile + 1) * n), {height, width}));
        ++tile;
      }
      rows.push_back(at::cat(row, 3));
    }
    return at::cat(rows, 2);
  }

 private:
  std::int64_t smallest() const { return multi_ ? 1 : factor_; }

  std::int64_t factor_;
  bool multi_;
  Tensor pad_value_;
};

class Compensator : public ImageDecoder {
 public:
  Compensator(std::int64_t copies, Tensor compensators, data::Preprocessing preprocessing)
      : copies_(copies),
        compensators_(std::move(compensators)),
        preprocessing_(std::move(preprocessing)) {}

  data::Decoder spec() const override {
    return {"compensator", 1, {{"copies", std::to_string(copies_)}}};
  }

  std::int64_t images_per_stored() const override { return copies_ + 1; }
  std::int64_t images_per_packed() const override { return 1; }

  Tensor decode(const Tensor& stored) const override {
    const std::int64_t places = compensators_.size(0) / copies_;
    if (stored.size(0) != places) {
      throw ConfigError(
          str("compensator: expected a class of ", places, " images, found ", stored.size(0)));
    }
    Tensors decoded{stored};
    for (const Tensor& copy : compensators_.split(places)) {
      decoded.push_back(compensated(preprocessing_, stored, copy));
    }
    return at::cat(decoded);
  }

  Tensor pack(const Tensor& images) const override { return images; }

 private:
  std::int64_t copies_;
  Tensor compensators_;
  data::Preprocessing preprocessing_;
};

}  // namespace

Tensor compensated(const data::Preprocessing& preprocessing, const Tensor& images,
                   const Tensor& compensators) {
  return preprocessing.apply(data::truncated_bytes(preprocessing, images + compensators));
}

std::unique_ptr<ImageDecoder> make_compensator(std::int64_t copies, Tensor compensators,
                                               const data::Preprocessing& preprocessing) {
  expect_shape(compensators, {-1, -1, -1, -1}, "compensators");
  if (copies < 1 || compensators.size(0) < 1 || compensators.size(0) % copies != 0) {
    throw ConfigError(str("compensators: expected as many for each of ", copies, " copies, found ",
                          compensators.size(0)));
  }
  return std::make_unique<Compensator>(copies, std::move(compensators), preprocessing);
}

std::unique_ptr<ImageDecoder> make_pixels() { return std::make_unique<Pixels>(); }

std::unique_ptr<ImageDecoder> make_multi_formation(std::int64_t factor, const std::string& type,
                                                   Tensor pad_value) {
  expect_factor(factor);
  if (type != "single" && type != "multi") {
    throw ConfigError(unknown_name_message("multi-formation type", type, {"single", "multi"}));
  }
  return std::make_unique<MultiFormation>(factor, type == "multi", std::move(pad_value));
}

}  // namespace retort::synth
