#include "tests/golden/golden.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <sstream>

#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/str.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

namespace {

using namespace retort;
using namespace retort::testing::golden;
using Catch::Matchers::Contains;
using storage::H5Reader;
using storage::H5Writer;
using Parts = std::set<std::string>;

const std::filesystem::path kSource = RETORT_GOLDEN_SOURCE_DIR;

/// RETORT_GOLDEN_DIR, or the folder of the source tree.
std::filesystem::path golden_folder() {
  const char* chosen = std::getenv("RETORT_GOLDEN_DIR");
  return chosen != nullptr && *chosen != '\0' ? chosen : kSource;
}

/// What the files of the source tree hold beyond what the program computes.
Parts without_code(const std::string& name) {
  const std::map<std::string, Parts> parts{{"dsa_siamese_pair.h5", {"outputs/op_table"}},
                                           {"fkd_mix_kl_lpld.h5", {"lpld"}},
                                           {"idc_matchloss.h5", {"feat_l1", "feat_mse"}}};
  const auto found = parts.find(name);
  return found == parts.end() ? Parts{} : found->second;
}

struct Checked {
  Parts skipped;
  std::string printed;  ///< on stdout
};

Checked check_quietly(const std::filesystem::path& path) {
  std::ostringstream text;
  const std::shared_ptr<std::streambuf> restored(std::cout.rdbuf(text.rdbuf()),
                                                 [](auto* before) { std::cout.rdbuf(before); });
  const Parts skipped = check_file(path);
  return {skipped, text.str()};
}

/// This program's comparison with the papers' numbers, with RETORT_GOLDEN_DIR set.
testing::ProcessResult compare_folder(const std::filesystem::path& folder) {
  const auto program = std::filesystem::read_symlink("/proc/self/exe").string();
  testing::Process process({program, "the numbers of the papers' own code come out"}, folder,
                           {"RETORT_GOLDEN_DIR=" + folder.string()});
  return process.wait();
}

/// Makes a file of an unknown kind.
void write_unknown_kind(const std::filesystem::path& path) {
  H5Writer::create(path, [](H5Writer& file) { file.attribute("", "kind", "unheard_of"); });
}

}  // namespace

TEST_CASE("the numbers of the papers' own code come out", "[golden]") {
  const auto folder = golden_folder();
  for (const auto& path : golden_files(folder)) {
    const std::string name = path.filename().string();
    DYNAMIC_SECTION(name) {
      const Parts skipped = check_file(path);
      if (folder == kSource) CHECK(skipped == without_code(name));
    }
  }
}

TEST_CASE("the golden files of the source tree serve every handler", "[golden]") {
  std::set<std::string> kinds;
  for (const auto& path : golden_files(RETORT_GOLDEN_SOURCE_DIR)) {
    kinds.insert(GoldenFile(path).kind());
  }
  for (const Handler& handler : handlers()) {
    INFO(handler.kind);
    CHECK(kinds.count(handler.kind) == 1);
  }
}

TEST_CASE("a missing or empty golden folder is an error, not a success", "[golden]") {
  const testing::TemporaryFolder folder("retort-golden-empty");
  CHECK_THROWS_WITH_TEXT(golden_files(folder.path()), StorageError,
                         "expected .h5 files, found none");
  CHECK_THROWS_WITH_TEXT(golden_files(folder.path() / "absent"), StorageError,
                         "No such file or directory");
}

TEST_CASE("an unreadable golden file is an error", "[golden]") {
  const testing::TemporaryFolder folder("retort-golden-unreadable");
  std::ofstream(folder.path() / "noise.h5") << "this is not HDF5";
  CHECK_THROWS_WITH_TEXT(check_file(folder.path() / "noise.h5"), StorageError, "noise.h5");
}

TEST_CASE("a golden file of a kind without code is reported as skipped", "[golden]") {
  const testing::TemporaryFolder folder("retort-golden-unknown-kind");
  const auto path = folder.path() / "made_up.h5";
  write_unknown_kind(path);
  const Checked result = check_quietly(path);
  CHECK(result.skipped == Parts{""});
  CHECK(result.printed == "golden: SKIPPED made_up.h5: no code serves kind 'unheard_of'\n");
}

