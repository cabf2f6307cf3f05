#include "lib/synth/parametrization.h"

#include <functional>

#include "lib/core/error.h"
#include "lib/core/rng.h"
#include "tests/support/catch.h"
#include "tests/support/gradient_check.h"

using namespace retort;
using synth::ImageDecoder;
using synth::Parametrization;

namespace {

Tensor random_images(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w) {
  return Rng(31).child("images").normal_tensor({n, c, h, w}).to(at::kDouble);
}

/// [n,c,h,w] whose pixels are all different, so that a wrong place shows.
Tensor counted(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w) {
  return at::arange(n * c * h * w, at::kDouble).view({n, c, h, w});
}

std::unique_ptr<ImageDecoder> single(std::int64_t factor, std::int64_t channels = 1) {
  return synth::make_multi_formation(factor, "single", at::full({channels}, 0.5, at::kDouble));
}

data::SyntheticSet small_set(const std::string& type) {
  data::SyntheticSet set;
  set.images = random_images(4, 1, 8, 8).to(at::kFloat);
  set.class_index = at::tensor({0, 0, 1, 1}, at::kLong);
  set.decoder = {"multi-formation", 1, {{"factor", "2"}, {"type", type}}};
  set.preprocessing = data::Preprocessing::mean_std({0.25}, {0.5});
  set.provenance.class_names = {"zero", "one"};
  const std::int64_t per_class = 2 * (type == "multi" ? 5 : 4);
  set.labels = data::HardLabels{at::arange(2, at::kLong).repeat_interleave(per_class)};
  return set;
}

}  // namespace

TEST_CASE("factor 2 at 32x32 reads tile (0,1) of image 0 into row 1*n", "[synth][decode]") {
  constexpr std::int64_t n = 3;
  const Tensor stored = counted(n, 3, 32, 32);
  const Tensor decoded = single(2, 3)->decode(stored);
  REQUIRE(decoded.sizes() == at::IntArrayRef({4 * n, 3, 32, 32}));
  for (std::int64_t i = 0; i < 2; ++i) {
    for (std::int64_t j = 0; j < 2; ++j) {
      for (std::int64_t image = 0; image < n; ++image) {
        const Tensor tile = stored.slice(0, image, image + 1)
                                .slice(2, 16 * i, 16 * i + 16)
                                .slice(3, 16 * j, 16 * j + 16);
        const Tensor expected = at::upsample_bilinear2d(tile, {32, 32}, false);
        INFO("tile " << i << "," << j << " of image " << image);
        CHECK(at::equal(decoded[(2 * i + j) * n + image], expected[0]));
      }
    }
  }
}

TEST_CASE("enlarging keeps half-pixel centres", "[synth][decode]") {
  // A 1x2 tile enlarged to 2x4 reads at -0.25, 0.25, 0.75, 1.25, clamped to the ends.
  const Tensor stored = at::tensor({0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0}).view({1, 1, 2, 4});
  const Tensor row = single(2)->decode(stored)[0][0][0];
  CHECK_CLOSE(row, at::tensor({0.0, 1.0, 3.0, 4.0}), 1e-7);
}

TEST_CASE("sides that the factor does not divide are padded right and below with mid-gray",
          "[synth][decode]") {
  const Tensor stored = random_images(2, 3, 5, 7);
  const Tensor gray = at::tensor({0.1, 0.2, 0.3}, at::kDouble);
  const auto decoder = synth::make_multi_formation(3, "single", gray);
  Tensor whole = gray.view({1, 3, 1, 1}).expand({2, 3, 6, 9}).clone();
  whole.slice(2, 0, 5).slice(3, 0, 7).copy_(stored);
  const Tensor decoded = decoder->decode(stored);
  REQUIRE(decoded.size(0) == 18);
  const Tensor corner = whole.slice(2, 4, 6).slice(3, 6, 9);
  CHECK_CLOSE(decoded.slice(0, 16, 18), at::upsample_bilinear2d(corner, {5, 7}, false), 1e-12);
}

TEST_CASE("multi is the union of the factors, coarse first", "[synth][decode]") {
  const Tensor stored = random_images(2, 1, 6, 6);
  const auto multi = synth::make_multi_formation(3, "multi", at::full({1}, 0.5));
  const Tensor expected = at::cat({stored, single(2)->decode(stored), single(3)->decode(stored)});
  CHECK(at::equal(multi->decode(stored), expected));
  CHECK(multi->images_per_stored() == 14);
  CHECK(multi->images_per_packed() == 9);
  CHECK(single(3)->images_per_stored() == 9);
}

