#include "lib/storage/expert_file.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <limits>
#include <optional>
#include <set>

#include <hdf5.h>

#include "lib/core/error.h"
#include "lib/core/hash.h"
#include "lib/storage/hdf5.h"
#include "lib/storage/set_file.h"
#include "tests/storage/support.h"
#include "tests/support/catch.h"

using namespace retort;
using storage::ExpertInfo;
using storage::ExpertPart;
using storage::ExpertReader;
using storage::H5Reader;
using storage::H5Writer;
using storage::merge_experts;
using storage::read_expert_summary;
using storage::read_part;
using storage::write_part;
using testing::TemporaryFolder;

namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kParameters = 8;

ExpertInfo example_info() {
  ExpertInfo info;
  info.recipe = "sgd";
  info.dataset = "shapes";
  info.dataset_sha256 = std::string(64, 'd');
  info.dataset_note = "20 training images per class, seed 0";
  info.class_names = {"disk", "Dreieck ▲"};
  info.image = {.channels = 1, .height = 2, .width = 2};
  info.train_images = 40;
  info.network = "ConvNet-1";
  info.layout = {{"features.0.weight", {2, 1, 1, 3}}, {"features.0.bias", {2}}};
  info.preprocessing = data::Preprocessing::mean_std({0.25}, {1.0 / 3});
  info.epochs = {0, 1, 3};
  info.options = "epochs = 3\nlr = 0.01\n";
  info.program_version = "0.1.0";
  info.processor = "a processor";
  return info;
}

Tensor values_of(std::int64_t expert, std::int64_t snapshot, std::int64_t size = kParameters) {
  return at::arange(size, at::kFloat).add(100.0 * double(expert) + double(snapshot)).div(7);
}

storage::SnapshotLog log_of(std::int64_t expert, std::int64_t snapshot) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  return {.train_loss = snapshot == 0 ? nan : 2.5 / double(snapshot),
          .train_accuracy = snapshot == 0 ? nan : 50.5 + double(expert),
          .test_loss = 1.25,
          .test_accuracy = 25.0 * double(snapshot),
          .norm = 3.1 + double(expert),
          .step_norm = 0.1 * double(snapshot),
          .wall_seconds = 1.1 * double(snapshot)};
}

/// Expert `number` with its first `done` snapshots.
ExpertPart example_part(std::int64_t number, std::int64_t done = 3,
                        const ExpertInfo& info = example_info()) {
  ExpertPart part;
  part.info = info;
  part.number = number;
  const auto seed = std::numeric_limits<std::uint64_t>::max() - std::uint64_t(number);
  part.seeds = {.init = seed, .data = 7, .augment = 8};
  for (std::int64_t s = 0; s < done; ++s) {
    part.snapshots.push_back(values_of(number, s));
    part.log.push_back(log_of(number, s));
  }
  part.complete = done == std::int64_t(info.epochs.size());
  part.state.tensors("momentum", {at::ones({2, 3}), at::zeros({2})});
  part.state.integer("epoch", done);
  return part;
}

fs::path written(const TemporaryFolder& folder, const ExpertPart& part) {
  const fs::path path = storage::part_path(folder / "experts.h5", part.number);
  write_part(path, part);
  return path;
}

/// "experts.h5" of complete experts with these numbers.
fs::path merged(const TemporaryFolder& folder, const std::vector<std::int64_t>& numbers,
                const ExpertInfo& info = example_info()) {
  std::vector<fs::path> parts;
  for (const std::int64_t number : numbers) {
    parts.push_back(written(folder, example_part(number, 3, info)));
  }
  merge_experts(folder / "experts.h5", std::nullopt, parts);
  return folder / "experts.h5";
}

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

/// Writes a file again without `omit`, with what `change` adds or puts in its place: a file that
/// agrees with its manifest and breaks another rule.
void rewrite(const fs::path& from, const fs::path& to, const std::set<std::string>& omit,
             const std::function<void(H5Writer&)>& change) {
  const H5Reader in(from);
  const std::set<std::string> texts = {"class_names", "layout/name", "expert/program_version",
                                       "expert/processor"};
  H5Writer::create(to, [&](H5Writer& out) {
    for (const std::string& path : in.datasets()) {
      if (path.starts_with("manifest/") || path.starts_with("state/") || omit.contains(path)) {
        continue;
      }
      if (texts.contains(path)) {
        out.texts(path, in.texts(path));
      } else if (path == "identity" || path == "options") {
        out.text(path, in.text(path));
      } else if (path.ends_with("_seed") || path == "layout/offset" || path == "layout/numel") {
        out.uint64s(path, in.uint64s(path));
      } else {
        out.tensor(path, in.tensor(path));
      }
    }
    out.attribute("preprocessing", "kind", "mean-std");
    for (const std::string& name : in.attribute_names("")) {
      if (omit.contains("@" + name)) continue;
      if (name.starts_with("version") || name == "train_images" || name == "channels" ||
          name == "height" || name == "width" || name == "part") {
        out.attribute("", name, in.int_attribute("", name));
      } else {
        out.attribute("", name, in.text_attribute("", name));
      }
    }
    change(out);
  });
}

