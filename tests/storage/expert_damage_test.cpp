// Files of experts that are damaged, or break a rule.
#include <functional>
#include <limits>
#include <set>

#include <hdf5.h>

#include "lib/core/error.h"
#include "lib/core/hash.h"
#include "lib/storage/expert_file.h"
#include "lib/storage/hdf5.h"
#include "lib/storage/set_file.h"
#include "tests/storage/expert_examples.h"
#include "tests/support/catch.h"

using namespace retort;
using storage::ExpertPart;
using storage::ExpertReader;
using storage::H5Reader;
using storage::H5Writer;
using storage::read_part;
using namespace retort::testing;
namespace fs = std::filesystem;

namespace {

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

}  // namespace

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
