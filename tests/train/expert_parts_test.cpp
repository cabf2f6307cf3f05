#include "lib/train/expert_parts.h"

#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/train/experts.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"
#include "tests/train/separable.h"

using namespace retort;
using namespace retort::testing;
using Numbers = std::vector<std::int64_t>;
using train::ClaimedExpert;
using train::ExpertParts;
namespace fs = std::filesystem;

namespace {

/// A folder for a file of small experts.
class Run {
 public:
  Run() : folder_("retort-expert-parts") { recipe_.epochs = 1; }

  fs::path out() const { return folder_.path() / "experts.h5"; }
  fs::path parts_folder() const { return folder_.path() / "experts.h5.parts"; }
  const fs::path& folder() const { return folder_.path(); }

  /// @param options as a command would record them
  ExpertParts parts(const std::string& options = "seed = 7\n") const {
    storage::ExpertInfo info = train::expert_info(recipe_, *network_, dataset_);
    info.options = options;
    return {out(), std::move(info), 7};
  }
  void finish(ClaimedExpert& claimed) const {
    train::train_expert(*network_, dataset_, recipe_, claimed.part, {});
    storage::write_part(claimed.path, claimed.part);
  }
  /// Claims and finishes up to `count` experts.
  void make(ExpertParts& parts, std::int64_t count) const {
    for (std::int64_t i = 0; i < count; ++i) {
      auto claimed = parts.claim();
      REQUIRE(claimed);
      finish(*claimed);
    }
  }
  /// The file with as many experts, made from the start.
  void make_file(std::int64_t count) const {
    auto all = parts();
    all.plan(count, false);
    make(all, count);
    REQUIRE(all.finish().done());
  }
  std::int64_t in_file() const { return storage::ExpertReader(out()).experts(); }

 private:
  TemporaryFolder folder_;
  data::ImageDataset dataset_ = separable_dataset(4, 1);
  std::unique_ptr<nn::Network> network_ = nn::make_network(kTinyNet, dataset_.shape(), 3);
  train::ExpertRecipe recipe_;
};

}  // namespace

TEST_CASE("the experts of a plan become a file and the folder goes", "[train][experts]") {
  const Run run;
  CHECK_FALSE(ExpertParts::under_way(run.out()));
  auto parts = run.parts();
  parts.plan(2, false);
  CHECK(ExpertParts::under_way(run.out()));
  CHECK(parts.numbers() == Numbers{0, 1});
  run.make(parts, 1);
  CHECK(parts.unfinished() == Numbers{1});
  const auto early = parts.finish();
  CHECK(early.merged == 0);
  CHECK(early.unfinished == Numbers{1});
  CHECK_FALSE(fs::exists(run.out()));
  run.make(parts, 1);
  CHECK_FALSE(parts.claim());
  const auto end = parts.finish();
  CHECK(end.merged == 2);
  CHECK(end.done());
  CHECK_FALSE(fs::exists(run.parts_folder()));
  const storage::ExpertReader file(run.out());
  REQUIRE(file.experts() == 2);
  CHECK(file.seeds(0) == train::expert_seeds(7, 0));
  CHECK(file.seeds(1) == train::expert_seeds(7, 1));
}

TEST_CASE("two that work on one plan get different experts", "[train][experts]") {
  const Run run;
  auto one = run.parts();
  auto other = run.parts();
  one.plan(3, false);
  other.plan(3, false);
  auto first = one.claim();
  auto second = other.claim();
  auto third = one.claim();
  REQUIRE(first);
  REQUIRE(second);
  REQUIRE(third);
  CHECK(first->part.number == 0);
  CHECK(second->part.number == 1);
  CHECK(third->part.number == 2);
  CHECK_FALSE(other.claim());
  run.finish(*first);
  run.finish(*third);
  // The second is dropped, as by a process that dies.
  second.reset();
  CHECK_FALSE(one.finish().done());
  auto again = one.claim();
  REQUIRE(again);
  CHECK(again->part.number == 1);
  run.finish(*again);
  CHECK(one.finish().merged == 3);
  CHECK(other.finish().done());
  CHECK(run.in_file() == 3);
  CHECK_FALSE(fs::exists(run.parts_folder()));
}

