#include "lib/train/labelling.h"

#include <atomic>

#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/log.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"
#include "tests/train/small_committee.h"

using namespace retort;
using namespace retort::testing;
using train::Labelling;
using train::RelabelRecipe;
namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kImages = 21;

RelabelRecipe one_teacher() {
  RelabelRecipe recipe = RelabelRecipe::defaults("cv-dd");
  recipe.priors = {97};
  return recipe;
}

struct Job {
  TemporaryFolder folder{"retort-labelling"};
  data::ImageDataset dataset = separable_dataset(30, 1);
  RelabelRecipe recipe = one_teacher();
  Tensor images = dataset.batch(data::Split::Train, at::arange(kImages, at::kLong));
  fs::path out = folder.path() / "set.h5";
  fs::path parts = folder.path() / "set.h5.parts";
  train::Labeler labeler = train::labeler_of(
      recipe, {trained_member(dataset, "ConvNet-1-BN-w8", 1, 97)}, images.size(0));

  Job() { recipe.epochs = 40; }
  Labelling labelling(const std::string& plan = "a = 1\n") const {
    return {recipe, labeler, images, out, plan};
  }
};

void check_record(const Job& job, const data::RecordedViews& record) {
  REQUIRE(record.batches() == 80);
  CHECK(record.views() == 40 * kImages);
  for (std::int64_t i = 0; i < record.batches(); ++i) {
    const auto expected = train::labelled_batch(job.recipe, job.labeler, job.images, i);
    const auto actual = record.batch(i);
    CHECK(actual.epoch == expected.epoch);
    CHECK(actual.images == expected.images);
    const bool same_crops = actual.views.crops == expected.views.crops;
    CHECK(same_crops);
    CHECK(actual.values.equal(expected.values));
  }
}

}  // namespace

TEST_CASE("a labelling makes the batches one by one would be", "[train][labelling]") {
  const Job job;
  Labelling labelling = job.labelling();
  CHECK(labelling.views() == 40 * kImages);
  CHECK(labelling.views_done() == 0);
  CHECK_THROWS_WITH_TEXT(job.labelling(), ConfigError, "another process labels this set");
  std::atomic<std::int64_t> seen{0};
  labelling.run([&](std::int64_t done) { seen = std::max<std::int64_t>(seen, done); }, nullptr);
  CHECK(seen == 40 * kImages);
  CHECK(labelling.views_done() == 40 * kImages);
  check_record(job, *labelling.record());
  labelling.tidy_up();
  CHECK_FALSE(fs::exists(job.parts));
}

TEST_CASE("a labelling that was stopped goes on where it was, to the same bits",
          "[train][labelling]") {
  const Job job;
  for (const std::int64_t enough : {1, 300, 500}) {
    Labelling labelling = job.labelling();
    StopFlag stop;
    const auto progress = [&](std::int64_t done) {
      if (done >= enough) stop.request();
    };
    CHECK_THROWS_WITH_TEXT(labelling.run(progress, &stop), Interrupted,
                           "labelling was interrupted");
  }
  Labelling labelling = job.labelling();
  const std::int64_t before = labelling.views_done();
  CHECK(before >= 500);
  CHECK(before < 40 * kImages);
  std::int64_t first = 0;
  labelling.run([&](std::int64_t done) { first = first == 0 ? done : first; }, nullptr);
  CHECK(first > before);
  check_record(job, *labelling.record());
}

TEST_CASE("labels of another plan are not taken up, nor what killed writes have left",
          "[train][labelling]") {
  const Job job;
  {
    Labelling labelling = job.labelling();
    labelling.run({}, nullptr);
  }
  CHECK_THROWS_WITH_TEXT(job.labelling("a = 2\n"), ConfigError,
                         "holds unfinished labels of other settings (theirs / asked for): a: 1 / "
                         "2; go on with theirs, or remove the folder");
  const auto replacing = [&](const std::string& plan) {
    return Labelling(job.recipe, job.labeler, job.images, job.out, plan,
                     train::PartsFolder::OtherPlan::Replaced)
        .views_done();
  };
  CHECK(replacing("a = 1\n") == 40 * kImages);
  write_text(job.out.string() + ".tmp.1", "half a set");
  write_text(job.parts / "labels-0.h5.tmp.1", "half a part");
  write_text(job.folder.path() / "other.h5.tmp.1", "of somebody else");
  CHECK(job.labelling().views_done() == 40 * kImages);
  CHECK_FALSE(fs::exists(job.out.string() + ".tmp.1"));
  CHECK_FALSE(fs::exists(job.parts / "labels-0.h5.tmp.1"));
  CHECK(fs::exists(job.folder.path() / "other.h5.tmp.1"));
  std::string said;
  const log::Sink before =
      log::set_sink([&](log::Level, const std::string& message) { said += message; });
  CHECK(replacing("a = 2\n") == 0);
  log::set_sink(before);
  CHECK_THAT(said, Catch::Matchers::Contains("holds unfinished labels of other settings (theirs / "
                                             "asked for): a: 1 / 2; they are replaced"));
  CHECK_FALSE(fs::exists(job.parts / "labels-0.h5"));
}