/// Where the values of a snapshot lie in a file.
std::size_t position_of(const std::string& bytes, const Tensor& values) {
  const std::string pattern(static_cast<const char*>(values.const_data_ptr()), values.nbytes());
  const std::size_t position = bytes.find(pattern);
  REQUIRE(position != std::string::npos);
  return position;
}

data::ImageDataset example_dataset(data::DatasetInfo info, const data::Preprocessing& preprocessing,
                                   std::int64_t size = 2) {
  const auto classes = std::int64_t(info.class_names.size());
  const data::DataSplit split{
      std::make_shared<data::MemoryStore>(at::zeros({classes, 1, size, size}, at::kByte)),
      at::arange(classes, at::kLong)};
  return {std::move(info), split, split, preprocessing};
}

data::DatasetInfo example_dataset_info() {
  const ExpertInfo info = example_info();
  return {.name = "shapes",
          .class_names = info.class_names,
          .sha256 = info.dataset_sha256,
          .note = "a part of it that was held out"};
}

data::Preprocessing example_zca(double eps, double shift) {
  const Tensor matrix = at::eye(4, at::kDouble).add(shift);
  return data::Preprocessing::zca({.eps = eps,
                                   .mean = at::full({4}, 0.3, at::kDouble),
                                   .whiten = matrix,
                                   .inverse = matrix.inverse()});
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

TEST_CASE("what is no finished file of experts is refused by name", "[storage][experts]") {
  const TemporaryFolder folder("experts-foreign");
  const fs::path running = written(folder, example_part(0, 2));
  CHECK_THROWS_WITH_TEXT(ExpertReader(running), StorageError,
                         "expert-0.h5': expected a complete expert, found 1 with 2 of 3 snapshots; "
                         "is it a part of a run that goes on?");
  const fs::path finished = merged(folder, {1, 2});
  CHECK_THROWS_WITH_TEXT(read_part(finished), StorageError,
                         "expected a part of one expert, found a finished file of 2");
  CHECK_THROWS_WITH_TEXT(ExpertReader(folder / "none.h5"), StorageError, "no such file");
  testing::spit(folder / "text.h5", "hello");
  CHECK_THROWS_WITH_TEXT(ExpertReader(folder / "text.h5"), StorageError, "is no HDF5 file");
  storage::StateWriter().save(folder / "state.h5");
  CHECK_THROWS_WITH_TEXT(ExpertReader(folder / "state.h5"), StorageError,
                         "expected schema 'retort.experts', found 'retort.state'");
  data::SyntheticSet set;
  set.images = at::zeros({1, 1, 2, 2});
  set.class_index = at::zeros({1}, at::kLong);
  set.labels = data::HardLabels{set.class_index};
  storage::write_set(folder / "set.h5", set);
  CHECK_THROWS_WITH_TEXT(ExpertReader(folder / "set.h5"), StorageError,
                         "set.h5': expected schema 'retort.experts', found 'retort.set'");
  const std::string bytes = testing::slurp(finished);
  for (const double part : {0.3, 0.7, 0.999}) {
    testing::spit(folder / "cut.h5", bytes.substr(0, std::size_t(double(bytes.size()) * part)));
    CHECK_THROWS_WITH_TEXT(ExpertReader(folder / "cut.h5"), StorageError, "cut.h5': cannot be");
  }
}

TEST_CASE("a damaged snapshot is named by expert and number, the others stay readable",
          "[storage][experts]") {
  const TemporaryFolder folder("experts-damaged");
  const fs::path path = merged(folder, {0, 1});
  std::string bytes = testing::slurp(path);
  bytes[position_of(bytes, values_of(1, 2)) + 5] ^= 0x10;
  testing::spit(folder / "flipped.h5", bytes);
  const ExpertReader flipped(folder / "flipped.h5");
  CHECK(at::equal(flipped.snapshot(1, 1), values_of(1, 1)));
  CHECK_THROWS_WITH_TEXT(
      flipped.snapshot(1, 2), StorageError,
      "expert 1, snapshot 2: '" + (folder / "flipped.h5").string() + "': 'params': HDF5: ");
  const auto findings = storage::verify_file(folder / "flipped.h5");
  REQUIRE(findings.size() == 2);
  CHECK_THAT(findings[0], Catch::Matchers::Contains("'params': HDF5: "));
  CHECK_THAT(findings[1], Catch::Matchers::StartsWith("expert 1, snapshot 2: "));

  // Written by another program, with right checksums: only the digest knows.
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  const hid_t params = H5Dopen2(file, "params", H5P_DEFAULT);
  Tensor all = at::stack({at::stack({values_of(0, 0), values_of(0, 1), values_of(0, 2)}),
                          at::stack({values_of(1, 0), values_of(1, 1), values_of(1, 2)})});
  all[0][1][3] = 5;
  H5Dwrite(params, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, all.data_ptr());
  H5Dclose(params);
  H5Fclose(file);
  const ExpertReader edited(path);
  CHECK(at::equal(edited.snapshot(0, 0), values_of(0, 0)));
  for (int again = 0; again < 2; ++again) {
    CHECK_THROWS_WITH_TEXT(edited.snapshot(0, 1), StorageError,
                           "expert 0, snapshot 1: '" + path.string() +
                               "': is damaged: /params: SHA-256 of the values is ");
  }
  CHECK(storage::verify_file(path).size() == 2);
}

TEST_CASE("values that are not finite are kept and reported", "[storage][experts]") {
  const TemporaryFolder folder("experts-nan");
  ExpertPart part = example_part(0);
  part.snapshots[1][2] = std::numeric_limits<float>::quiet_NaN();
  const fs::path path = written(folder, part);
  CHECK(storage::verify_file(path) ==
        std::vector<std::string>{"expert 0, snapshot 1: 1 values are not finite"});
}

TEST_CASE("damage outside of the snapshots is found when a file is opened", "[storage][experts]") {
  const TemporaryFolder folder("experts-manifest");
  const fs::path path = merged(folder, {0, 1});
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  H5Ldelete(file, "layout/name", H5P_DEFAULT);
  H5Fclose(file);
  CHECK_THROWS_WITH_TEXT(ExpertReader(path), StorageError,
                         "is damaged: the manifest has, the file lacks: layout/name: text [2]");
  CHECK(storage::verify_file(path).size() == 1);

  merged(folder, {0, 1});
  std::string bytes = testing::slurp(path);
  const std::size_t option = bytes.find("lr = 0.01");
  REQUIRE(option != std::string::npos);
  bytes[option + 5] = '9';
  testing::spit(path, bytes);
  CHECK_THROWS_WITH_TEXT(ExpertReader(path), StorageError, "experts.h5': ");
}

TEST_CASE("files that break a rule of their own are refused with rule and finding",
          "[storage][experts]") {
  const TemporaryFolder folder("experts-rules");
  const fs::path good = merged(folder, {0, 1});
  const fs::path path = folder / "a.h5";
  rewrite(good, path, {}, [](H5Writer&) {});
  CHECK(ExpertReader(path).id() == ExpertReader(good).id());
  const auto check = [&](const std::string& text, const std::set<std::string>& omit,
                         const std::function<void(H5Writer&)>& change) {
    rewrite(good, path, omit, change);
    CHECK_THROWS_WITH_TEXT(ExpertReader(path), StorageError, text);
    CHECK_THROWS_WITH_TEXT(ExpertReader(path), StorageError, path.string());
    CHECK(storage::verify_file(path).size() == 1);
  };
  const auto nothing = [](H5Writer&) {};
  for (const char* field :
       {"params", "epoch", "digest/sha256", "log/step_norm", "expert/aug_seed", "expert/status",
        "layout/shape", "preprocessing/std", "class_names", "options", "identity"}) {
    check("'" + std::string(field) + "': is missing", {field}, nothing);
  }
  check("attribute 'network' is missing", {"@network"}, nothing);
  check("expected retort.experts version 1.x, found 2.x; it needs a newer program", {},
        [](H5Writer& f) { f.attribute("", "version_major", std::int64_t{2}); });
  check("attribute 'store' must be f32 or bf16, is 'f16'", {},
        [](H5Writer& f) { f.attribute("", "store", "f16"); });

  check("'features.0.bias' takes 2 from 5, the one before ends at 6", {"layout/offset"},
        [](H5Writer& f) {
          f.uint64s("layout/offset", {0, 5});
        });
  check("'features.0.bias' takes 2 from 7, the one before ends at 6", {"layout/offset"},
        [](H5Writer& f) {
          f.uint64s("layout/offset", {0, 7});
        });
  check(
      "/layout must tile [0, 8) in order without gap or overlap; 'features.0.bias' takes 3 from 6",
      {"layout/numel"}, [](H5Writer& f) {
        f.uint64s("layout/numel", {6, 3});
      });
  check("the last one ends at 6", {"layout/name", "layout/offset", "layout/numel", "layout/shape"},
        [](H5Writer& f) {
          f.texts("layout/name", {"a"});
          f.uint64s("layout/offset", {0});
          f.uint64s("layout/numel", {6});
          f.tensor("layout/shape", at::tensor({6, -1, -1, -1}, at::kLong).view({1, 4}));
        });
  check(
      "'features.0.weight' must have 1 to 4 sizes of 6 elements, then -1, has [2, 1, -1, 3]",
      {"layout/shape"}, [](H5Writer& f) {
        f.tensor("layout/shape", at::tensor({2, 1, -1, 3, 2, -1, -1, -1}, at::kLong).view({2, 4}));
      });
  const std::int64_t huge = std::int64_t{1} << 62;
  check("has [4611686018427387904, 4611686018427387904, 6, -1]", {"layout/shape"},
        [&](H5Writer& f) {
          f.tensor("layout/shape",
                   at::tensor({huge, huge, std::int64_t{6}, std::int64_t{-1}, std::int64_t{2},
                               std::int64_t{-1}, std::int64_t{-1}, std::int64_t{-1}},
                              at::kLong)
                       .view({2, 4}));
        });
  check("expected 2 offsets, sizes and shapes, found 3, 2", {"layout/offset"}, [](H5Writer& f) {
    f.uint64s("layout/offset", {0, 6, 8});
  });
  check("/params: expected shape [n, S, P], found [2, 24]", {"params"}, [](H5Writer& f) {
    f.tensor("params", at::zeros({2, 24}));
  });
  check("/digest/sha256: expected shape [2, 3, 32]", {"digest/sha256"}, [](H5Writer& f) {
    f.tensor("digest/sha256", at::zeros({2, 3, 31}, at::kByte));
  });
  check("/log/norm: expected shape [2, 3] of type Double", {"log/norm"}, [](H5Writer& f) {
    f.tensor("log/norm", at::zeros({2, 3}));
  });
  check("/expert/init_seed: expected 2 seeds, found 1", {"expert/init_seed"},
        [](H5Writer& f) { f.uint64s("expert/init_seed", {1}); });
  check("'expert/init_seed': must be a list of integers of type uint64", {"expert/init_seed"},
        [](H5Writer& f) { f.tensor("expert/init_seed", at::zeros({2}, at::kLong)); });
  check("expert 1 is complete with 2 snapshots done of 3", {"expert/snapshots_done"},
        [](H5Writer& f) {
          f.tensor("expert/snapshots_done", at::tensor({3, 2}, at::kInt));
        });
  check("expert 0 is complete with 3 snapshots done of 4", {"epoch"}, [](H5Writer& f) {
    f.tensor("epoch", at::tensor({0, 1, 2, 3}, at::kInt));
  });
  check("the first snapshot must be of epoch 0, is of 1", {"epoch"}, [](H5Writer& f) {
    f.tensor("epoch", at::tensor({1, 2, 3}, at::kInt));
  });
  check("epochs of snapshots must ascend, 1 follows 1", {"epoch"}, [](H5Writer& f) {
    f.tensor("epoch", at::tensor({0, 1, 1}, at::kInt));
  });
  check("preprocessing is for 2 channels, the images have 1",
        {"preprocessing/mean", "preprocessing/std"}, [](H5Writer& f) {
          f.tensor("preprocessing/mean", at::ones({2}, at::kDouble));
          f.tensor("preprocessing/std", at::ones({2}, at::kDouble));
        });
}

TEST_CASE("a file without a complete expert is refused", "[storage][experts]") {
  const TemporaryFolder folder("experts-none");
  const fs::path good = merged(folder, {0, 1});
  const fs::path path = folder / "a.h5";
  rewrite(good, path, {"expert/status"},
          [](H5Writer& f) { f.tensor("expert/status", at::ones({2}, at::kByte)); });
  CHECK_THROWS_WITH_TEXT(ExpertReader(path), StorageError,
                         "a.h5': expected a complete expert, found 2 with 3 of 3 snapshots");
  rewrite(good, path,
          {"params", "digest/sha256", "log/train_loss", "log/train_acc", "log/test_loss",
           "log/test_acc", "log/norm", "log/step_norm", "log/wall_seconds", "expert/init_seed",
           "expert/data_seed", "expert/aug_seed", "expert/status", "expert/snapshots_done",
           "expert/program_version", "expert/processor"},
          [](H5Writer& f) {
            f.tensor("params", at::zeros({0, 3, 8}));
            f.tensor("digest/sha256", at::zeros({0, 3, 32}, at::kByte));
            for (const char* name : {"train_loss", "train_acc", "test_loss", "test_acc"}) {
              f.tensor(std::string("log/") + name, at::zeros({0, 3}));
            }
            for (const char* name : {"norm", "step_norm", "wall_seconds"}) {
              f.tensor(std::string("log/") + name, at::zeros({0, 3}, at::kDouble));
            }
            for (const char* name : {"init_seed", "data_seed", "aug_seed"}) {
              f.uint64s(std::string("expert/") + name, {});
            }
            f.tensor("expert/status", at::zeros({0}, at::kByte));
            f.tensor("expert/snapshots_done", at::zeros({0}, at::kInt));
            f.texts("expert/program_version", {});
            f.texts("expert/processor", {});
          });
  CHECK_THROWS_WITH_TEXT(ExpertReader(path), StorageError,
                         "a.h5': expected a complete expert, found none");
}

TEST_CASE("experts that are not complete are passed over, fields of the future ignored",
          "[storage][experts]") {
  const TemporaryFolder folder("experts-some");
  const fs::path good = merged(folder, {5, 6});
  rewrite(good, folder / "a.h5", {"expert/status"}, [](H5Writer& f) {
    f.tensor("expert/status", at::tensor({1, 2}, at::kByte));
    f.attribute("", "version_minor", std::int64_t{7});
    f.tensor("ema/values", at::ones({2}));
  });
  const ExpertReader reader(folder / "a.h5");
  REQUIRE(reader.experts() == 1);
  CHECK(at::equal(reader.snapshot(0, 1), values_of(6, 1)));
  CHECK(reader.seeds(0) == example_part(6).seeds);
}

TEST_CASE("a finished file is extended by more experts and keeps its id", "[storage][experts]") {
  const TemporaryFolder folder("experts-extend");
  const fs::path path = merged(folder, {0, 1});
  const std::string id = ExpertReader(path).id();
  ExpertInfo elsewhere = example_info();
  elsewhere.program_version = "0.2.0";
  elsewhere.processor = "another processor";
  const fs::path more = written(folder, example_part(2, 3, elsewhere));
  {
    const ExpertReader open_before(path);  // goes on reading the file it opened
    merge_experts(path, path, {more});
    CHECK(at::equal(open_before.snapshot(1, 2), values_of(1, 2)));
  }
  const ExpertReader reader(path);
  CHECK(reader.experts() == 3);
  CHECK(reader.id() == id);
  for (std::int64_t e = 0; e < 3; ++e) CHECK(at::equal(reader.snapshot(e, 1), values_of(e, 1)));
  ExpertReader two(path);
  two.keep_first(2);
  CHECK(two.experts() == 2);
  CHECK(two.id() == id);
  CHECK(at::equal(two.snapshot(1, 2), values_of(1, 2)));
  CHECK_THROWS_WITH_TEXT(two.snapshot(2, 2), StorageError, "expected expert 0 .. 1, asked for 2");
  CHECK_THROWS_WITH_TEXT(two.keep_first(3), StorageError, "expected 3 complete experts, found 2");
  CHECK(reader.info().processor == "a processor; another processor");
  CHECK(reader.info().program_version == "0.1.0; 0.2.0");
  CHECK(read_expert_summary(path).experts[2].processor == "another processor");
  CHECK(storage::verify_file(path).empty());
}

TEST_CASE("the id says what experts have in common, to the last option", "[storage][experts]") {
  const TemporaryFolder folder("experts-id");
  const fs::path path = merged(folder, {0});
  const std::string id = ExpertReader(path).id();
  CHECK(id == sha256_hex(H5Reader(path).text("identity")));
  CHECK(id == storage::expert_id(example_info()));
  CHECK_THAT(H5Reader(path).text("identity"),
             Catch::Matchers::Contains("method = sgd\n") &&
                 Catch::Matchers::Contains("option lr = 0.01\n") &&
                 Catch::Matchers::Contains("class 1 = Dreieck ▲\n") &&
                 Catch::Matchers::Contains("parameter 0 = features.0.weight [2, 1, 1, 3]\n") &&
                 Catch::Matchers::Contains("preprocessing std = 0.3333333333333333\n"));
  CHECK(ExpertReader(merged(folder, {3, 4})).id() == id);
  ExpertInfo info = example_info();
  info.options = "epochs = 3\nlr = 0.02\n";
  CHECK(ExpertReader(merged(folder, {0}, info)).id() != id);
}

TEST_CASE("the SHA-256 of experts says which they are, to the bit and in their order",
          "[storage][experts]") {
  const TemporaryFolder folder("experts-sha256");
  const auto of = [&](const std::vector<std::int64_t>& numbers) {
    return ExpertReader(merged(folder, numbers)).sha256();
  };
  const std::string both = of({0, 1});
  CHECK(of({0, 1}) == both);
  CHECK(of({1}) != of({0}));
  CHECK(of({0}) != both);
  // As lib/storage/README.md says it.
  std::string bytes;
  const ExpertReader reader(merged(folder, {0, 1}));
  for (std::int64_t e = 0; e < 2; ++e) {
    const storage::ExpertSeeds& seeds = reader.seeds(e);
    for (const std::uint64_t seed : {seeds.init, seeds.data, seeds.augment}) {
      bytes.append(reinterpret_cast<const char*>(&seed), sizeof seed);
    }
    const Tensor digests = H5Reader(folder / "experts.h5").tensor("digest/sha256")[e];
    bytes.append(static_cast<const char*>(digests.const_data_ptr()), digests.nbytes());
  }
  CHECK(sha256_hex(bytes) == both);
  ExpertReader first(folder / "experts.h5");
  first.keep_first(1);
  CHECK(first.sha256() == of({0}));

  const auto changed = [&](const std::function<void(ExpertPart&)>& change) {
    ExpertPart part = example_part(0);
    change(part);
    const fs::path path = written(folder, part);
    merge_experts(folder / "changed.h5", std::nullopt, {path});
    const ExpertReader other(folder / "changed.h5");
    CHECK(other.id() == first.id());
    return other.sha256();
  };
  CHECK(changed([](ExpertPart&) {}) == first.sha256());
  CHECK(changed([](ExpertPart& part) { part.seeds.augment = 9; }) != first.sha256());
  CHECK(changed([](ExpertPart& part) { part.snapshots[1][3] += 1; }) != first.sha256());
}

TEST_CASE("experts of different kinds are not merged, and the old file stays",
          "[storage][experts]") {
  const TemporaryFolder folder("experts-merge");
  const fs::path path = merged(folder, {0, 1});
  const std::string before = sha256_file(path);
  const auto check = [&](const std::string& text, const fs::path& part) {
    CHECK_THROWS_WITH_TEXT(merge_experts(path, path, {part}), StorageError, text);
    CHECK_THROWS_WITH_TEXT(merge_experts(path, path, {part}), StorageError, part.string());
    CHECK(sha256_file(path) == before);
  };
  const auto changed = [&](const std::function<void(ExpertInfo&)>& change) {
    ExpertInfo info = example_info();
    change(info);
    ExpertPart part = example_part(7, 0, info);
    const std::int64_t size = info.layout.size() == 1 ? 6 : kParameters;
    for (std::size_t s = 0; s < info.epochs.size(); ++s) {
      part.snapshots.push_back(at::zeros({size}));
      part.log.push_back(log_of(7, std::int64_t(s)));
    }
    part.complete = true;
    return written(folder, part);
  };
  check("option lr: '" + path.string() + "' has '0.01', found '0.02'",
        changed([](ExpertInfo& i) { i.options = "epochs = 3\nlr = 0.02\n"; }));
  check("option rho: '" + path.string() + "' has nothing, found '0.1'",
        changed([](ExpertInfo& i) { i.options += "rho = 0.1\n"; }));
  check("method: '" + path.string() + "' has 'sgd', found 'ast'",
        changed([](ExpertInfo& i) { i.recipe = "ast"; }));
  check("dataset note: ", changed([](ExpertInfo& i) { i.dataset_note = ""; }));
  check("class 0: '" + path.string() + "' has 'disk', found 'Dreieck ▲'",
        changed([](ExpertInfo& i) { std::swap(i.class_names[0], i.class_names[1]); }));
  check("parameter 1: '" + path.string() + "' has 'features.0.bias [2]', found nothing",
        changed([](ExpertInfo& i) { i.layout.pop_back(); }));
  check("preprocessing mean: '" + path.string() + "' has '0.25', found '0.5'",
        changed([](ExpertInfo& i) {
          i.preprocessing = data::Preprocessing::mean_std({0.5}, {1.0 / 3});
        }));
  check("epochs: '" + path.string() + "' has '0 1 3', found '0 1'", changed([](ExpertInfo& i) {
          i.epochs = {0, 1};
        }));
  check("store: '" + path.string() + "' has 'f32', found 'bf16'",
        changed([](ExpertInfo& i) { i.store = ExpertInfo::Store::Bf16; }));

  check("expert 0 of '" + storage::part_path(path, 1).string() +
            "' has the seeds of expert 1 of '" + path.string() +
            "': init 18446744073709551614, data 7, augment 8",
        written(folder, example_part(1)));
  check("expected a complete expert, found 1 that are not", written(folder, example_part(8, 2)));
  fs::copy_file(path, folder / "finished.h5");
  check("finished.h5': expected a part of one expert, found a finished file of 2",
        folder / "finished.h5");

  // Found late, while the experts are copied.
  const fs::path part = written(folder, example_part(9));
  std::string bytes = testing::slurp(part);
  bytes[position_of(bytes, values_of(9, 2))] ^= 0x01;
  testing::spit(part, bytes);
  check("expert 0, snapshot 2: ", part);
  CHECK_THROWS_WITH_TEXT(merge_experts(path, std::nullopt, {}), StorageError,
                         "experts.h5': expected a complete expert or more, found none to merge");
  CHECK(sha256_file(path) == before);
  for (const auto& entry : fs::directory_iterator(folder.path())) {
    CHECK_THAT(entry.path().string(), !Catch::Matchers::Contains(".tmp."));
  }
}

TEST_CASE("a part that does not fit together is not written", "[storage][experts]") {
  const TemporaryFolder folder("experts-wrong-part");
  const auto check = [&](const std::string& text, const std::function<void(ExpertPart&)>& change) {
    ExpertPart part = example_part(0);
    change(part);
    CHECK_THROWS_WITH_TEXT(write_part(folder / "a.h5", part), StorageError, text);
    CHECK_THROWS_WITH_TEXT(write_part(folder / "a.h5", part), StorageError,
                           "a.h5': cannot be written: ");
    CHECK_FALSE(fs::exists(folder / "a.h5"));
  };
  check("complete with 3 snapshots and not before; this one is complete with 2", [](ExpertPart& p) {
    p.snapshots.pop_back();
    p.log.pop_back();
  });
  check("this one is running with 3", [](ExpertPart& p) { p.complete = false; });
  check("expected 1 to 3 snapshots and a log entry for each, found 3 and 2 entries",
        [](ExpertPart& p) { p.log.pop_back(); });
  check("found 0 and 0", [](ExpertPart& p) {
    p.snapshots.clear();
    p.log.clear();
  });
  check("snapshot 1: expected 8 values of type Float, found [7]",
        [](ExpertPart& p) { p.snapshots[1] = at::zeros({7}); });
  check("snapshot 0: expected 8 values of type Float, found none",
        [](ExpertPart& p) { p.snapshots[0] = Tensor(); });
  check("'x' must have 1 to 4 positive sizes, has [2, 0]", [](ExpertPart& p) {
    p.info.layout = {{"x", {2, 0}}};
  });
  check("'x' must have 1 to 4 positive sizes, has []", [](ExpertPart& p) {
    p.info.layout = {{"x", {}}};
  });
  check("the layout must name a parameter or more", [](ExpertPart& p) { p.info.layout.clear(); });
  check("must be of epoch 0, there is none", [](ExpertPart& p) { p.info.epochs.clear(); });
  check("class names must be there", [](ExpertPart& p) { p.info.class_names.clear(); });
  check("preprocessing is for 4 pixels, the images have 9", [](ExpertPart& p) {
    p.info.preprocessing = example_zca(0.1, 0);
    p.info.image = {.channels = 1, .height = 3, .width = 3};
  });
}

TEST_CASE("experts that do not fit a run are refused by what differs", "[storage][experts]") {
  const TemporaryFolder folder("experts-fitting");
  const ExpertInfo info = example_info();
  const ExpertReader reader(merged(folder, {0}));
  // Which images are used is free: the notes differ.
  const auto dataset = example_dataset(example_dataset_info(), info.preprocessing);
  CHECK_NOTHROW(expect_fitting(reader, dataset, "ConvNet-1", info.layout));

  const auto check = [&](const std::string& text, const data::ImageDataset& other,
                         const std::string& network,
                         const std::vector<storage::ParameterLayout>& layout) {
    CHECK_THROWS_WITH_TEXT(expect_fitting(reader, other, network, layout), DataError, text);
    CHECK_THROWS_WITH_TEXT(expect_fitting(reader, other, network, layout), DataError,
                           reader.path().string());
  };
  check("network: expected 'ConvNet-1-BN', found 'ConvNet-1'", dataset, "ConvNet-1-BN",
        info.layout);
  check("parameter 1: expected 'features.0.bias [3]', found 'features.0.bias [2]'", dataset,
        "ConvNet-1", {info.layout[0], {"features.0.bias", {3}}});
  check("parameter 2: expected 'x [1]', found nothing", dataset, "ConvNet-1",
        {info.layout[0], info.layout[1], {"x", {1}}});
  check("image shape: expected '1x3x3', found '1x2x2'",
        example_dataset(example_dataset_info(), info.preprocessing, 3), "ConvNet-1", info.layout);
  data::DatasetInfo other = example_dataset_info();
  std::swap(other.class_names[0], other.class_names[1]);
  check("class 0: expected 'Dreieck ▲', found 'disk'", example_dataset(other, info.preprocessing),
        "ConvNet-1", info.layout);
  other = example_dataset_info();
  other.class_names.emplace_back("square");
  check("class 2: expected 'square', found nothing", example_dataset(other, info.preprocessing),
        "ConvNet-1", info.layout);
  other = example_dataset_info();
  other.sha256 = std::string(64, 'e');
  check("dataset SHA-256: expected 'eeee", example_dataset(other, info.preprocessing), "ConvNet-1",
        info.layout);
  check("preprocessing mean: expected '0.2500000000000001', found '0.25'",
        example_dataset(example_dataset_info(),
                        data::Preprocessing::mean_std({0.2500000000000001}, {1.0 / 3})),
        "ConvNet-1", info.layout);
  check("preprocessing: expected 'zca', found 'mean-std'",
        example_dataset(example_dataset_info(), example_zca(0.1, 0)), "ConvNet-1", info.layout);
}

TEST_CASE("experts trained on whitened images carry the matrices to the bit",
          "[storage][experts]") {
  const TemporaryFolder folder("experts-zca");
  ExpertInfo info = example_info();
  info.preprocessing = example_zca(0.1, 0.01);
  const ExpertReader reader(merged(folder, {0, 1}, info));
  const data::ZcaMatrices& found = reader.info().preprocessing.zca_matrices();
  const data::ZcaMatrices& expected = info.preprocessing.zca_matrices();
  CHECK(found.eps == 0.1);
  CHECK(at::equal(found.mean, expected.mean));
  CHECK(at::equal(found.whiten, expected.whiten));
  CHECK(at::equal(found.inverse, expected.inverse));
  const auto fits = [&](const data::Preprocessing& preprocessing) {
    expect_fitting(reader, example_dataset(example_dataset_info(), preprocessing), "ConvNet-1",
                   info.layout);
  };
  CHECK_NOTHROW(fits(example_zca(0.1, 0.01)));
  CHECK_THROWS_WITH_TEXT(fits(example_zca(0.2, 0.01)), DataError,
                         "preprocessing eps: expected '0.2', found '0.1'");
  CHECK_THROWS_WITH_TEXT(fits(example_zca(0.1, 0.02)), DataError,
                         "preprocessing matrices: expected 'SHA-256 ");
}

namespace {

/// Largest resident set since the last call, in bytes; nothing where the kernel does not say.
std::optional<double> peak_since_last() {
  double kilobytes = 0;
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word == "VmHWM:") status >> kilobytes;
  }
  std::ofstream reset("/proc/self/clear_refs");
  reset << "5" << std::flush;
  if (!reset || kilobytes == 0) return std::nullopt;
  return kilobytes * 1024;
}

}  // namespace