TEST_CASE("an existing file is added to on demand, with the next numbers", "[train][experts]") {
  const Run run;
  run.make_file(2);
  CHECK_THROWS_WITH_TEXT(ExpertParts::expect_new(run.out(), false), ConfigError,
                         "exists; --add makes more experts for it");
  auto refused = run.parts();
  CHECK_THROWS_WITH_TEXT(refused.plan(1, false), ConfigError, "--add");
  CHECK_FALSE(fs::exists(run.parts_folder()));
  auto more = run.parts();
  more.plan(2, true);
  CHECK(more.numbers() == Numbers{2, 3});
  run.make(more, 2);
  CHECK(more.finish().merged == 2);
  CHECK(run.in_file() == 4);
  CHECK(storage::ExpertReader(run.out()).seeds(3) == train::expert_seeds(7, 3));
}

TEST_CASE("a kill between merging and tidying up makes no expert twice", "[train][experts]") {
  const Run run;
  auto parts = run.parts();
  parts.plan(2, false);
  run.make(parts, 2);
  const fs::path copy = run.folder() / "copy";
  fs::copy(run.parts_folder(), copy);
  REQUIRE(parts.finish().done());
  fs::remove_all(run.parts_folder());
  fs::copy(copy, run.parts_folder());

  auto again = run.parts();
  again.plan(2, true);
  CHECK(again.numbers() == Numbers{0, 1});
  CHECK(again.unfinished().empty());
  CHECK_FALSE(again.claim());
  CHECK(again.finish().done());
  CHECK(run.in_file() == 2);
  CHECK_FALSE(fs::exists(run.parts_folder()));
}

TEST_CASE("complete parts can be merged while others run", "[train][experts]") {
  const Run run;
  CHECK_THROWS_WITH_TEXT(ExpertParts::merge_complete(run.out()), ConfigError,
                         "there is no complete part");
  auto parts = run.parts();
  parts.plan(3, false);
  run.make(parts, 1);
  auto running = parts.claim();
  REQUIRE(running);
  storage::ExpertPart begun = running->part;
  begun.snapshots = {
      at::zeros({storage::ExpertReader(storage::part_path(run.out(), 0)).parameters()})};
  begun.log.resize(1);
  storage::write_part(running->path, begun);
  const auto merged = ExpertParts::merge_complete(run.out());
  CHECK(merged.merged == 1);
  CHECK(merged.unfinished == Numbers{1, 2});
  CHECK(run.in_file() == 1);
  CHECK(ExpertParts::under_way(run.out()));
  CHECK_THROWS_WITH_TEXT(ExpertParts::merge_complete(run.out()), ConfigError, ", only 1 begun");
  // Whoever trains the others goes on as if nothing had happened.
  run.finish(*running);
  run.make(parts, 1);
  CHECK_FALSE(parts.claim());
  CHECK(parts.finish().merged == 2);
  CHECK(run.in_file() == 3);
}

TEST_CASE("a plan may grow but not shrink, and keeps its settings", "[train][experts]") {
  const Run run;
  auto parts = run.parts();
  parts.plan(2, false);
  run.make(parts, 1);
  auto larger = run.parts();
  larger.plan(3, false);
  CHECK(larger.numbers() == Numbers{0, 1, 2});
  auto smaller = run.parts();
  CHECK_THROWS_WITH_TEXT(smaller.plan(1, false), ConfigError,
                         "expected --count 3 or more, as planned there, found 1");
  auto other = run.parts("seed = 8\n");
  CHECK_THROWS_WITH_TEXT(other.plan(3, false), ConfigError, "(theirs / yours): seed: 7 / 8");
  run.make(larger, 2);
  // What the first does not know of is not finished without the plan.
  CHECK(parts.finish().done());
  CHECK_FALSE(ExpertParts::under_way(run.out()));
  CHECK(run.in_file() == 3);
  CHECK_THROWS_WITH_TEXT(other.plan(1, true), ConfigError, "(theirs / yours): seed: 7 / 8");
}