TEST_CASE("factor 1 and pixels return what is stored", "[synth][decode]") {
  const Tensor stored = random_images(2, 1, 5, 5);
  CHECK(at::equal(single(1)->decode(stored), stored));
  CHECK(at::equal(single(1)->pack(stored), stored));
  CHECK(at::equal(synth::make_pixels()->decode(stored), stored));
  CHECK(at::equal(synth::make_pixels()->pack(stored), stored));
}

TEST_CASE("decoding passes the gradient check", "[synth][gradient]") {
  for (const std::string type : {"single", "multi"}) {
    for (const std::int64_t factor : {1, 2, 3, 5}) {
      INFO(type << " factor " << factor);
      const auto decoder = synth::make_multi_formation(factor, type, at::full({2}, 0.5));
      const Tensor x = random_images(2, 2, 7, 6);
      CHECK(testing::direction_error([&](const Tensor& t) { return decoder->decode(t); }, x) <
            1e-6);
      const auto squared = [&](const Tensor& t) { return decoder->decode(t).square(); };
      CHECK(testing::second_direction_error(squared, x) < 1e-6);
    }
  }
  const Tensor x = random_images(3, 1, 5, 5);
  CHECK(testing::direction_error([](const Tensor& t) { return synth::with_flips(t); }, x) < 1e-6);
}

TEST_CASE("packing shrinks by nearest neighbour and pastes in tile order", "[synth][pack]") {
  const Tensor images = counted(8, 1, 4, 4);  // 4 for each of 2 stored images
  const Tensor packed = single(2)->pack(images);
  REQUIRE(packed.sizes() == at::IntArrayRef({2, 1, 4, 4}));
  for (std::int64_t tile = 0; tile < 4; ++tile) {
    for (std::int64_t i = 0; i < 2; ++i) {
      const std::int64_t row = 2 * (tile / 2);
      const std::int64_t col = 2 * (tile % 2);
      const Tensor shrunk = images[tile * 2 + i][0].slice(0, 0, 4, 2).slice(1, 0, 4, 2);
      CHECK(at::equal(packed[i][0].slice(0, row, row + 2).slice(1, col, col + 2), shrunk));
    }
  }
  // 5 = 3 + 2: the first tiles take the remainder.
  const Tensor odd =
      single(2)->pack(at::arange(1, 5, at::kDouble).view({4, 1, 1, 1}).expand({4, 1, 5, 5}));
  CHECK(odd[0][0][2][2].item<double>() == 1);
  CHECK(odd[0][0][2][3].item<double>() == 2);
  CHECK(odd[0][0][3][2].item<double>() == 3);
  CHECK(odd[0][0][4][4].item<double>() == 4);
}

TEST_CASE("packing constant images and decoding them gives them back", "[synth][pack]") {
  const Tensor images = at::arange(8, at::kDouble).view({8, 1, 1, 1}).expand({8, 1, 6, 6});
  const auto decoder = single(2);
  CHECK_CLOSE(decoder->decode(decoder->pack(images)), images, 1e-12);
}

TEST_CASE("the stored images are a leaf of their own", "[synth][parametrization]") {
  const Tensor given = random_images(4, 1, 4, 4).to(at::kFloat);
  const Parametrization p(given, 2, synth::make_pixels());
  CHECK(p.stored().is_leaf());
  CHECK(p.stored().requires_grad());
  CHECK(p.stored().scalar_type() == at::kFloat);
  CHECK(at::equal(p.stored().detach(), given));
  CHECK_FALSE(p.stored().detach().is_alias_of(given));
  CHECK(p.ipc() == 2);
  CHECK(p.num_classes() == 2);
}

TEST_CASE("a parametrization labels every decoded image, class by class",
          "[synth][parametrization]") {
  for (const std::string type : {"single", "multi"}) {
    const Parametrization p(random_images(6, 1, 8, 8), 3,
                            synth::make_multi_formation(2, type, at::full({1}, 0.5)));
    const std::int64_t per_class = 2 * (type == "multi" ? 5 : 4);
    CHECK(at::equal(p.labels(), at::arange(3, at::kLong).repeat_interleave(per_class)));
  }
}

TEST_CASE("mirror images follow their originals", "[synth][flips]") {
  const Tensor x = counted(3, 1, 2, 3);
  const Tensor both = synth::with_flips(x);
  CHECK(at::equal(both.slice(0, 0, 3), x));
  CHECK(at::equal(both.slice(0, 3, 6), x.flip(3)));
}

