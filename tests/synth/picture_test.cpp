#include "lib/synth/picture.h"

#include <array>
#include <memory>

#include "lib/synth/parametrization.h"
#include "tests/support/catch.h"

using namespace retort;
using synth::draw_set;

namespace {

// What the grid makes of images of 8x8: eight times as large, four pixels apart, on a margin.
constexpr std::int64_t kCell = 64;
constexpr std::int64_t kPitch = kCell + 4;
constexpr std::int64_t kMargin = 16;

using Colour = std::array<int, 3>;
constexpr Colour kWhite{255, 255, 255};
constexpr std::array<Colour, 2> kSynthetic{{{250, 120, 10}, {33, 200, 150}}};
// Real images 0 to 5, of the classes 1, 0, 1, 0, 1, 0.
constexpr std::array<Colour, 6> kReal{
    {{200, 10, 30}, {5, 100, 7}, {10, 20, 220}, {90, 5, 90}, {150, 160, 9}, {3, 140, 160}}};

/// uint8 [3,1,1]
Tensor pixel(const Colour& colour) {
  return at::tensor({colour[0], colour[1], colour[2]}, at::kByte).view({3, 1, 1});
}

template <std::size_t n>
Tensor plain_images(const std::array<Colour, n>& colours) {
  Tensors images;
  for (const auto& colour : colours) images.push_back(pixel(colour).expand({3, 8, 8}));
  return at::stack(images);
}

data::ImageDataset real_images() {
  data::DatasetInfo info;
  info.name = "colours";
  info.class_names = {"left", "right"};
  const data::DataSplit split{std::make_shared<data::MemoryStore>(plain_images(kReal)),
                              at::tensor({1, 0, 1, 0, 1, 0}, at::kLong)};
  return {info, split, split, data::Preprocessing::identity(3)};
}

/// An image of one colour for each of two classes, preprocessed.
data::SyntheticSet synthetic_images() {
  data::SyntheticSet set;
  set.preprocessing = data::Preprocessing::mean_std({0.5, 0.4, 0.3}, {0.25, 0.2, 0.3});
  set.images = set.preprocessing.apply(plain_images(kSynthetic));
  set.class_index = at::arange(2, at::kLong);
  set.labels = data::HardLabels{set.class_index};
  return set;
}

/// bool [H,W]: where a picture has this colour.
Tensor places(const Tensor& picture, const Colour& colour) {
  return picture.eq(pixel(colour)).all(0);
}

/// Left edge of the cells: the first column of pixels that shows the first synthetic image.
std::int64_t left_edge(const Tensor& picture) {
  return at::nonzero(places(picture, kSynthetic[0]).any(0)).min().item<std::int64_t>();
}

/// Whether the cell of this row and column shows nothing but this colour.
bool cell_shows(const Tensor& picture, std::int64_t row, std::int64_t column,
                const Colour& colour) {
  return places(picture, colour)
      .narrow(0, kMargin + row * kPitch, kCell)
      .narrow(1, left_edge(picture) + column * kPitch, kCell)
      .all()
      .item<bool>();
}

}  // namespace

TEST_CASE("real images stand right of those of their class, a column apart", "[synth][picture]") {
  const data::SyntheticSet set = synthetic_images();
  const data::ImageDataset dataset = real_images();
  const Tensor picture = draw_set(set, {.real = 2}, &dataset).pixels;
  REQUIRE(picture.size(1) == 2 * kMargin + kPitch + kCell);
  REQUIRE(picture.size(2) == left_edge(picture) + 3 * kPitch + kCell + kMargin);
  for (std::int64_t c = 0; c < 2; ++c) {
    INFO("class " << c);
    CHECK(cell_shows(picture, c, 0, kSynthetic[std::size_t(c)]));
    CHECK(cell_shows(picture, c, 1, kWhite));
    CHECK(cell_shows(picture, c, 2, kReal[std::size_t(1 - c)]));
    CHECK(cell_shows(picture, c, 3, kReal[std::size_t(3 - c)]));
  }
  for (const std::size_t unasked : {4, 5}) {
    CHECK_FALSE(places(picture, kReal[unasked]).any().item<bool>());
  }
}

