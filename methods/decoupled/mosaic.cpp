#include "methods/decoupled/mosaic.h"

#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"

namespace retort::methods::decoupled {
namespace {

std::int64_t cell_size(std::int64_t cell, std::int64_t factor, std::int64_t size) {
  return size / factor + (cell < size % factor ? 1 : 0);
}

}  // namespace

Tensor centered_in_zeros(const Tensor& images, std::int64_t size) {
  expect_shape(images, {-1, -1, -1, -1}, "crops");
  const std::int64_t down = size - images.size(2);
  const std::int64_t across = size - images.size(3);
  if (down < 0 || across < 0) {
    throw ConfigError(str("crops: expected at most ", size, " x ", size, " pixels, found shape ",
                          shape_text(images)));
  }
  return at::constant_pad_nd(images, {across / 2, across - across / 2, down / 2, down - down / 2});
}

Tensor realism_losses(const Tensor& logits, std::int64_t label) {
  return logits.softmax(1).select(1, label).log().neg();
}

RankedCrops rank_crops(const Tensor& losses, std::int64_t count, std::int64_t offset) {
  expect_shape(losses, {-1, -1}, "losses of crops");
  const std::int64_t images = losses.size(0);
  if (offset < 0 || count < 1 || count > images - offset) {
    throw ConfigError(
        str("crops: expected 1 .. ", images - offset, ", one per image, found a wish for ", count));
  }
  const auto [lowest, best] = losses.min(1);
  const Tensor order = std::get<1>(lowest.sort(/*stable=*/true, 0, /*descending=*/false));
  const Tensor image = order.slice(0, offset, offset + count);
  return {.image = image, .crop = best.index_select(0, image)};
}

Tensor make_mosaics(const Tensor& crops, std::int64_t factor, std::int64_t size) {
  expect_shape(crops, {-1, -1, -1, -1}, "crops");
  const std::int64_t cells = factor * factor;
  if (factor < 1 || factor > size || crops.size(0) == 0 || crops.size(0) % cells != 0) {
    throw ConfigError(str("mosaics: expected a factor in 1 .. ", size, " and ", cells,
                          " crops for each, found factor ", factor, " and ", crops.size(0),
                          " crops"));
  }
  const std::int64_t ipc = crops.size(0) / cells;
  Tensors rows;
  for (std::int64_t row = 0; row < factor; ++row) {
    Tensors row_cells;
    for (std::int64_t col = 0; col < factor; ++col) {
      const Tensor of_cell = crops.narrow(0, (row * factor + col) * ipc, ipc);
      row_cells.push_back(at::upsample_nearest2d(
          of_cell, {cell_size(row, factor, size), cell_size(col, factor, size)}));
    }
    rows.push_back(at::cat(row_cells, 3));
  }
  return at::cat(rows, 2);
}

}  // namespace retort::methods::decoupled
