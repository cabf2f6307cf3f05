#include "lib/storage/exchange.h"

#include "lib/core/error.h"
#include "lib/core/rng.h"
#include "lib/storage/pickle.h"
#include "lib/storage/zip.h"
#include "tests/storage/support.h"
#include "tests/support/catch.h"

using namespace retort;
using storage::read_pt;
using storage::write_npz;
using storage::write_pt;
using testing::TemporaryFolder;

namespace {

std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(RETORT_TEST_DATA) / "storage" / name;
}

// What make_pt_fixtures.py calls images.
Tensor images() { return at::arange(18, at::kFloat).reshape({2, 1, 3, 3}).div(4); }
Tensor labels() { return at::tensor({0, 1}, at::kLong); }

std::vector<std::string> names(const std::map<std::string, Tensor>& tensors) {
  std::vector<std::string> result;
  for (const auto& entry : tensors) result.push_back(entry.first);
  return result;
}

bool same(const Tensor& a, const Tensor& b) {
  return a.scalar_type() == b.scalar_type() && at::equal(a, b);
}

/// An archive with this pickle and one storage "0" of 24 bytes.
void make_pt(const std::filesystem::path& path, const std::string& dict) {
  storage::ZipWriter::create(path, [&](storage::ZipWriter& archive) {
    archive.add("a/data.pkl", {dict});
    archive.add("a/data/0", {std::string(24, '\1')});
  });
}

std::string little(std::uint32_t value) {
  return {char(value), char(value >> 8), char(value >> 16), char(value >> 24)};
}

std::string text(const std::string& value) {
  return "X" + little(std::uint32_t(value.size())) + value;
}

std::string tuple(const std::vector<std::int64_t>& values) {
  std::string out = "(";
  for (const std::int64_t value : values) {
    out += "\x8a\x08" + little(std::uint32_t(value)) + little(std::uint32_t(value >> 32));
  }
  return out + "t";
}

/// A pickled tensor on storage "0" of six floats, as torch.save writes it.
std::string tensor(const std::vector<std::int64_t>& sizes, const std::vector<std::int64_t>& strides,
                   std::uint32_t offset = 0, std::uint32_t numel = 6,
                   const std::string& storage_class = "FloatStorage") {
  return "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\n" + storage_class +
         "\n" + text("0") + text("cpu") + "J" + little(numel) + "tQJ" + little(offset) +
         tuple(sizes) + tuple(strides) + "\x89" + "ccollections\nOrderedDict\n)RtR";
}

}  // namespace

TEST_CASE("what torch.save writes for tensors in containers is read", "[storage][exchange]") {
  CHECK(same(read_pt(fixture("tensor.pt")).at("0"), images()));

  const auto dict = read_pt(fixture("dict.pt"));
  CHECK(names(dict) == std::vector<std::string>{"images", "labels"});
  CHECK(same(dict.at("images"), images()));
  CHECK(same(dict.at("labels"), labels()));

  const auto dc = read_pt(fixture("dc.pt"));
  CHECK(names(dc) == std::vector<std::string>{"data/0/0", "data/0/1", "data/1/0", "data/1/1"});
  CHECK(same(dc.at("data/0/0"), images()));
  CHECK(same(dc.at("data/1/0"), images().add(1)));
  CHECK(same(dc.at("data/1/1"), labels()));

  const auto ordered = read_pt(fixture("ordered.pt"));
  CHECK(ordered.size() == 7);
  CHECK(same(ordered.at("0.weight"), at::arange(18, at::kFloat).reshape({2, 1, 3, 3})));
  CHECK(same(ordered.at("1.bias"), at::tensor({300.f, 301.f})));
  CHECK(same(ordered.at("1.running_var"), at::ones({2})));
  CHECK(same(ordered.at("1.num_batches_tracked"), at::scalar_tensor(0, at::kLong)));

  CHECK(same(read_pt(fixture("parameter.pt")).at("a/w"), images()[0][0]));
}

TEST_CASE("views are read as tensors of their own", "[storage][exchange]") {
  const Tensor base = at::arange(24, at::kDouble).reshape({4, 6});
  const auto views = read_pt(fixture("views.pt"));
  CHECK(views.size() == 7);
  CHECK(same(views.at("transposed"), base.t()));
  CHECK(same(views.at("slice"), base.slice(0, 1, 3).slice(1, 0, 6, 2)));
  CHECK(same(views.at("expanded"), at::zeros({5}, at::kDouble)));
  CHECK(same(views.at("scalar"), base[3][5]));
  CHECK(same(views.at("empty"), at::zeros({0, 6}, at::kDouble)));
  CHECK(same(views.at("7"), base.select(1, 0)));
  CHECK(same(views.at("tuple/0"), base[0]));
  for (const auto& [name, view] : views) {
    INFO(name);
    CHECK(view.is_contiguous());
    CHECK(view.storage().nbytes() == view.nbytes());
  }
}