TEST_CASE("a stored set decodes to one image per label", "[synth][set]") {
  for (const std::string type : {"single", "multi"}) {
    const auto set = small_set(type);
    const auto decoded = synth::decode(set);
    CHECK(decoded.images.size(0) == data::hard_classes(decoded.labels).size(0));
    CHECK_FALSE(decoded.images.requires_grad());
    const auto decoder = synth::make_decoder(set.decoder, set.preprocessing, {1, 8, 8});
    const Tensor expected = at::cat(
        {decoder->decode(set.images.slice(0, 0, 2)), decoder->decode(set.images.slice(0, 2, 4))});
    CHECK(at::equal(decoded.images, expected));
  }
  auto set = small_set("single");
  set.decoder = {};
  set.labels = data::HardLabels{set.class_index};
  CHECK(synth::decode(set).images.is_same(set.images));
  set.labels = data::HardLabels{set.class_index.slice(0, 1)};
  CHECK_THROWS_WITH_TEXT(synth::decode(set), DataError,
                         "a label for each of the 4 decoded images, found 3");
}

TEST_CASE("classes of different size decode too", "[synth][set]") {
  auto set = small_set("single");
  set.class_index = at::tensor({0, 1, 1, 1}, at::kLong);
  set.labels = data::HardLabels{at::cat({at::zeros({4}, at::kLong), at::ones({12}, at::kLong)})};
  const auto decoded = synth::decode(set);
  const auto decoder = synth::make_decoder(set.decoder, set.preprocessing, {1, 8, 8});
  CHECK(at::equal(decoded.images.slice(0, 0, 4), decoder->decode(set.images.slice(0, 0, 1))));
  CHECK(at::equal(decoded.images.slice(0, 4), decoder->decode(set.images.slice(0, 1))));
}

TEST_CASE("mid-gray goes through the preprocessing into the padding", "[synth][decoder]") {
  const auto preprocessing = data::Preprocessing::mean_std({0.25, 0.5}, {0.5, 0.1});
  CHECK_CLOSE(synth::mid_gray(preprocessing, {2, 4, 4}), at::tensor({0.5, 0.0}, at::kDouble),
              1e-12);
  const data::Decoder spec{"multi-formation", 1, {{"factor", "3"}, {"type", "single"}}};
  const auto decoder = synth::make_decoder(spec, preprocessing, {2, 4, 4});
  // Tiles of 2x2 on 6x6: the last one is padding only.
  const Tensor last = decoder->decode(random_images(1, 2, 4, 4))[8];
  CHECK_CLOSE(last[0], at::full({4, 4}, 0.5, at::kDouble), 1e-12);
  CHECK(last[1].abs().max().item<double>() < 1e-12);
}

TEST_CASE("a decoder survives its specification", "[synth][decoder]") {
  const auto identity = data::Preprocessing::identity(1);
  for (const std::string type : {"single", "multi"}) {
    const auto spec = synth::make_multi_formation(3, type, at::full({1}, 0.5))->spec();
    const auto again = synth::make_decoder(spec, identity, {1, 5, 5});
    CHECK(again->spec().config == spec.config);
    const Tensor x = random_images(2, 1, 5, 5);
    CHECK(again->decode(x).size(0) == 2 * (type == "multi" ? 14 : 9));
  }
  CHECK(synth::make_decoder({}, identity, {1, 5, 5})->spec().id == "pixels");
  std::vector<std::string> names;
  for (const auto& info : synth::parametrizations()) {
    names.push_back(info.name);
    CHECK_FALSE(info.description.empty());
  }
  CHECK(names == std::vector<std::string>{"pixels", "multi-formation", "compensator"});
}

namespace {

/// Two classes of three images of 8-bit pixels, and two compensators for each place.
data::SyntheticSet compensator_set() {
  data::SyntheticSet set;
  set.preprocessing = data::Preprocessing::mean_std({0.25}, {0.5});
  set.images = set.preprocessing.apply(Rng(3).uniform_tensor({6, 1, 4, 4}, 0, 255).to(at::kByte));
  set.class_index = at::tensor({0, 0, 0, 1, 1, 1}, at::kLong);
  set.from_bytes = true;
  set.decoder = {"compensator", 1, {{"copies", "2"}}};
  set.parameters[synth::kCompensators] = Rng(4).normal_tensor({6, 1, 4, 4});
  set.labels = data::HardLabels{at::arange(2, at::kLong).repeat_interleave(9)};
  set.provenance.class_names = {"zero", "one"};
  return set;
}

}  // namespace

TEST_CASE("compensators are added to the images of their place, in every class",
          "[synth][decode][compensator]") {
  const data::SyntheticSet set = compensator_set();
  const data::LabelledImages decoded = synth::decode(set);
  REQUIRE(decoded.images.size(0) == 18);
  const Tensor views = decoded.images.view({2, 3, 3, 1, 4, 4});  // class, view, place
  const Tensor images = set.images.view({2, 3, 1, 4, 4});
  CHECK(at::equal(views.select(1, 0), images));
  const Tensor u = set.parameters.at(synth::kCompensators).view({2, 3, 1, 4, 4});
  const double step = 1 / 255.0 / 0.5;
  for (std::int64_t m = 0; m < 2; ++m) {
    const Tensor sum = (images + u[m]).clamp(-0.5, 1.5);
    // Cut off to 8 bits: below by less than a step.
    const Tensor off = sum - views.select(1, m + 1);
    CHECK(off.min().item<double>() > -1e-5);
    CHECK(off.max().item<double>() < step + 1e-5);
  }
  const Tensor pixels = set.preprocessing.invert(views) * 255;
  CHECK((pixels - pixels.round()).abs().max().item<double>() < 1e-3);
}

