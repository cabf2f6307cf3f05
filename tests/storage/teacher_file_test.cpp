#include "lib/storage/teacher_file.h"

#include <cmath>
#include <functional>
#include <limits>
#include <memory>

#include "lib/core/error.h"
#include "lib/core/hash.h"
#include "lib/core/rng.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/storage/hdf5.h"
#include "lib/storage/set_file.h"
#include "tests/storage/support.h"
#include "tests/support/catch.h"

using namespace retort;
using storage::Teacher;
using storage::TeacherReader;
using storage::TrainedOn;
using storage::write_teachers;
using testing::TemporaryFolder;

namespace {

/// Gray 2x2 images.
data::ImageDataset tiny_dataset(const std::vector<std::string>& class_names = {"disk", "Dreieck ▲"},
                                double mean = 0.25, char digest = 'd') {
  const auto split = [&] {
    return data::DataSplit{std::make_shared<data::MemoryStore>(at::ones({6, 1, 2, 2}, at::kByte)),
                           at::arange(6, at::kLong).remainder(std::int64_t(class_names.size()))};
  };
  data::DatasetInfo info;
  info.name = "shapes";
  info.class_names = class_names;
  info.sha256 = std::string(64, digest);
  return {info, split(), split(), data::Preprocessing::mean_std({mean}, {0.5})};
}

Teacher example_teacher(const std::string& network, std::uint64_t seed) {
  Rng rng(seed);
  Teacher teacher;
  teacher.network = network;
  // Not in the order of their names.
  teacher.parameters = {{"conv.weight", rng.normal_tensor({3, 1, 2, 2})},
                        {"bn.weight", rng.normal_tensor({3})},
                        {"bn.bias", rng.normal_tensor({3})}};
  teacher.buffers = {{"bn.running_mean", rng.normal_tensor({3})},
                     {"bn.running_var", rng.uniform_tensor({3})}};
  teacher.options = "lr = 0.1\nepochs = 5\n";
  teacher.seed = std::numeric_limits<std::uint64_t>::max() - seed;
  teacher.epochs = 5;
  teacher.accuracy = 61.25;
  teacher.tested_on = "test";
  teacher.wall_seconds = 12.5;
  teacher.program_version = "0.1.0";
  teacher.processor = "a processor";
  return teacher;
}

void check_same(const std::vector<storage::NamedTensor>& a,
                const std::vector<storage::NamedTensor>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    CHECK(a[i].name == b[i].name);
    CHECK(a[i].value.equal(b[i].value));
  }
}

using Lists = std::vector<std::pair<std::string, std::vector<storage::NamedTensor>>>;

Lists lists_of(const Teacher& teacher) {
  return {{"parameters", teacher.parameters},
          {"buffers", teacher.buffers},
          {"class_statistics", teacher.class_statistics}};
}

std::string digest_as_1_1(const Teacher& teacher) {
  Sha256 hash;
  hash.update(teacher.network);
  for (const auto& [list, values] : lists_of(teacher)) {
    for (const auto& [name, value] : values) {
      hash.update(str("\n", name, " ", shape_text(value), "\n"));
      hash.update(std::string_view(static_cast<const char*>(value.const_data_ptr()),
                                   std::size_t(value.nbytes())));
    }
  }
  return hash.hex();
}

void write_as_1_1(const std::filesystem::path& path, const Teacher& teacher,
                  const std::string& digest) {
  storage::H5Writer::create(path, [&](storage::H5Writer& out) {
    out.attribute("", "schema", storage::kTeacherSchema);
    out.attribute("", "version_major", std::int64_t{1});
    out.attribute("", "version_minor", std::int64_t{1});
    storage::write_trained_on(out, TrainedOn::of(tiny_dataset()));
    const std::string group = "teacher/0";
    out.group(group);
    out.attribute(group, "network", teacher.network);
    out.attribute(group, "seed", teacher.seed);
    out.attribute(group, "epochs", teacher.epochs);
    out.attribute(group, "accuracy", teacher.accuracy);
    out.attribute(group, "tested_on", teacher.tested_on);
    out.attribute(group, "wall_seconds", teacher.wall_seconds);
    out.attribute(group, "program_version", teacher.program_version);
    out.attribute(group, "processor", teacher.processor);
    out.attribute(group, "sha256", digest);
    out.text(group + "/options", teacher.options);
    for (const auto& [list, values] : lists_of(teacher)) {
      std::vector<std::string> names;
      for (const auto& [name, value] : values) {
        names.push_back(name);
        out.tensor(str(group, "/", list, "/", name), value);
      }
      out.texts(str(group, "/order/", list), names);
    }
  });
}

}  // namespace

