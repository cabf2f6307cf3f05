#include "methods/decoupled/rded.h"

#include <filesystem>

#include "lib/core/error.h"
#include "lib/data/pixels.h"
#include "lib/storage/teacher_file.h"
#include "tests/methods/small.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

using namespace retort;
using namespace retort::methods;
using testing::shapes;
using testing::small_committee;
using testing::small_method;

namespace {

RunContext context(std::int64_t ipc) { return {.dataset = shapes(), .ipc = ipc, .rng = Rng(1)}; }

std::unique_ptr<DistillationMethod> rded(
    const std::vector<std::pair<std::string, std::string>>& more = {}) {
  return small_method("rded", "1", more);
}

}  // namespace

TEST_CASE("rded gives images that are stored as bytes, with the classes of their crops",
          "[methods][decoupled][rded]") {
  auto method = rded({{"crops", "5"}});
  RunContext run = context(3);
  method->initialize(run);
  method->update(0);
  const auto set = method->snapshot();
  CHECK(set.from_bytes);
  CHECK_NOTHROW(data::exact_bytes(shapes().preprocessing(), set.images));
  CHECK(data::hard_classes(set.labels).equal(set.class_index));
  const auto committee = train::load_committee(small_committee(), {"0"}, shapes());
  const auto logits = committee[0].network->forward(committee[0].state, set.images).logits;
  // The crop of 5 that its teacher likes best.
  CHECK(logits.argmax(1).eq(set.class_index).to(at::kFloat).mean().item<float>() > 0.9);
}

TEST_CASE("a set of rded says which network chose its crops", "[methods][decoupled][rded]") {
  auto method = rded();
  CHECK(method->assets().empty());
  RunContext run = context(1);
  method->initialize(run);
  const auto assets = method->assets();
  REQUIRE(assets.size() == 1);
  CHECK(assets[0].role == "teachers");
  CHECK(assets[0].note == "ConvNet-2-BN-w8");
  CHECK(assets[0].count == 1);
}

TEST_CASE("rded asks one network, and says how to make or to name it",
          "[methods][decoupled][rded]") {
  RunContext run = context(1);
  const auto check = [&](const std::vector<std::pair<std::string, std::string>>& more,
                         const std::string& text) {
    CHECK_THROWS_WITH_TEXT(rded(more)->check(run), ConfigError, text);
  };
  CHECK_THROWS_WITH_TEXT(
      rded({{"teachers", ""}, {"teacher-names", ""}})->initialize(run), ConfigError,
      "retort teachers --recipe sgd --nets ConvNet-3-BN --dataset shapes --out teachers.h5");
  check({{"teachers", "none.h5"}}, "there is no file 'none.h5'");
  check({{"teacher-names", "R18m"}}, "has no teacher 'R18m'");
  check({{"crop-offset", "9"}, {"mosaic", "1"}, {"crop-images", "9"}},
        "crop-images 9: 10 are needed");
  const testing::TemporaryFolder folder("retort-two-teachers");
  const storage::TeacherReader one(small_committee());
  const auto two = folder.path() / "two.h5";
  storage::write_teachers(two, one.data(), {one.teacher(0), one.teacher(0)});
  check({{"teachers", two.string()}, {"teacher-names", ""}},
        "offers 0 (ConvNet-2-BN-w8), 1 (ConvNet-2-BN-w8); name one");
  CHECK_NOTHROW(rded({{"teachers", two.string()}, {"teacher-names", "1"}})->check(run));
}

TEST_CASE("rded does not go on with another network than it began with",
          "[methods][decoupled][rded]") {
  auto method = rded();
  RunContext run = context(1);
  method->initialize(run);
  storage::StateWriter state;
  method->save_state(state);
  const testing::TemporaryFolder folder("retort-other-teacher");
  const storage::TeacherReader one(small_committee());
  storage::Teacher other = one.teacher(0);
  other.parameters[0].value = other.parameters[0].value * 2;
  const auto file = folder.path() / "other.h5";
  storage::write_teachers(file, one.data(), {other});
  CHECK_THROWS_WITH_TEXT(
      rded({{"teachers", file.string()}})->load_state(run, storage::StateReader(state)),
      ConfigError, "this run began with others, SHA-256 ");
}

TEST_CASE("rded goes on with the classes that it had finished",
          "[methods][decoupled][rded][resume]") {
  struct Impatient : ProgressSink {
    void update(const Progress& progress) override {
      if (progress.done == 2) stop.request();
    }
    StopFlag stop;
  };
  const auto whole = rded();
  RunContext run = context(2);
  whole->initialize(run);
  whole->update(0);

  const auto stopped = rded();
  Impatient soon;
  RunContext watched = context(2);
  watched.stop = &soon.stop;
  watched.progress = &soon;
  stopped->initialize(watched);
  CHECK_THROWS_AS(stopped->update(0), Interrupted);
  storage::StateWriter state;
  stopped->save_state(state);
  const storage::StateReader saved(state);
  CHECK((saved.has("classes/0") && saved.has("classes/1") && !saved.has("classes/3")));

  const auto resumed = rded();
  resumed->load_state(run, saved);
  resumed->update(0);
  CHECK(at::equal(resumed->snapshot().images, whole->snapshot().images));

  state.integer("finished-classes", 4);
  CHECK_THROWS_WITH_TEXT(rded()->load_state(run, storage::StateReader(state)), StorageError,
                         "expected images of 4 finished classes, found ");
}

TEST_CASE("the cost of rded is that of looking at its crops", "[methods][decoupled][rded]") {
  const RunContext run = context(1);
  const auto flops = [&](const std::string& images, const std::string& crops) {
    const Work work = rded({{"crop-images", images}, {"crops", crops}})->work(run);
    return work.per_iteration.fused + work.per_iteration.layered + work.per_iteration.plain;
  };
  CHECK(flops("10", "5") > 0);
  CHECK(flops("20", "10") == Approx(4 * flops("10", "5")));
  CHECK(flops("200", "5") == flops("100", "5"));  // shapes has 100 images of a class
  // A preset names the network and no file.
  CHECK(rded({{"teachers", ""}, {"teacher-names", "ConvNet-2-BN-w8"}})->work(run).memory_bytes > 0);
}