TEST_CASE("wrong compensators are answered with what is wrong", "[synth][errors][compensator]") {
  const auto refused = [](const std::function<void(data::SyntheticSet&)>& change,
                          const std::string& text) {
    data::SyntheticSet set = compensator_set();
    change(set);
    CHECK_THROWS_WITH_TEXT(synth::decode(set), ConfigError, text);
  };
  using data::SyntheticSet;
  refused([](SyntheticSet& s) { s.parameters.clear(); },
          "the set has no parameters 'compensators'");
  refused([](SyntheticSet& s) { s.decoder.config.clear(); }, "has no 'copies'");
  refused([](SyntheticSet& s) { s.decoder.config["copies"] = "4"; },
          "as many for each of 4 copies, found 6");
  refused([](SyntheticSet& s) { s.decoder.config["copies"] = "3"; },
          "expected a class of 2 images, found 3");
  refused(
      [](SyntheticSet& s) {
        s.parameters[synth::kCompensators] = at::zeros({6, 1, 4, 5});
      },
      "compensators: expected shape");
}

TEST_CASE("wrong decoders are answered with what is wrong", "[synth][errors]") {
  const auto identity = data::Preprocessing::identity(1);
  const auto make = [&](data::Decoder spec) {
    return synth::make_decoder(spec, identity, {1, 5, 5});
  };
  CHECK_THROWS_WITH_TEXT(make({"pixel", 1, {}}), ConfigError,
                         "unknown decoder 'pixel'; did you mean 'pixels'");
  CHECK_THROWS_WITH_TEXT(make({"siren", 1, {}}), ConfigError, "multi-formation");
  CHECK_THROWS_WITH_TEXT(make({"pixels", 2, {}}), ConfigError, "knows version 1, found 2");
  CHECK_THROWS_WITH_TEXT(make({"multi-formation", 1, {{"type", "single"}}}), ConfigError,
                         "has no 'factor'");
  CHECK_THROWS_WITH_TEXT(make({"multi-formation", 1, {{"factor", "2"}}}), ConfigError,
                         "has no 'type'");
  for (const std::string factor : {"2x", "", "-2", "0", "9223372036854775808"}) {
    CHECK_THROWS_WITH_TEXT(make({"multi-formation", 1, {{"factor", factor}, {"type", "single"}}}),
                           ConfigError,
                           "decoder 'multi-formation': option 'factor': expected a whole number, "
                           "1 or more, found '" +
                               factor + "'");
  }
  CHECK_THROWS_WITH_TEXT(make({"multi-formation", 1, {{"factor", "9"}, {"type", "single"}}}),
                         ConfigError, "the factor lies in 1 .. 5, found 9");
  CHECK_THROWS_WITH_TEXT(make({"multi-formation", 1, {{"factor", "2"}, {"type", "sngle"}}}),
                         ConfigError, "unknown multi-formation type 'sngle'");
  CHECK_THROWS_WITH_TEXT(single(2)->pack(random_images(6, 1, 4, 4)), ConfigError,
                         "4 real images go into each stored one, found 6");
  CHECK_THROWS_WITH_TEXT(single(2)->pack(random_images(3, 1, 4, 4)), ConfigError, "found 3");
  CHECK_THROWS_WITH_TEXT(single(2, 3)->decode(random_images(1, 1, 5, 5)), ConfigError,
                         "padding value: expected shape [1], found [3]");
}

TEST_CASE("wrong stored images are answered with what is wrong", "[synth][errors]") {
  const auto make = [](const Tensor& x, std::int64_t classes) {
    return Parametrization(x, classes, synth::make_pixels());
  };
  CHECK_THROWS_WITH_TEXT(make(random_images(5, 1, 4, 4), 2), ConfigError,
                         "a multiple of 2 classes, found 5 images");
  CHECK_THROWS_WITH_TEXT(make(random_images(1, 1, 4, 4), 2), ConfigError, "found 1 images");
  CHECK_THROWS_WITH_TEXT(make(random_images(4, 1, 4, 4)[0], 2), ConfigError,
                         "stored images: expected shape [*, *, *, *], found [1, 4, 4]");
  CHECK_THROWS_WITH_TEXT(make(at::zeros({4, 1, 4, 4}, at::kByte), 2), ConfigError,
                         "expected floating point");
}