TEST_CASE("teachers come back to the bit, in the order of their tensors", "[storage][teachers]") {
  const TemporaryFolder folder("teachers");
  const auto path = folder / "teachers.h5";
  const TrainedOn data = TrainedOn::of(tiny_dataset());
  std::vector<Teacher> written = {example_teacher("R18m-w4", 1), example_teacher("ConvNet-1", 2)};
  written[1].class_average = "mean";
  written[1].class_statistics = {{"bn.running_mean", at::rand({2, 3})},
                                 {"bn.running_var", at::rand({2, 3})}};
  written[1].accuracy = std::numeric_limits<double>::quiet_NaN();
  written[1].tested_on = "";
  write_teachers(path, data, written);

  const TeacherReader reader(path);
  CHECK(reader.data().class_names == data.class_names);
  CHECK(reader.data().dataset_sha256 == data.dataset_sha256);
  CHECK(reader.data().train_images == 6);
  REQUIRE(reader.count() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    const Teacher read = reader.teacher(std::int64_t(i));
    CHECK(read.network == written[i].network);
    CHECK(read.options == written[i].options);
    CHECK(read.seed == written[i].seed);
    CHECK(read.epochs == 5);
    CHECK(read.tested_on == written[i].tested_on);
    CHECK(read.wall_seconds == 12.5);
    check_same(read.parameters, written[i].parameters);
    check_same(read.buffers, written[i].buffers);
    check_same(read.class_statistics, written[i].class_statistics);
    CHECK(read.class_average == written[i].class_average);
    CHECK(read.sha256() == written[i].sha256());
    CHECK(read.statistics_sha256() == written[i].statistics_sha256());
  }
  CHECK(reader.teacher(0).accuracy == 61.25);
  CHECK(std::isnan(reader.teacher(1).accuracy));
  CHECK(storage::verify_file(path).empty());
  CHECK_NOTHROW(storage::expect_fitting(reader, tiny_dataset()));
}

TEST_CASE("a teacher's digest follows its network, names and values", "[storage][teachers]") {
  const Teacher teacher = example_teacher("ConvNet-1", 1);
  const auto changed = [&](const std::function<void(Teacher&)>& change) {
    Teacher other = teacher;
    change(other);
    return other.sha256() != teacher.sha256();
  };
  CHECK(changed([](Teacher& t) { t.network = "ConvNet-2"; }));
  CHECK(changed([](Teacher& t) { t.parameters[0].name = "conv2.weight"; }));
  CHECK(changed([](Teacher& t) { t.buffers[0].value = t.buffers[0].value + 1; }));
  CHECK(changed([](Teacher& t) { t.parameters[0].value = t.parameters[0].value.flatten(); }));
  CHECK_FALSE(changed([](Teacher& t) { t.options = "lr = 0.2\n"; }));
}

TEST_CASE("statistics of classes have a digest of their own", "[storage][teachers]") {
  Teacher teacher = example_teacher("ConvNet-1", 1);
  const std::string before = teacher.sha256();
  CHECK(teacher.statistics_sha256().empty());
  teacher.class_statistics = {{"bn.running_mean", at::zeros({2, 3})},
                              {"bn.running_var", at::ones({2, 3})}};
  const std::string statistics = teacher.statistics_sha256();
  CHECK(teacher.sha256() == before);
  CHECK(statistics.size() == 64);
  teacher.class_statistics[0].value = at::ones({2, 3});
  CHECK(teacher.statistics_sha256() != statistics);
}

