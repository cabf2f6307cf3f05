// CDA/recover_cda_tiny.py (VILA-Lab/SRe2L), synthesize/utils.py (LINs-lab/RDED).

#include "methods/decoupled/curriculum.h"
#include "methods/decoupled/mosaic.h"
#include "methods/decoupled/real_crops.h"
#include "tests/golden/golden.h"
#include "tests/support/catch.h"

namespace retort::testing::golden {
namespace {

namespace decoupled = methods::decoupled;

/// Losses [images,crops] of all crops by the stored network, each in the middle of zeros.
Tensor losses_of_crops(const GoldenFile& file, const Tensor& crops, at::ScalarType dtype) {
  const std::int64_t size = file.integer("", "size");
  const auto network = make_stored_convnet(file, "", "net", {crops.size(2), size, size});
  return decoupled::crop_losses(*network, read_network(file, "net", dtype), crops,
                                file.integer("", "label"), size);
}

void check_selection(const GoldenFile& file, const Precision& precision) {
  INFO(precision.name);
  const Tensor crops = file.tensor("inputs/crops", precision.dtype);
  const Tensor losses = losses_of_crops(file, crops, precision.dtype);
  CHECK_CLOSE(losses, file.tensor("outputs/ce", precision.dtype), precision.tolerance);
  const auto all = decoupled::rank_crops(losses, crops.size(0));
  CHECK(at::equal(file.stored("outputs/best_crop").index_select(0, all.image), all.crop));
  const Tensor selected = file.stored("outputs/selected_image");
  const auto ranked = decoupled::rank_crops(losses, selected.numel());
  CHECK(at::equal(ranked.image, selected));
  CHECK(at::equal(ranked.crop, file.stored("outputs/selected_crop")));
  const Tensor chosen = crops.index({ranked.image, ranked.crop});
  CHECK(at::equal(
      decoupled::make_mosaics(chosen, file.integer("", "factor"), file.integer("", "size")),
      file.tensor("outputs/mosaic", precision.dtype)));
}

void check_odd_mosaic(const GoldenFile& file, const Precision& precision) {
  const Tensor mosaic =
      decoupled::make_mosaics(file.tensor("odd/input", precision.dtype),
                              file.integer("odd", "factor"), file.integer("odd", "size"));
  CHECK(at::equal(mosaic, file.tensor("odd/mosaic", precision.dtype)));
}

}  // namespace

void check_cda_schedule(const GoldenFile& file) {
  const auto tables = file.children("table");
  REQUIRE_FALSE(tables.empty());
  for (const std::string& name : tables) {
    const std::string path = "table/" + name;
    const std::int64_t iterations = file.integer(path, "iterations");
    decoupled::Curriculum curriculum;
    curriculum.course = decoupled::Curriculum::course_of(file.text(path, "mode"));
    curriculum.milestone = file.number_or(path, "milestone", 0);
    const Tensor table = file.stored(path);
    std::vector<double> areas;
    for (std::int64_t i = 0; i < table.size(0); ++i) {
      areas.push_back(
          curriculum.smallest_area(std::int64_t(table[i][0].item<double>()), iterations));
    }
    INFO(path);
    CHECK_CLOSE(at::tensor(areas, at::kDouble), table.select(1, 1), 1e-12);
  }
}

void check_rded(const GoldenFile& file) {
  for (const auto& precision : precisions()) {
    check_selection(file, precision);
    if (file.has("odd")) check_odd_mosaic(file, precision);
  }
}

}  // namespace retort::testing::golden
