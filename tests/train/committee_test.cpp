#include "lib/train/committee.h"

#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/storage/teacher_file.h"
#include "lib/train/teachers.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"
#include "tests/train/small_committee.h"

using namespace retort;
using namespace retort::testing;

namespace {

/// Files of teachers that do not know anything.
struct Files {
  TemporaryFolder folder{"retort-committee"};

  std::filesystem::path trained_on(const data::ImageDataset& dataset) const {
    const auto path = folder.path() / "t.h5";
    const train::Member member = fresh_member(dataset, "ConvNet-1-BN-w8", 1);
    storage::write_teachers(path, storage::TrainedOn::of(dataset),
                            {train::as_teacher(*member.network, member.state)});
    return path;
  }
};

data::ImageDataset without(const data::ImageDataset& dataset, std::uint64_t seed,
                           double fraction = 0.25) {
  return dataset.hold_out(fraction, Rng(seed));
}

}  // namespace

TEST_CASE("teachers that saw what a run holds out are refused with the command for others",
          "[train][committee]") {
  const Files files;
  const data::ImageDataset whole = separable_dataset(30, 1);
  const auto refused = [&](const data::ImageDataset& theirs, const data::ImageDataset& mine) {
    CHECK_THROWS_WITH_TEXT(train::load_committee(files.trained_on(theirs), {}, mine), ConfigError,
                           "they may have seen the images that are held out here");
  };
  refused(whole, without(whole, 1));
  // As many, but others.
  refused(without(whole, 2), without(whole, 1));
  refused(without(whole, 1, 0.5), without(whole, 1));
  CHECK_THROWS_WITH_TEXT(
      train::load_committee(files.trained_on(whole), {}, without(whole, 1)), ConfigError,
      "retort teachers --dataset bands --nets ConvNet-1-BN-w8 --hold-out 0.25 --out FILE");
  CHECK_THROWS_WITH_TEXT(train::load_committee(files.trained_on(whole), {}, without(whole, 1)),
                         ConfigError, "the teachers were trained on 90 training images, here are ");
  CHECK(train::load_committee(files.trained_on(without(whole, 1)), {}, without(whole, 1)).size() ==
        1);
}

TEST_CASE("teachers of another part of the images are taken with a warning", "[train][committee]") {
  const Files files;
  const data::ImageDataset whole = separable_dataset(30, 1);
  const auto warning = [&](const data::ImageDataset& theirs, const data::ImageDataset& mine) {
    std::string said;
    const log::Sink before =
        log::set_sink([&](log::Level, const std::string& message) { said += message; });
    CHECK(train::load_committee(files.trained_on(theirs), {}, mine).size() == 1);
    log::set_sink(before);
    return said;
  };
  using Catch::Matchers::Contains;
  CHECK(warning(whole, whole).empty());
  CHECK_THAT(warning(without(whole, 1), whole),
             Contains(" training images (test split is 25 % held out of the training split (") &&
                 Contains("here are 90 training images"));
  CHECK_THAT(warning(whole, whole.images_per_class(5, Rng(1))),
             Contains("trained on 90 training images, here are 15 training images (training split "
                      "reduced to 5 images per class)"));
}
