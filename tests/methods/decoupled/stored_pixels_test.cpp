#include "methods/decoupled/stored_pixels.h"

#include "lib/data/pixels.h"
#include "lib/vision/vision.h"
#include "tests/methods/small.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::methods;
using testing::shapes;
using testing::small_method;

namespace {

/// Bytes of the set after one update.
Tensor stored(const std::string& name, const std::string& store) {
  const auto method = small_method(name, "1", {{"store", store}});
  RunContext run{.dataset = shapes(), .ipc = 2, .rng = Rng(3)};
  method->initialize(run);
  method->update(0);
  const auto set = method->snapshot();
  CHECK(set.from_bytes);
  return data::exact_bytes(shapes().preprocessing(), set.images);
}

}  // namespace

TEST_CASE("a set is stored as it is, or as JPEG files give it back", "[methods][decoupled]") {
  for (const std::string name : {"sre2l", "cda", "rded"}) {
    INFO(name);
    const Tensor lossless = stored(name, "lossless");
    const Tensor jpeg = stored(name, "jpeg75");
    CHECK_FALSE(at::equal(jpeg, lossless));
    for (std::int64_t i = 0; i < lossless.size(0); ++i) {
      const auto file = vision::encode_jpeg(lossless[i], 75);
      CHECK(at::equal(vision::decode_image(file, "test"), jpeg[i]));
    }
  }
}

TEST_CASE("compensators have no JPEG to be stored as", "[methods][decoupled]") {
  CHECK_FALSE(find_method("infer").factory()->options().contains("store"));
}