namespace {

/// In the file, finished, missing.
Numbers stock(const Run& run, std::int64_t total) {
  const ExpertParts::Stock found = ExpertParts::stock(run.out(), 7, total);
  return {found.in_file, found.finished, found.missing};
}

}  // namespace

TEST_CASE("of a larger plan only what is lacking is made, and the rest is left to others",
          "[train][experts]") {
  const Run run;
  CHECK(stock(run, 2) == Numbers{0, 0, 2});
  CHECK_FALSE(fs::exists(run.parts_folder()));
  auto larger = run.parts();
  larger.plan(4, false);
  run.make(larger, 1);
  CHECK(stock(run, 2) == Numbers{0, 1, 1});
  auto two = run.parts();
  two.plan_up_to(2);
  CHECK(two.numbers() == Numbers{0, 1});
  CHECK(two.unfinished() == Numbers{1});
  CHECK_FALSE(two.finish_mine().done());
  run.make(two, 1);
  CHECK_FALSE(two.claim());
  const auto merged = two.finish_mine();
  CHECK(merged.done());
  CHECK(merged.merged == 2);
  CHECK(run.in_file() == 2);
  CHECK(ExpertParts::under_way(run.out()));
  // Whoever planned four goes on as if nothing had happened.
  CHECK(larger.unfinished() == Numbers{2, 3});
  run.make(larger, 2);
  CHECK(larger.finish().merged == 2);
  CHECK(run.in_file() == 4);
  CHECK_FALSE(fs::exists(run.parts_folder()));
}

TEST_CASE("finished parts of an unfinished plan count, and nothing is made for them",
          "[train][experts]") {
  const Run run;
  auto larger = run.parts();
  larger.plan(5, false);
  run.make(larger, 3);
  CHECK(stock(run, 2) == Numbers{0, 2, 0});
  auto two = run.parts();
  two.plan_up_to(2);
  CHECK_FALSE(two.claim());
  CHECK(two.finish_mine().merged == 2);
  CHECK(run.in_file() == 2);
  CHECK(stock(run, 2) == Numbers{2, 0, 0});
  CHECK(stock(run, 4) == Numbers{2, 1, 1});
  // The file has them in the order of their numbers, whatever was asked for before.
  auto four = run.parts();
  four.plan_up_to(4);
  CHECK(four.numbers() == Numbers{2, 3});
  run.make(four, 1);
  CHECK(four.finish_mine().merged == 2);
  const storage::ExpertReader file(run.out());
  REQUIRE(file.experts() == 4);
  for (std::int64_t n = 0; n < 4; ++n) CHECK(file.seeds(n) == train::expert_seeds(7, n));
  CHECK(ExpertParts::under_way(run.out()));
}

TEST_CASE("a plan for a run grows with it and goes when all of it is made", "[train][experts]") {
  const Run run;
  auto one = run.parts();
  one.plan_up_to(1);
  auto three = run.parts();
  three.plan_up_to(3);
  CHECK(three.numbers() == Numbers{0, 1, 2});
  run.make(three, 3);
  CHECK(one.finish_mine().merged == 3);  // all are finished: nothing is left behind
  CHECK(three.finish_mine().done());
  CHECK_FALSE(fs::exists(run.parts_folder()));
  auto none = run.parts();
  none.plan_up_to(2);
  CHECK(none.numbers().empty());
  CHECK(none.finish_mine().done());
  CHECK_FALSE(fs::exists(run.parts_folder()));
  auto other = run.parts("seed = 8\n");
  CHECK_THROWS_WITH_TEXT(other.plan_up_to(4), ConfigError, "(theirs / yours): seed: 7 / 8");
  CHECK_FALSE(fs::exists(run.parts_folder()));
}

TEST_CASE("what killed writes left of a part goes with the next claim", "[train][experts]") {
  const Run run;
  auto parts = run.parts();
  parts.plan(1, false);
  const fs::path half = run.parts_folder() / "expert-0.h5.tmp.4711";
  write_text(half, "half a part");
  REQUIRE(parts.claim());
  CHECK_FALSE(fs::exists(half));
}
