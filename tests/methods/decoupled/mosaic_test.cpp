#include "methods/decoupled/mosaic.h"

#include "lib/core/error.h"
#include "lib/core/rng.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::methods;

TEST_CASE("ranked crops are the best of their image, the best image first",
          "[methods][decoupled]") {
  const Tensor losses = Rng(4).uniform_tensor({30, 5});
  const auto ranked = decoupled::rank_crops(losses, 12);
  REQUIRE(ranked.image.numel() == 12);
  const Tensor chosen = losses.index({ranked.image, ranked.crop});
  CHECK(chosen.diff().ge(0).all().item<bool>());
  CHECK(chosen.equal(losses.amin(1).index_select(0, ranked.image)));
  // Nothing that was left out is better.
  CHECK(losses.amin(1).le(chosen[11]).sum().item<std::int64_t>() == 12);
  CHECK_THROWS_WITH_TEXT(decoupled::rank_crops(losses, 31), ConfigError,
                         "expected 1 .. 30, one per image, found a wish for 31");
}

TEST_CASE("the loss of a crop is the cross-entropy of its class", "[methods][decoupled]") {
  const Tensor logits = Rng(5).normal_tensor({6, 4}).to(at::kDouble);
  CHECK_CLOSE(decoupled::realism_losses(logits, 2), -logits.log_softmax(1).select(1, 2), 1e-12);
}

TEST_CASE("cell k of mosaic q holds crop k * ipc + q", "[methods][decoupled]") {
  constexpr std::int64_t kIpc = 3;
  for (const std::int64_t factor : {1, 2, 3}) {
    const std::int64_t side = 4;
    const Tensor crops =
        Rng(6).child(factor).normal_tensor({kIpc * factor * factor, 2, side, side});
    const Tensor mosaics = decoupled::make_mosaics(crops, factor, factor * side);
    REQUIRE(mosaics.size(0) == kIpc);
    for (std::int64_t q = 0; q < kIpc; ++q) {
      for (std::int64_t k = 0; k < factor * factor; ++k) {
        const Tensor cell =
            mosaics[q].narrow(1, k / factor * side, side).narrow(2, k % factor * side, side);
        CHECK(cell.equal(crops[k * kIpc + q]));
      }
    }
    if (factor == 1) CHECK(mosaics.equal(crops));
  }
}

TEST_CASE("cells that do not divide the image evenly are larger at its beginning",
          "[methods][decoupled]") {
  const Tensor crops = at::arange(9, at::kFloat).view({9, 1, 1, 1});
  const Tensor mosaic = decoupled::make_mosaics(crops, 3, 8)[0][0];
  CHECK(mosaic.select(0, 0).equal(at::tensor({0, 0, 0, 1, 1, 1, 2, 2}, at::kFloat)));
  CHECK(mosaic.select(1, 0).equal(at::tensor({0, 0, 0, 3, 3, 3, 6, 6}, at::kFloat)));
  CHECK_THROWS_WITH_TEXT(decoupled::make_mosaics(crops, 2, 8), ConfigError,
                         "4 crops for each, found factor 2 and 9 crops");
  CHECK_THROWS_WITH_TEXT(decoupled::make_mosaics(crops, 3, 2), ConfigError,
                         "expected a factor in 1 .. 2");
}

TEST_CASE("crops are put in the middle of zeros", "[methods][decoupled]") {
  const Tensor crops = at::ones({2, 3, 2, 3});
  const Tensor padded = decoupled::centered_in_zeros(crops, 6);
  CHECK(padded.sizes() == at::IntArrayRef({2, 3, 6, 6}));
  CHECK(padded.narrow(2, 2, 2).narrow(3, 1, 3).equal(crops));
  CHECK(padded.sum().item<double>() == 36);
  CHECK(decoupled::centered_in_zeros(crops.narrow(3, 0, 2), 2).equal(crops.narrow(3, 0, 2)));
  CHECK_THROWS_WITH_TEXT(decoupled::centered_in_zeros(crops, 2), ConfigError,
                         "expected at most 2 x 2 pixels, found shape [2, 3, 2, 3]");
}
