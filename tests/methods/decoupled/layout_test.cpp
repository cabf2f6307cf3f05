#include "methods/decoupled/layout.h"

#include "tests/support/catch.h"

using namespace retort;
using namespace retort::methods::decoupled;

namespace {

std::vector<std::int64_t> integers(const Tensor& values) {
  const auto* begin = values.const_data_ptr<std::int64_t>();
  return {begin, begin + values.numel()};
}

using Numbers = std::vector<std::int64_t>;

/// That every image of a set is in one batch, with its class.
void check_covers(const std::vector<Batch>& batches, std::int64_t classes, std::int64_t ipc) {
  Tensors images;
  for (const Batch& batch : batches) {
    images.push_back(batch.images);
    CHECK(at::equal(batch.images.div(ipc, "floor"), batch.classes));
  }
  CHECK(at::equal(std::get<0>(at::cat(images).sort()), at::arange(classes * ipc)));
}

}  // namespace

TEST_CASE("a batch across classes has one image of each of consecutive classes",
          "[methods][decoupled]") {
  const auto batches = across_classes(5, 3, 2);
  CHECK(batches.size() == 9);
  check_covers(batches, 5, 3);
  CHECK(integers(batches[0].images) == Numbers{0, 3});
  CHECK(integers(batches[2].images) == Numbers{12});
  CHECK(integers(batches[4].images) == Numbers{7, 10});
  CHECK(integers(batches[4].classes) == Numbers{2, 3});
  CHECK(batches[4].group == 1);
  CHECK(batches[4].part == 1);
  CHECK(across_classes(5, 3, 100).size() == 3);
}

TEST_CASE("a batch within a class has images of that class alone", "[methods][decoupled]") {
  const auto batches = within_classes(2, 5, 3);
  CHECK(batches.size() == 4);
  check_covers(batches, 2, 5);
  CHECK(integers(batches[1].images) == Numbers{3, 4});
  CHECK(integers(batches[2].classes) == Numbers{1, 1, 1});
  CHECK(batches[3].group == 1);
  CHECK(batches[3].part == 1);
}

TEST_CASE("compensators have a batch of every class for each teacher and place",
          "[methods][decoupled]") {
  const auto batches = for_compensators(3, 2, 4);
  CHECK(batches.size() == 8);
  CHECK(integers(batches[5].images) == Numbers{1, 3, 5});
  CHECK(integers(batches[5].classes) == Numbers{0, 1, 2});
  CHECK(batches[5].group == 2);
  CHECK(batches[5].part == 1);
}

TEST_CASE("what is drawn for a batch does not depend on how many others there are",
          "[methods][decoupled]") {
  const Rng rng(7);
  const auto few = across_classes(4, 1, 2);
  const auto many = across_classes(4, 6, 2);
  for (std::size_t i = 0; i < few.size(); ++i) {
    CHECK(few[i].stream(rng).bits() == many[i].stream(rng).bits());
  }
  CHECK(many[0].stream(rng).bits() != many[1].stream(rng).bits());
  CHECK(many[0].stream(rng).bits() != many[2].stream(rng).bits());
}
