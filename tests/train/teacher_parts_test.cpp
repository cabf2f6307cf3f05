#include "lib/train/teacher_parts.h"

#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/train/teachers.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"
#include "tests/train/separable.h"

using namespace retort;
using namespace retort::testing;
using storage::Teacher;
using train::TeacherParts;
namespace fs = std::filesystem;

namespace {

struct Folder {
  TemporaryFolder folder{"retort-teacher-parts"};
  data::ImageDataset dataset = separable_dataset(2, 1);
  storage::TrainedOn data = storage::TrainedOn::of(dataset);
  fs::path out = folder.path() / "t.h5";
  fs::path parts = TeacherParts::folder_of(out);

  Teacher teacher(std::uint64_t seed) const {
    const auto network =
        nn::make_network("ConvNet-1-BN-w8", dataset.shape(), dataset.num_classes());
    Teacher made = train::as_teacher(*network, network->initialize(Rng(seed)));
    made.tested_on = "test";
    return made;
  }
  std::string plan() const { return read_text(parts / "plan.cfg"); }
};

}  // namespace

TEST_CASE("finished teachers are kept, merged and tidied up, foreign files are left",
          "[train][teachers]") {
  const Folder f;
  const std::vector<Teacher> teachers = {f.teacher(1), f.teacher(2)};
  {
    const TeacherParts parts(f.out);
    CHECK_THROWS_WITH_TEXT(TeacherParts(f.out), ConfigError, "another process");
    CHECK_FALSE(TeacherParts::if_free(f.out).has_value());
    CHECK(parts.empty());
    parts.begin("lr = 1\n");
    CHECK(TeacherParts::under_way(f.out));
    CHECK_FALSE(parts.finished(0));
    write_text(parts.checkpoint(0), "state");
    parts.keep(0, f.data, teachers[0]);
    CHECK_FALSE(fs::exists(parts.checkpoint(0)));
    REQUIRE(parts.finished(0));
    CHECK(parts.finished(0)->sha256() == teachers[0].sha256());
    CHECK_FALSE(parts.finished(1));
  }
  write_text(f.parts / "notes.txt", "mine");
  {
    const auto taken = TeacherParts::if_free(f.out);
    REQUIRE(taken.has_value());
    const TeacherParts& parts = *taken;
    CHECK_FALSE(parts.empty());
    parts.begin("lr = 1\n");
    REQUIRE(parts.finished(0));
    parts.finish(f.data, teachers);
  }
  CHECK(storage::TeacherReader(f.out).count() == 2);
  CHECK(read_text(f.parts / "notes.txt") == "mine");
  CHECK_FALSE(TeacherParts::under_way(f.out));
}

TEST_CASE("teachers with other statistics of classes are not those that are there",
          "[train][teachers]") {
  const Folder f;
  const TeacherParts parts(f.out);
  parts.begin("lr = 1\n");
  Teacher with = f.teacher(1);
  for (const auto& [name, value] : with.buffers) {
    with.class_statistics.push_back({name, at::ones({3, value.size(0)})});
  }
  parts.keep(0, f.data, with);
  CHECK(parts.merged_into({with}));
  CHECK_FALSE(parts.merged_into({f.teacher(1)}));
}

TEST_CASE("a plan holds once something was made by it, and not before", "[train][teachers]") {
  const Folder f;
  const TeacherParts parts(f.out);
  parts.begin("lr = 1\n");
  parts.begin("lr = 2\n");
  CHECK(f.plan() == "lr = 2\n");
  parts.keep(0, f.data, f.teacher(1));
  CHECK_THROWS_WITH_TEXT(parts.begin("lr = 3\n"), ConfigError, "lr: 2 / 3");
  CHECK(f.plan() == "lr = 2\n");
  // What lies there without a plan is nobody's: it must not pass for what is asked for now.
  fs::remove(f.parts / "plan.cfg");
  parts.begin("lr = 3\n");
  CHECK_FALSE(parts.finished(0));
  CHECK(f.plan() == "lr = 3\n");
}

TEST_CASE("what cannot be removed does not pass for the work of another plan",
          "[train][teachers]") {
  const Folder f;
  const TeacherParts parts(f.out);
  parts.begin("lr = 1\n");
  parts.keep(0, f.data, f.teacher(1));
  // A folder with something in it, where a file is to go.
  fs::remove(f.parts / "plan.cfg");
  fs::create_directories(f.parts / "teacher-1.h5" / "full");
  CHECK_THROWS_WITH_TEXT(parts.begin("lr = 2\n"), StorageError,
                         "unfinished teachers that are of no use any more cannot be removed");
  CHECK_FALSE(fs::exists(f.parts / "plan.cfg"));
}

TEST_CASE("what a killed process had merged is recognised", "[train][teachers]") {
  const Folder f;
  const TeacherParts parts(f.out);
  parts.begin("lr = 1\n");
  const std::vector<Teacher> teachers = {f.teacher(1), f.teacher(2)};
  CHECK_FALSE(parts.merged_into(teachers));
  parts.keep(1, f.data, teachers[1]);
  CHECK_FALSE(parts.merged_into({}));
  CHECK_FALSE(parts.merged_into({teachers[0]}));
  CHECK_FALSE(parts.merged_into({teachers[1], teachers[0]}));
  CHECK(parts.merged_into(teachers));
  write_text(parts.checkpoint(2), "state");
  CHECK_FALSE(parts.merged_into(teachers));
}