TEST_CASE("RETORT_GOLDEN_DIR chooses the folder: its files are checked or skipped by name",
          "[golden]") {
  const testing::TemporaryFolder folder("retort-golden-chosen");
  const auto known = folder.path() / "dm.h5";
  write_unknown_kind(folder.path() / "made_up.h5");
  std::filesystem::copy_file(kSource / "dm_instancenorm.h5", known);
  const auto good = compare_folder(folder.path());
  INFO(good.out << good.err);
  CHECK(good.exit_code == 0);
  CHECK_THAT(good.out, Contains("SKIPPED made_up.h5: no code serves kind 'unheard_of'"));
  CHECK_THAT(good.out, !Contains("dm.h5"));

  // The same file with another loss.
  const double loss = GoldenFile(known).number("outputs/loss");
  const double other = 1.001 * loss;
  std::string bytes = read_text(known);
  const auto place = bytes.find(std::string(reinterpret_cast<const char*>(&loss), sizeof loss));
  REQUIRE(place != std::string::npos);
  std::memcpy(bytes.data() + place, &other, sizeof other);
  std::ofstream(known, std::ios::binary) << bytes;
  REQUIRE(GoldenFile(known).number("outputs/loss") == other);
  const auto bad = compare_folder(folder.path());
  CHECK(bad.exit_code != 0);
  CHECK_THAT(bad.out, Contains("golden file dm.h5, kind dm"));
}

TEST_CASE("what no code reads of a golden file is reported as skipped by name", "[golden]") {
  const testing::TemporaryFolder folder("retort-golden-unread");
  const auto path = folder.path() / "more.h5";
  H5Writer::create(path, [](H5Writer& file) {
    file.attribute("", "kind", "zca_metrics_herding");
    // The means of the two classes are 2 and 3.
    const Tensor features = at::tensor({0.0, 1.0, 5.0, 0.0, 4.0, 5.0}, at::kDouble).view({6, 1});
    file.tensor("herding/features", features);
    file.tensor("herding/labels", at::tensor({0, 0, 0, 1, 1, 1}, at::kLong));
    file.tensor("herding/ipc1", at::tensor({1, 4}, at::kLong).view({2, 1}));
    file.tensor("herding/radius", at::ones({2}));
    file.tensor("herding/draws/00", at::ones({2}));
    file.tensor("curvature/net/flat", at::ones({2}));
    file.tensor("curvature/loss", at::scalar_tensor(1.0));
    file.tensor("scores", at::ones({3}));
  });
  const Checked result = check_quietly(path);
  CHECK(result.skipped == Parts{"curvature", "herding/radius", "scores"});
  for (const std::string part : {"curvature", "herding/radius", "scores"}) {
    const std::string line = "SKIPPED more.h5 part " + part + ": nothing is compared with it\n";
    CHECK_THAT(result.printed, Contains(line));
  }
}

namespace {

/// A copy whose images are stored mirrored and are mirrored back by the augmentation of every
/// class, so that all else stays as the papers' code computed it.
void write_mirrored(const std::filesystem::path& from, const std::filesystem::path& to) {
  const H5Reader source(from);
  const Parts mirrored{"real", "syn", "grad_syn", "syn_after_step"};
  H5Writer::create(to, [&](H5Writer& file) {
    for (const std::string name : {"kind", "norm", "reduction"}) {
      if (source.has_attribute("", name)) {
        file.attribute("", name, source.text_attribute("", name));
      }
    }
    for (const std::string name : {"task_balance", "lr_img", "momentum"}) {
      if (source.has_attribute("", name)) {
        file.attribute("", name, source.double_attribute("", name));
      }
    }
    for (const std::string& path : source.datasets()) {
      if (path.ends_with("/names")) {
        file.texts(path, source.texts(path));
        continue;
      }
      const Tensor values = source.tensor(path);
      file.tensor(path, mirrored.count(path.substr(path.rfind('/') + 1)) > 0
                            ? values.flip(-1).contiguous()
                            : values);
    }
    const Tensor real = source.tensor("inputs/real");
    for (std::int64_t c = 0; c < real.size(0); ++c) {
      const std::string group = str("aug/class", c);
      file.group(group);
      file.attribute(group, "op", "flip");
      file.tensor(group + "/op_index", at::scalar_tensor(3, at::kLong));
      file.tensor(group + "/u_flip", at::full({1}, 0.25, at::kDouble));
      file.tensor(group + "/real", real[c].contiguous());
    }
  });
}

}  // namespace

TEST_CASE("files of every matching method may hold an augmentation", "[golden]") {
  const testing::TemporaryFolder folder("retort-golden-augmented");
  for (const std::string name : {"datadam_batchnorm.h5", "datadam_instancenorm.h5",
                                 "dc_batchnorm.h5", "dc_instancenorm.h5", "dm_instancenorm.h5"}) {
    INFO(name);
    write_mirrored(kSource / name, folder.path() / name);
    CHECK(check_file(folder.path() / name).empty());
  }
}