TEST_CASE("merging, reading and verifying hold a few snapshots, however many experts there are",
          "[storage][experts]") {
  const TemporaryFolder folder("experts-memory");
  const std::int64_t size = 1 << 18;  // 1 MB a snapshot, 96 MB in all
  ExpertInfo info = example_info();
  info.layout = {{"weight", {1 << 9, 1 << 9}}};
  info.epochs = {0, 1, 2, 3, 4, 5, 6, 7};
  std::vector<fs::path> parts;
  for (std::int64_t number = 0; number < 12; ++number) {
    ExpertPart part = example_part(number, 0, info);
    for (std::int64_t s = 0; s < 8; ++s) {
      part.snapshots.push_back(values_of(number, s, size));
      part.log.push_back(log_of(number, s));
    }
    part.complete = true;
    parts.push_back(written(folder, part));
  }
  peak_since_last();
  const auto before = peak_since_last();
  if (!before) {
    WARN("SKIPPED: this kernel does not tell peaks of memory");
    return;
  }
  merge_experts(folder / "experts.h5", std::nullopt, parts);
  const ExpertReader reader(folder / "experts.h5");
  for (std::int64_t e = 0; e < 12; ++e) {
    for (std::int64_t s = 0; s < 8; ++s) {
      CHECK(at::equal(reader.snapshot(e, s), values_of(e, s, size)));
    }
  }
  CHECK(storage::verify_file(folder / "experts.h5").empty());
  // A block of 16 MB while it is hashed, a cache of four snapshots per open file, some copies.
  CHECK(*peak_since_last() - *before < 40e6);
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