TEST_CASE("teachers of files before 1.2, where both digests were one, are read and checked",
          "[storage][teachers]") {
  const TemporaryFolder folder("teachers-old");
  const auto path = folder / "old.h5";
  Teacher teacher = example_teacher("ConvNet-1", 1);
  teacher.class_statistics = {{"bn.running_mean", at::zeros({2, 3})},
                              {"bn.running_var", at::ones({2, 3})}};
  write_as_1_1(path, teacher, digest_as_1_1(teacher));
  const Teacher read = TeacherReader(path).teacher(0);
  check_same(read.class_statistics, teacher.class_statistics);
  CHECK(read.sha256() == teacher.sha256());
  write_as_1_1(path, teacher, teacher.sha256());
  CHECK_THROWS_WITH_TEXT(TeacherReader(path).teacher(0), StorageError,
                         "teacher 0: its tensors have SHA-256 " + digest_as_1_1(teacher));
}

TEST_CASE("teachers of other images, classes or preprocessing are refused by name",
          "[storage][teachers]") {
  const TemporaryFolder folder("teachers-fit");
  const auto path = folder / "teachers.h5";
  write_teachers(path, TrainedOn::of(tiny_dataset()), {example_teacher("ConvNet-1", 1)});
  const TeacherReader reader(path);
  const auto refused = [&](const data::ImageDataset& dataset, const std::string& text) {
    CHECK_THROWS_WITH_TEXT(storage::expect_fitting(reader, dataset), DataError, text);
  };
  refused(tiny_dataset({"Dreieck ▲", "disk"}), "class 0: expected 'Dreieck ▲', found 'disk'");
  refused(tiny_dataset({"disk", "Dreieck ▲", "more"}), "class 2: expected 'more', found nothing");
  refused(tiny_dataset({"disk", "Dreieck ▲"}, 0.5), "preprocessing mean");
  refused(tiny_dataset({"disk", "Dreieck ▲"}, 0.25, 'e'), "dataset SHA-256");
}

TEST_CASE("what is no teacher is neither written nor read", "[storage][teachers]") {
  const TemporaryFolder folder("teachers-bad");
  const auto path = folder / "teachers.h5";
  const TrainedOn data = TrainedOn::of(tiny_dataset());
  const auto refused = [&](const std::function<void(Teacher&)>& change, const std::string& text) {
    Teacher teacher = example_teacher("ConvNet-1", 1);
    change(teacher);
    CHECK_THROWS_WITH_TEXT(write_teachers(path, data, {teacher}), StorageError, text);
    CHECK_FALSE(std::filesystem::exists(path));
  };
  refused([](Teacher& t) { t.network = ""; }, "name of the network must be there");
  refused([](Teacher& t) { t.parameters.clear(); }, "expected parameters, found none");
  refused([](Teacher& t) { t.parameters[1].name = "conv.weight"; }, "'conv.weight' stands twice");
  refused([](Teacher& t) { t.parameters[1].name = "a/b"; }, "'a/b' cannot be the name");
  refused([](Teacher& t) { t.buffers[0].value = at::zeros({3}, at::kDouble); }, "must be float32");
  refused(
      [](Teacher& t) {
        t.class_statistics = {{"bn.running_mean", at::rand({2, 3})}};
      },
      "expected statistics of classes for all 2 buffers, found 1");
  refused(
      [](Teacher& t) {
        t.class_statistics = {{"bn.running_mean", at::rand({3, 3})},
                              {"bn.running_var", at::rand({2, 3})}};
      },
      "expected 'bn.running_mean' [2, 3], found 'bn.running_mean' [3, 3]");
  CHECK_THROWS_WITH_TEXT(write_teachers(path, data, {}), StorageError, "found none");

  write_teachers(path, data, {example_teacher("ConvNet-1", 1)});
  CHECK_THROWS_WITH_TEXT(TeacherReader(path).teacher(1), StorageError, "has 1 teachers");
  std::string bytes = testing::slurp(path);
  const Tensor weight = example_teacher("ConvNet-1", 1).parameters[0].value;
  const std::string values(static_cast<const char*>(weight.const_data_ptr()),
                           std::size_t(weight.nbytes()));
  const std::size_t place = bytes.find(values);
  REQUIRE(place != std::string::npos);
  bytes[place] = char(bytes[place] ^ 1);
  testing::spit(path, bytes);
  CHECK_THROWS_AS(TeacherReader(path), StorageError);
  testing::spit(path, "no file of teachers");
  CHECK_THROWS_AS(TeacherReader(path), StorageError);
}
