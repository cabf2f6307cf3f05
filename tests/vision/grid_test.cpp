#include "lib/core/error.h"
#include "lib/vision/ascii.h"
#include "lib/vision/vision.h"
#include "tests/support/catch.h"

using namespace retort;
using vision::GridRow;
using vision::image_grid;

namespace {

// How many pixels of the grid have exactly this colour.
std::int64_t count(const Tensor& grid, int red, int green, int blue) {
  return (grid[0].eq(red) & grid[1].eq(green) & grid[2].eq(blue)).sum().item<std::int64_t>();
}

Tensor plain(std::int64_t n, int red, int green, int blue, std::int64_t height = 8,
             std::int64_t width = 8) {
  return at::tensor({red, green, blue}, at::kByte).view({1, 3, 1, 1}).repeat({n, 1, height, width});
}

}  // namespace

TEST_CASE("a grid shows every image enlarged by a whole factor on white", "[vision][grid]") {
  const Tensor grid = image_grid({{"", plain(3, 200, 10, 30)}, {"", plain(1, 5, 100, 7)}});
  CHECK(grid.scalar_type() == at::kByte);
  CHECK(grid.size(0) == 3);
  CHECK(count(grid, 200, 10, 30) == 3 * 64 * 64);
  CHECK(count(grid, 5, 100, 7) == 64 * 64);
  CHECK(grid.select(1, 0).min().item<int>() == 255);
}

TEST_CASE("the cell size, the title, labels and groups take their room", "[vision][grid]") {
  const std::vector<GridRow> rows = {{"first", plain(4, 9, 8, 7, 4, 8)}};
  const Tensor small = image_grid(rows, {.cell = 16});
  CHECK(count(small, 9, 8, 7) == 4 * 16 * 8);
  const Tensor titled = image_grid(rows, {.cell = 16, .title = "a title"});
  CHECK(titled.size(1) > small.size(1));
  CHECK(titled.lt(100).sum().item<std::int64_t>() > small.lt(100).sum().item<std::int64_t>());
  const Tensor grouped = image_grid(rows, {.cell = 16, .column_groups = {"real", "new"}});
  CHECK(grouped.size(2) > small.size(2));
  CHECK(grouped.size(1) > small.size(1));
  CHECK(count(grouped, 9, 8, 7) == 4 * 16 * 8);
  const Tensor unlabelled = image_grid({{"", rows[0].images}}, {.cell = 16});
  CHECK(unlabelled.size(2) < small.size(2));
}

TEST_CASE("long, foreign and empty labels are all drawn", "[vision][grid]") {
  const Tensor one = plain(1, 1, 2, 3);
  const auto width = [&](const std::string& label) { return image_grid({{label, one}}).size(2); };
  CHECK(width(std::string(300, 'w')) < 350);
  CHECK(width("\xC3\xA9t\xC3\xA9") == width("ete"));
  CHECK(image_grid({{"none", plain(0, 0, 0, 0)}, {"one", one}}).size(0) == 3);
}

TEST_CASE("labels lose their accents, and other scripts are drawn as question marks",
          "[vision][grid]") {
  using vision::ascii_text;
  CHECK(ascii_text("plain, 3_x") == "plain, 3_x");
  CHECK(ascii_text("Stra\xC3\x9F"
                   "e, \xC5\x92uvre, na\xC3\xAFve, \xC5\xBD") == "Strasse, OEuvre, naive, Z");
  CHECK(ascii_text("\xC3\x80\xC5\xBF") == "As");  // the ends of the table
  CHECK(ascii_text("\xE7\x8C\xAB\xF0\x9F\x90\xB1\xC2\xA9\xC6\x80") == "????");
  CHECK(ascii_text("a\nb\x7F\xC3") == "a?b??");
}

TEST_CASE("gray images are drawn in gray", "[vision][grid]") {
  const Tensor grid = image_grid({{"", at::full({2, 1, 16, 16}, 90, at::kByte)}});
  CHECK(count(grid, 90, 90, 90) == 2 * 64 * 64);
}

TEST_CASE("a grid of images that do not fit together is refused", "[vision][grid]") {
  CHECK_THROWS_WITH_TEXT(image_grid({}), ConfigError, "has no rows");
  CHECK_THROWS_WITH_TEXT(image_grid({{"a", plain(1, 0, 0, 0)}, {"b", plain(1, 0, 0, 0, 4, 4)}}),
                         ConfigError, "row 'b': expected images like those of the first row");
  CHECK_THROWS_WITH_TEXT(image_grid({{"a", at::zeros({1, 3, 4, 4})}}), ConfigError,
                         "expected uint8 [n,C,H,W]");
  CHECK_THROWS_WITH_TEXT(image_grid({{"a", plain(3, 0, 0, 0)}}, {.column_groups = {"x", "y"}}),
                         ConfigError, "3 columns cannot be divided into 2 equal groups");
  CHECK_THROWS_WITH_TEXT(image_grid({{"a", plain(3, 0, 0, 0)}}, {.cell = -1}), ConfigError,
                         "below 0");
}

TEST_CASE("the first image of every row of a grid is found again", "[vision][grid]") {
  for (const std::int64_t side : {8, 24, 28, 64, 80}) {
    INFO("images of " << side << " pixels");
    const Tensor a = at::arange(3 * 3 * side * side, at::kLong).remainder(251).to(at::kByte);
    const Tensor images = a.view({3, 3, side, side});
    const Tensor picture = image_grid({{"one", images}, {"a long label", images.flip(0)}});
    const auto found = vision::first_images_of_grid(picture, 2, 3, side, side);
    REQUIRE(found);
    CHECK(at::equal((*found)[0], images[0]));
    CHECK(at::equal((*found)[1], images[2]));
    CHECK_FALSE(vision::first_images_of_grid(picture, 3, 3, side, side));
    CHECK_FALSE(vision::first_images_of_grid(picture, 2, 30, side, side));
    CHECK_FALSE(vision::first_images_of_grid(picture, 0, 3, side, side));
  }
  const Tensor gray = at::arange(16 * 12, at::kByte).view({1, 1, 16, 12});
  const auto found = vision::first_images_of_grid(image_grid({{"", gray}}, {}), 1, 1, 16, 12);
  REQUIRE(found);
  CHECK(at::equal((*found)[0], gray[0].expand({3, 16, 12})));
}