TEST_CASE("every element type of torch.save is read", "[storage][exchange]") {
  const auto types = read_pt(fixture("types.pt"));
  CHECK(types.size() == 10);
  const Tensor centred = at::arange(5, at::kLong).sub(2);
  CHECK(same(types.at("uint8"), at::arange(5, at::kByte)));
  CHECK(same(types.at("bool"), at::arange(5, at::kLong).to(at::kBool)));
  CHECK(same(types.at("int8"), centred.to(at::kChar)));
  CHECK(same(types.at("int16"), centred.to(at::kShort)));
  CHECK(same(types.at("int32"), centred.to(at::kInt)));
  CHECK(same(types.at("int64"), centred));
  CHECK(same(types.at("float16"), centred.to(at::kHalf)));
  CHECK(same(types.at("bfloat16"), centred.to(at::kBFloat16)));
  CHECK(same(types.at("float32"), centred.to(at::kFloat)));
  CHECK(same(types.at("float64"), centred.to(at::kDouble)));
}

TEST_CASE("what was written comes back", "[storage][exchange]") {
  const TemporaryFolder folder("exchange-pt");
  const std::vector<std::pair<std::string, Tensor>> tensors{
      {"images", at::rand({3, 2}, at::kDouble).t()},
      {"labels", labels()},
      {"bytes", at::arange(7, at::kByte)},
      {"lr", at::scalar_tensor(0.5)},
      {"none", at::zeros({0, 4})}};
  write_pt(folder / "a.pt", tensors);
  const auto read = read_pt(folder / "a.pt");
  REQUIRE(read.size() == tensors.size());
  for (const auto& [name, tensor] : tensors) CHECK(same(read.at(name), tensor));
  write_pt(folder / "b.pt", tensors);
  CHECK(testing::slurp(folder / "a.pt") == testing::slurp(folder / "b.pt"));
}

TEST_CASE("files that torch.save writes for other things are refused by name",
          "[storage][exchange]") {
  const auto check = [](const std::string& name, const std::string& text) {
    CHECK_THROWS_WITH_TEXT(read_pt(fixture(name)), StorageError, text);
    CHECK_THROWS_WITH_TEXT(read_pt(fixture(name)), StorageError, name);
  };
  check("legacy.pt", "torch.save(torch.load(FILE), NEW_FILE)");
  check("evil.pt", "it needs '__builtin__.print'");
  check("numpy.pt", "it needs 'numpy._core.multiarray._reconstruct'");
  check("no_tensor.pt", "holds no tensor");
  check("script.pt", "is a TorchScript program");
  check("missing.pt", "cannot be opened");
  check("make_pt_fixtures.py", "is no zip archive of torch.save");
}

TEST_CASE("a damaged or cut archive is refused", "[storage][exchange]") {
  const TemporaryFolder folder("exchange-damage");
  const auto path = folder / "a.pt";
  const std::string bytes = testing::slurp(fixture("dict.pt"));
  for (std::size_t length = 0; length < bytes.size(); length += 97) {
    testing::spit(path, bytes.substr(0, length));
    CHECK_THROWS_AS(read_pt(path), StorageError);
  }
  int refused = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::string damaged = bytes;
    damaged[i] = char(damaged[i] ^ 0x21);
    testing::spit(path, damaged);
    try {
      const auto read = read_pt(path);
      INFO("byte " << i);
      REQUIRE(read.contains("images"));
      CHECK(same(read.at("images"), images()));
    } catch (const StorageError&) {
      ++refused;
    }
  }
  CHECK(refused > 115);  // pickle and numbers alone are three times as many bytes
}

