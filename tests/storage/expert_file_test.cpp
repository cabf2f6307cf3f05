#include "lib/storage/expert_file.h"

#include <cmath>

#include <hdf5.h>

#include "lib/core/error.h"
#include "lib/core/hash.h"
#include "lib/storage/hdf5.h"
#include "lib/storage/set_file.h"
#include "tests/storage/expert_examples.h"
#include "tests/support/catch.h"

using namespace retort;
using storage::ExpertInfo;
using storage::ExpertPart;
using storage::ExpertReader;
using storage::H5Reader;
using storage::read_expert_summary;
using storage::read_part;
using namespace retort::testing;
namespace fs = std::filesystem;

namespace {

bool same(double a, double b) { return (std::isnan(a) && std::isnan(b)) || a == b; }

void check_log(const storage::SnapshotLog& found, const storage::SnapshotLog& expected) {
  CHECK(same(found.train_loss, float(expected.train_loss)));
  CHECK(same(found.train_accuracy, float(expected.train_accuracy)));
  CHECK(found.test_loss == float(expected.test_loss));
  CHECK(found.test_accuracy == float(expected.test_accuracy));
  CHECK(found.norm == expected.norm);
  CHECK(found.step_norm == expected.step_norm);
  CHECK(found.wall_seconds == expected.wall_seconds);
}

void check_info(const ExpertInfo& found, const ExpertInfo& expected) {
  CHECK(found.recipe == expected.recipe);
  CHECK(found.dataset == expected.dataset);
  CHECK(found.dataset_sha256 == expected.dataset_sha256);
  CHECK(found.dataset_note == expected.dataset_note);
  CHECK(found.class_names == expected.class_names);
  CHECK(found.image == expected.image);
  CHECK(found.train_images == expected.train_images);
  CHECK(found.network == expected.network);
  CHECK((found.layout == expected.layout));  // there is no text of a layout to print
  CHECK(found.preprocessing.mean() == expected.preprocessing.mean());
  CHECK(found.preprocessing.std() == expected.preprocessing.std());
  CHECK(found.epochs == expected.epochs);
  CHECK(found.options == expected.options);
  CHECK(found.store == expected.store);
  CHECK(found.program_version == expected.program_version);
  CHECK(found.processor == expected.processor);
}

}  // namespace

TEST_CASE("experts come back as they were trained, in the order of their numbers",
          "[storage][experts]") {
  const TemporaryFolder folder("experts-roundtrip");
  const fs::path path = merged(folder, {10, 2, 1});
  const ExpertReader reader(path);
  check_info(reader.info(), example_info());
  CHECK(reader.path() == path);
  CHECK(reader.experts() == 3);
  CHECK(reader.parameters() == kParameters);
  const std::vector<std::int64_t> order = {1, 2, 10};
  for (std::int64_t e = 0; e < 3; ++e) {
    const std::int64_t number = order[std::size_t(e)];
    CHECK(reader.seeds(e) == example_part(number).seeds);
    for (std::int64_t s = 0; s < 3; ++s) {
      CHECK(at::equal(reader.snapshot(e, s), values_of(number, s)));
      check_log(reader.log(e, s), log_of(number, s));
    }
  }
  // A copy: whoever trains on from it in place leaves the next reader's alone.
  reader.snapshot(0, 0).fill_(0);
  CHECK(at::equal(reader.snapshot(0, 0), values_of(1, 0)));
  CHECK_FALSE(read_expert_summary(path).part);
  CHECK(storage::verify_file(path).empty());
  CHECK(storage::file_schema(path) == storage::kExpertSchema);
  CHECK_THROWS_WITH_TEXT(reader.snapshot(3, 0), StorageError,
                         "expected expert 0 .. 2, asked for 3");
  CHECK_THROWS_WITH_TEXT(reader.snapshot(0, -1), StorageError,
                         "expected snapshot 0 .. 2, asked for -1");
  CHECK_THROWS_WITH_TEXT(reader.log(0, 3), StorageError, "expected snapshot 0 .. 2, asked for 3");
  CHECK_THROWS_WITH_TEXT(reader.seeds(-1), StorageError, "asked for -1");
}