TEST_CASE("real images are drawn as many as there are, and only where asked for",
          "[synth][picture]") {
  const data::SyntheticSet set = synthetic_images();
  const data::ImageDataset dataset = real_images();
  const Tensor alone = draw_set(set).pixels;
  CHECK(at::equal(draw_set(set, {.real = 0}, &dataset).pixels, alone));
  CHECK(at::equal(draw_set(set, {.real = 2}).pixels, alone));
  const Tensor all = draw_set(set, {.real = 10}, &dataset).pixels;
  CHECK(all.size(1) == alone.size(1));
  CHECK(all.size(2) == alone.size(2) + 4 * kPitch);
  CHECK(cell_shows(all, 0, 4, kReal[5]));
  CHECK(cell_shows(all, 1, 4, kReal[4]));
}

TEST_CASE("names and a title take their room, a limit on the columns gives some back",
          "[synth][picture]") {
  data::SyntheticSet set = synthetic_images();
  const auto size = [&](const synth::PictureOptions& options) {
    return draw_set(set, options).pixels.sizes().vec();
  };
  const auto nameless = size({});  // "class 0", "class 1"
  const auto titled = size({.title = "the title"});
  CHECK(titled[1] > nameless[1]);
  CHECK(titled[2] == nameless[2]);
  set.provenance.class_names = {"a much longer name", "b"};
  const auto named = size({});
  CHECK(named[1] == nameless[1]);
  CHECK(named[2] > nameless[2]);

  const Tensor twice = at::arange(2, at::kLong).repeat_interleave(3);
  set.images = set.images.index_select(0, twice);
  set.class_index = twice;
  set.labels = data::HardLabels{twice};
  CHECK(size({})[2] == named[2] + 2 * kPitch);
  CHECK(size({.per_class = 2})[2] == named[2] + kPitch);
  CHECK(size({.per_class = 4}) == size({}));
}

TEST_CASE("values beyond black and white are clipped and counted", "[synth][picture]") {
  data::SyntheticSet set = synthetic_images();
  // One channel of one image of two far above white, another below black.
  set.images[0][0] = 100;
  set.images[1][2] = -100;
  const synth::Picture picture = draw_set(set);
  CHECK(picture.clipped_fraction == Approx(2.0 / 6));
  const Colour brighter{255, kSynthetic[0][1], kSynthetic[0][2]};
  const Colour darker{kSynthetic[1][0], kSynthetic[1][1], 0};
  CHECK(places(picture.pixels, brighter).sum().item<std::int64_t>() == kCell * kCell);
  CHECK(places(picture.pixels, darker).sum().item<std::int64_t>() == kCell * kCell);
}

TEST_CASE("what a decoder adds to images stands in a row of its own, around gray",
          "[synth][picture][compensator]") {
  data::SyntheticSet set = synthetic_images();
  set.decoder = {"compensator", 1, {{"copies", "2"}}};
  set.labels = data::HardLabels{at::tensor({0, 0, 0, 1, 1, 1}, at::kLong)};
  // Nothing, and a tenth of the range more red.
  const Tensor added = at::zeros({2, 3, 8, 8});
  added[1][0] = 0.1 / 0.25;
  set.parameters[synth::kCompensators] = added;
  const Tensor stored = draw_set(set).pixels;
  CHECK(cell_shows(stored, 2, 0, {128, 128, 128}));
  CHECK(cell_shows(stored, 2, 1, {153, 128, 128}));
  CHECK(draw_set(set, {.per_class = 1}).pixels.size(1) == stored.size(1));
  // Decoded there are images only.
  CHECK(draw_set(set, {.decoded = true}).pixels.size(1) == stored.size(1) - kPitch);
}