TEST_CASE("tensors that reach outside of their storage are refused", "[storage][exchange]") {
  const TemporaryFolder folder("exchange-views");
  const auto path = folder / "a.pt";
  const auto read = [&](const std::string& value) {
    make_pt(path, "\x80\x02" + value + ".");
    return read_pt(path);
  };
  CHECK(read(tensor({2, 3}, {3, 1})).at("0").sizes() == at::IntArrayRef{2, 3});
  CHECK_THROWS_WITH_TEXT(read(tensor({2, 3}, {3, 1}, 1)), StorageError, "outside of its storage");
  CHECK_THROWS_WITH_TEXT(read(tensor({7}, {1})), StorageError, "outside of its storage");
  CHECK_THROWS_WITH_TEXT(read(tensor({2}, {6})), StorageError, "outside of its storage");
  CHECK_THROWS_WITH_TEXT(read(tensor({0}, {1}, 7)), StorageError, "outside of its storage");
  CHECK_THROWS_WITH_TEXT(read(tensor({-1}, {1})), StorageError, "must not be negative");
  CHECK_THROWS_WITH_TEXT(read(tensor({2}, {-1})), StorageError, "must not be negative");
  CHECK_THROWS_WITH_TEXT(read(tensor({2}, {1, 1})), StorageError, "one stride per dimension");
  CHECK_THROWS_WITH_TEXT(read(tensor({1LL << 40, 1LL << 40}, {0, 0})), StorageError,
                         "it is too large");
  CHECK_THROWS_WITH_TEXT(read(tensor({1LL << 32}, {0})), StorageError, "far larger than the file");
  CHECK_THROWS_WITH_TEXT(read(tensor({2}, {1}, 0, 7)), StorageError,
                         "expected 7 elements, found 24 bytes");
  CHECK_THROWS_WITH_TEXT(read(tensor({2}, {1}, 0, 6, "QInt8Storage")), StorageError,
                         "it needs 'torch.QInt8Storage'");
  CHECK_THROWS_WITH_TEXT(read("(" + tensor({2}, {1}) + tensor({2}, {1}, 0, 3) + "t"), StorageError,
                         "described in two ways");
}

TEST_CASE("pickles outside of the known language are refused", "[storage][exchange]") {
  const TemporaryFolder folder("exchange-pickle");
  const auto path = folder / "a.pt";
  const auto check = [&](const std::string& dict, const std::string& message) {
    make_pt(path, dict);
    INFO(message);
    CHECK_THROWS_WITH_TEXT(read_pt(path), StorageError, message);
  };
  check("cos\nsystem\n" + text("true") + "\x85R.", "it needs 'os.system'");
  check(text("os") + text("system") + "\x93.", "it needs 'os.system'");
  check("\x80\x06N.", "newer than 5");
  check("i.", "opcode 105 is not known");
  check("", "ends too early");
  check("X" + little(1U << 30) + "a", "ends too early");
  check("t.", "a mark is missing");
  check("a.", "a value is missing");
  check(".", "a value is missing");
  check("h\x05.", "was not stored");
  check("\x8a\x09" + std::string(9, '\1') + ".", "above 64 bits");
  check("NNa.", "expected a list to append to");
  check("](Nu.", "expected a dict");
  check("(" + text("module") + "tQ.", "description of a storage");
  check("ctorch\nFloatStorage\n)R.", "'torch.FloatStorage' cannot be called");
  check("N)R.", "expected something to call");
  check("}N" + tensor({2}, {1}) + "s.", "keys of dicts must be texts or integers");
  check("}" + text("a/b") + tensor({2}, {1}) + "s" + text("a") + "}" + text("b") +
            tensor({2}, {1}) + "ss.",
        "two tensors are called 'a/b'");
  check(
      "]q\x01h\x01"
      "a.",
      "nested too deeply");  // a list in itself
  // Thirty lists, each holding the one before twice: a billion leaves.
  std::string bomb = "]";
  for (int i = 0; i < 30; ++i)
    bomb += std::string("q") + char(i) + "]h" + char(i) + "ah" + char(i) + "a";
  check(bomb + ".", "nested too deeply");
}

TEST_CASE("a scrambled pickle is read or refused, and nothing else happens",
          "[storage][exchange]") {
  const storage::ZipReader archive(fixture("views.pt"));
  const std::string original(archive.read("views/data.pkl"));
  const auto make_tensor = [](const storage::pickle::View&) { return at::zeros({1}); };
  Rng rng = Rng(1).child("scramble");
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string scrambled = original;
    for (int k = 0; k < 1 + i % 4; ++k) {
      scrambled[std::size_t(rng.integer(std::int64_t(original.size())))] = char(rng.integer(256));
    }
    try {
      storage::pickle::Reader(scrambled, make_tensor).read();
    } catch (const StorageError&) {
      ++refused;
    }
  }
  CHECK(refused > 1000);
  CHECK(refused < 3000);
}