TEST_CASE("a snapshot is one chunk, and the place for experts can grow", "[storage][experts]") {
  const TemporaryFolder folder("experts-chunks");
  const fs::path path = merged(folder, {0, 1});
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t params = H5Dopen2(file, "params", H5P_DEFAULT);
  const hid_t creation = H5Dget_create_plist(params);
  std::vector<hsize_t> chunk(3);
  CHECK(H5Pget_chunk(creation, 3, chunk.data()) == 3);
  CHECK(chunk == std::vector<hsize_t>{1, 1, kParameters});
  const hid_t space = H5Dget_space(params);
  std::vector<hsize_t> dims(3);
  std::vector<hsize_t> most(3);
  H5Sget_simple_extent_dims(space, dims.data(), most.data());
  CHECK(dims == std::vector<hsize_t>{2, 3, kParameters});
  CHECK(most == std::vector<hsize_t>{H5S_UNLIMITED, 3, kParameters});
  H5Sclose(space);
  H5Pclose(creation);
  H5Dclose(params);
  H5Fclose(file);
}

TEST_CASE("experts stored as bfloat16 take half the bytes and come back rounded once",
          "[storage][experts]") {
  const TemporaryFolder folder("experts-bf16");
  ExpertInfo info = example_info();
  info.store = ExpertInfo::Store::Bf16;
  const fs::path path = merged(folder, {0, 1}, info);
  const ExpertReader reader(path);
  CHECK(reader.info().store == ExpertInfo::Store::Bf16);
  const Tensor rounded = values_of(1, 2).to(at::kBFloat16).to(at::kFloat);
  CHECK(reader.snapshot(1, 2).scalar_type() == at::kFloat);
  CHECK(at::equal(reader.snapshot(1, 2), rounded));
  CHECK(H5Reader(path).payload_bytes("params") == 2 * 3 * kParameters * 2);
  // The digest is of what is read back.
  const Tensor digest = H5Reader(path).row("digest/sha256", {1, 2});
  const std::string expected =
      sha256_hex({static_cast<const char*>(rounded.const_data_ptr()), rounded.nbytes()});
  CHECK(digest[0].item<std::int64_t>() == std::stoi(expected.substr(0, 2), nullptr, 16));
  CHECK(storage::verify_file(path).empty());

  const fs::path full = merged(folder, {0, 1});
  CHECK(ExpertReader(full).id() != reader.id());
  CHECK(H5Reader(full).payload_bytes("params") == 2 * 3 * kParameters * 4);
}

TEST_CASE("a part holds an expert so far and what its training goes on from",
          "[storage][experts]") {
  const TemporaryFolder folder("experts-part");
  for (const std::int64_t done : {1, 2, 3}) {
    const ExpertPart part = example_part(4, done);
    const fs::path path = written(folder, part);
    CHECK(path == folder / "experts.h5.parts/expert-4.h5");
    const ExpertPart read = read_part(path);
    check_info(read.info, part.info);
    CHECK(read.number == 4);
    CHECK(read.seeds == part.seeds);
    CHECK(read.complete == (done == 3));
    REQUIRE(read.snapshots.size() == std::size_t(done));
    REQUIRE(read.log.size() == std::size_t(done));
    for (std::size_t s = 0; s < read.snapshots.size(); ++s) {
      CHECK(at::equal(read.snapshots[s], part.snapshots[s]));
      check_log(read.log[s], part.log[s]);
    }
    const storage::StateReader state(read.state);
    CHECK(state.integer("epoch") == done);
    CHECK(at::equal(state.tensors("momentum")[0], at::ones({2, 3})));
    const auto summary = read_expert_summary(path);
    CHECK(summary.part == 4);
    CHECK(summary.experts.front().complete == (done == 3));
    CHECK(summary.experts.front().log.size() == std::size_t(done));
    CHECK(storage::verify_file(path).empty());
  }
  // Complete, it can be read like a finished file.
  CHECK(ExpertReader(folder / "experts.h5.parts/expert-4.h5").experts() == 1);
}

TEST_CASE("the lines of Python in the README read experts, whole or shortened",
          "[storage][experts]") {
  const TemporaryFolder folder("experts-python");
  const std::string python = testing::find_python("h5py, numpy");
  if (python.empty()) {
    WARN("SKIPPED: no python3 with h5py on this machine");
    return;
  }
  const std::string readme =
      testing::slurp(fs::path(RETORT_TEST_DATA) / "../../lib/storage/README.md");
  for (const auto store : {ExpertInfo::Store::F32, ExpertInfo::Store::Bf16}) {
    ExpertInfo info = example_info();
    info.store = store;
    const fs::path path = merged(folder, {0, 1}, info);
    testing::spit(folder / "read.py", testing::python_lines(readme, "experts.h5", path.string()));
    int status = 0;
    const std::string output = testing::run_python(python, folder / "read.py", "", status);
    CHECK(status == 0);
    CHECK(output == "{'features.0.weight': (2, 1, 1, 3), 'features.0.bias': (2,)} [0, 1, 3] " +
                        ExpertReader(path).id() + "\n");
  }
}
