// Which experts go into a file together, and with which runs.
#include <fstream>
#include <functional>
#include <optional>

#include "lib/core/error.h"
#include "lib/core/hash.h"
#include "lib/storage/expert_file.h"
#include "lib/storage/hdf5.h"
#include "lib/storage/set_file.h"
#include "tests/storage/expert_examples.h"
#include "tests/support/catch.h"

using namespace retort;
using storage::ExpertInfo;
using storage::ExpertPart;
using storage::ExpertReader;
using storage::H5Reader;
using storage::merge_experts;
using storage::read_expert_summary;
using storage::write_part;
using namespace retort::testing;
namespace fs = std::filesystem;

namespace {

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