TEST_CASE("archives that are not plain are refused", "[storage][exchange]") {
  const TemporaryFolder folder("exchange-zip");
  const auto path = folder / "a.zip";
  storage::ZipWriter::create(path, [](storage::ZipWriter& archive) {
    archive.add("a", {"first", "second"});
    archive.add("b", {""});
  });
  const storage::ZipReader reader(path);
  CHECK(reader.names() == std::vector<std::string>{"a", "b"});
  CHECK(reader.read("a") == "firstsecond");
  CHECK(reader.read("b").empty());
  CHECK_THROWS_WITH_TEXT(reader.read("c"), StorageError, "entry 'c' is missing");

  const std::string bytes = testing::slurp(path);
  const std::size_t record = bytes.find("PK\x01\x02");
  const auto with_field = [&](std::size_t at, const std::string& value) {
    std::string changed = bytes;
    changed.replace(record + at, value.size(), value);
    testing::spit(path, changed);
    return storage::ZipReader(path);
  };
  CHECK_THROWS_WITH_TEXT(with_field(8, "\x01"), StorageError, "'a' is encrypted");
  CHECK_THROWS_WITH_TEXT(with_field(10, "\x08").read("a"), StorageError, "'a' is compressed");
  CHECK_THROWS_WITH_TEXT(with_field(20, little(99) + little(99)), StorageError,
                         "'a' lies outside of the file");
  CHECK_THROWS_WITH_TEXT(with_field(20, std::string(8, '\xff')), StorageError, "'a' needs zip64");
  CHECK_THROWS_WITH_TEXT(with_field(42, little(5)), StorageError, "'a' has no header");
  CHECK_THROWS_WITH_TEXT(with_field(46, "b"), StorageError, "'b' occurs twice");
  CHECK_THROWS_WITH_TEXT(with_field(16, little(0)).read("a"), StorageError, "its CRC-32 is wrong");
  CHECK_THROWS_WITH_TEXT(with_field(0, "XX"), StorageError,
                         "directory of the zip archive is damaged");
  CHECK_THROWS_WITH_TEXT(storage::ZipWriter::create(path,
                                                    [](storage::ZipWriter& archive) {
                                                      archive.add("a", {});
                                                      archive.add("a", {});
                                                    }),
                         StorageError, "a short name that occurs once");
}

TEST_CASE("tensors that no other program knows are not exchanged", "[storage][exchange]") {
  const TemporaryFolder folder("exchange-writer");
  CHECK_THROWS_WITH_TEXT(write_pt(folder / "a.pt", {{"x", Tensor()}}), StorageError,
                         "a.pt': tensor 'x' is undefined");
  CHECK_THROWS_WITH_TEXT(write_pt(folder / "a.pt", {{"x", labels()}, {"x", labels()}}),
                         StorageError, "name 'x' occurs twice");
  CHECK_THROWS_WITH_TEXT(write_pt(folder / "a.pt", {{"x", at::zeros({2}, at::kComplexFloat)}}),
                         StorageError, "ComplexFloat have no storage class");
  CHECK_THROWS_WITH_TEXT(write_npz(folder / "a.npz", {{"x", at::zeros({2}, at::kBFloat16)}}),
                         StorageError, "tensor 'x': NumPy has no type for BFloat16");
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("NumPy reads what write_npz wrote", "[storage][exchange]") {
  const TemporaryFolder folder("exchange-npz");
  const std::string python = testing::find_python("numpy");
  if (python.empty()) {
    WARN("SKIPPED: no python3 with numpy on this machine");
    return;
  }
  write_npz(folder / "a.npz", {{"images", at::arange(6, at::kFloat).reshape({2, 3}).t()},
                               {"labels", labels()},
                               {"mask", at::ones({2}, at::kBool)},
                               {"scalar", at::scalar_tensor(1.5, at::kDouble)}});
  testing::spit(folder / "check.py", R"(
import numpy as np, sys, zipfile
assert zipfile.ZipFile(sys.argv[1]).testzip() is None
a = np.load(sys.argv[1])
for n in a.files: print(n, a[n].dtype, a[n].tolist())
)");
  int status = 0;
  const std::string output =
      testing::run_python(python, folder / "check.py", (folder / "a.npz").string(), status);
  CHECK(status == 0);
  CHECK(output ==
        "images float32 [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]\n"
        "labels int64 [0, 1]\nmask bool [True, True]\nscalar float64 1.5\n");
}

TEST_CASE("PyTorch reads what write_pt wrote, with its safe default", "[storage][exchange]") {
  const TemporaryFolder folder("exchange-torch");
  const std::string python = testing::find_python("torch");
  if (python.empty()) {
    WARN("SKIPPED: no python3 with torch on this machine");
    return;
  }
  write_pt(folder / "a.pt", {{"images", images()},
                             {"labels", labels()},
                             {"lr", at::scalar_tensor(0.5)},
                             {"none", at::zeros({0, 4}, at::kDouble)}});
  testing::spit(folder / "check.py", R"(
import sys, torch
for n, t in torch.load(sys.argv[1], weights_only=True).items(): print(n, t.dtype, list(t.shape), t.sum().item())
)");
  int status = 0;
  const std::string output =
      testing::run_python(python, folder / "check.py", (folder / "a.pt").string(), status);
  CHECK(status == 0);
  CHECK(output ==
        "images torch.float32 [2, 1, 3, 3] 38.25\nlabels torch.int64 [2] 1\n"
        "lr torch.float32 [] 0.5\nnone torch.float64 [0, 4] 0.0\n");
}
