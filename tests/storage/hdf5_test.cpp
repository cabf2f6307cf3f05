#include "lib/storage/hdf5.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include <hdf5.h>

#include "lib/core/error.h"
#include "lib/core/hash.h"
#include "tests/storage/support.h"
#include "tests/support/catch.h"

using namespace retort;
using storage::H5Reader;
using storage::H5Writer;
using testing::TemporaryFolder;

namespace {

bool same_bits(const Tensor& a, const Tensor& b) {
  const Tensor x = a.contiguous();
  const Tensor y = b.contiguous();
  return x.sizes() == y.sizes() && x.scalar_type() == y.scalar_type() &&
         std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0;
}

/// A file made by the plain C library, for what H5Writer would never write.
template <class Fill>
void make_file(const std::filesystem::path& path, Fill fill) {
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  fill(file);
  H5Fclose(file);
}

void make_dataset(hid_t file, const char* name, hid_t type, std::vector<hsize_t> dims,
                  hid_t creation = H5P_DEFAULT) {
  const hid_t space = H5Screate_simple(int(dims.size()), dims.data(), nullptr);
  const hid_t dataset = H5Dcreate2(file, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
  H5Dclose(dataset);
  H5Sclose(space);
}

void make_text_attribute(hid_t object, const char* name, const char* text) {
  const hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, std::strlen(text) + 1);
  const hid_t space = H5Screate(H5S_SCALAR);
  const hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, type, text);
  H5Aclose(attribute);
  H5Sclose(space);
  H5Tclose(type);
}

}  // namespace

TEST_CASE("tensors of every stored type and rank come back to the bit", "[storage][hdf5]") {
  const TemporaryFolder folder("hdf5-types");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  std::map<std::string, Tensor> tensors;
  for (const auto type : {at::kByte, at::kChar, at::kShort, at::kInt, at::kLong, at::kHalf,
                          at::kBFloat16, at::kFloat, at::kDouble, at::kBool}) {
    const Tensor values = at::arange(24, at::kDouble).sub(type == at::kByte ? 0 : 11);
    const std::string name = c10::toString(type);
    tensors[name + "/matrix"] = values.to(type).reshape({2, 3, 4});
    tensors[name + "/scalar"] = values[5].to(type);
    tensors[name + "/empty"] = at::empty({0, 3}, type);
  }
  tensors["special"] = at::tensor({nan, -0.0, 1e-310, -std::numeric_limits<double>::infinity()});
  tensors["strided"] = at::arange(12, at::kFloat).reshape({3, 4}).t();
  // Several chunks, the last one not full.
  tensors["large"] = at::arange(700 * 1009, at::kFloat).reshape({700, 1009});
  H5Writer::create(folder / "a.h5", [&](H5Writer& file) {
    for (const auto& [name, value] : tensors) file.tensor(name, value);
  });
  const H5Reader file(folder / "a.h5");
  for (const auto& [name, value] : tensors) {
    INFO(name);
    CHECK(same_bits(file.tensor(name), value));
    CHECK(file.dataset_shape(name) == value.sizes().vec());
    CHECK(file.payload_bytes(name) == value.nbytes());
  }
  // Padding of the last chunk stays small, checksums are 4 bytes a chunk.
  CHECK(double(file.stored_bytes("large")) < 1.01 * double(tensors["large"].nbytes()));
  CHECK(file.stored_bytes("large") > tensors["large"].nbytes());
  CHECK(file.verify().empty());
  CHECK(file.sha256("Double/scalar") ==
        sha256_hex({static_cast<const char*>(tensors["Double/scalar"].const_data_ptr()), 8}));
}

TEST_CASE("a matrix grows row by row, and any rows of it can be read", "[storage][hdf5]") {
  const TemporaryFolder folder("hdf5-growing");
  const Tensor all = at::arange(23 * 5, at::kFloat).reshape({23, 5}).to(at::kHalf);
  const auto write = [&](const std::string& name, const std::vector<std::int64_t>& pieces) {
    H5Writer::create(folder / name, [&](H5Writer& file) {
      file.growing("a/values", at::kHalf, 5, 4);
      file.text("b", "between");
      for (const Tensor& rows : all.split_with_sizes(pieces)) file.append("a/values", rows);
    });
  };
  write("a.h5", {4, 1, 9, 0, 9});
  const H5Reader file(folder / "a.h5");
  CHECK(same_bits(file.tensor("a/values"), all));
  CHECK(file.verify().empty());
  CHECK(file.damage({"a/values"}).empty());
  const std::vector<std::pair<int, int>> ranges{{0, 23}, {3, 9}, {22, 23}, {7, 7}};
  for (const auto& [begin, end] : ranges) {
    CHECK(same_bits(file.rows("a/values", begin, end), all.slice(0, begin, end)));
  }
  CHECK_THROWS_WITH_TEXT(file.rows("a/values", 20, 24), StorageError,
                         "has shape [23, 5], no rows 20 .. 24");
  CHECK_THROWS_WITH_TEXT(file.rows("a/values", -1, 2), StorageError, "no rows -1 .. 2");
  // How it was cut leaves no trace in the contents.
  write("b.h5", {23});
  CHECK(H5Reader(folder / "b.h5").sha256("a/values") == file.sha256("a/values"));

  const auto refuse = [&](const std::string& text, const std::function<void(H5Writer&)>& change) {
    CHECK_THROWS_WITH_TEXT(H5Writer::create(folder / "c.h5",
                                            [&](H5Writer& out) {
                                              out.growing("a", at::kHalf, 5, 4);
                                              change(out);
                                            }),
                           StorageError, text);
  };
  refuse("'a': expected shape [5] of type Half, found [4] of type Half", [](H5Writer& f) {
    f.append("a", at::zeros({2, 4}, at::kHalf));
  });
  refuse("'a': expected shape [5] of type Half, found [5] of type Float", [](H5Writer& f) {
    f.append("a", at::zeros({2, 5}));
  });
  refuse("'a': expected rows [n, 5], found [5]",
         [](H5Writer& f) { f.append("a", at::zeros({5}, at::kHalf)); });
  refuse("'b': is no matrix that grows", [](H5Writer& f) { f.append("b", at::zeros({1, 5})); });
  refuse("positive sizes", [](H5Writer& f) { f.growing("b", at::kHalf, 0, 4); });
  refuse("a chunk may have", [](H5Writer& f) { f.growing("b", at::kDouble, 1 << 20, 1 << 10); });
}

TEST_CASE("lists of small unsigned integers come back in a wider type", "[storage][hdf5]") {
  const TemporaryFolder folder("hdf5-unsigned");
  H5Writer::create(folder / "a.h5", [](H5Writer& file) {
    file.uint16s("list", {0, 40000, 65535});
    file.uint16s("matrix", {1, 2, 3, 4, 5, 6}, 2);
    file.uint32s("large", {0, 4294967295U});
  });
  const H5Reader file(folder / "a.h5");
  CHECK(same_bits(file.tensor("list"), at::tensor({0, 40000, 65535}, at::kInt)));
  CHECK(same_bits(file.tensor("matrix"), at::tensor({1, 2, 3, 4, 5, 6}, at::kInt).view({3, 2})));
  CHECK(same_bits(file.tensor("large"),
                  at::tensor({std::int64_t{0}, std::int64_t{4294967295}}, at::kLong)));
  CHECK(file.payload_bytes("list") == 6);
  CHECK(file.verify().empty());
}

TEST_CASE("texts and attributes come back as written", "[storage][hdf5]") {
  const TemporaryFolder folder("hdf5-texts");
  const std::vector<std::string> names{"T-shirt", "", "Übergröße", "a b "};
  const std::string long_text(100000, 'x');
  H5Writer::create(folder / "a.h5", [&](H5Writer& file) {
    file.text("meta/config", "a = 1\nb = 2\n");
    file.text("meta/nothing", "");
    file.texts("meta/names", names);
    file.texts("meta/none", {});
    file.attribute("", "schema", "retort.test");
    file.attribute("", "schema", "retort.again");
    file.attribute("meta/config", "seed", std::numeric_limits<std::uint64_t>::max());
    file.attribute("fresh/group", "count", std::int64_t{-3});
    file.attribute("fresh/group", "lr", 0.1);
    file.attribute("fresh/group", "mean", std::vector<double>{0.25, 1.0 / 3});
    file.attribute("fresh/group", "empty", std::vector<double>{});
    file.attribute("fresh/group", "long", long_text);
  });
  const H5Reader file(folder / "a.h5");
  CHECK(file.text("meta/config") == "a = 1\nb = 2\n");
  CHECK(file.text("meta/nothing").empty());
  CHECK(file.texts("meta/names") == names);
  CHECK(file.texts("meta/none").empty());
  CHECK(file.text_attribute("", "schema") == "retort.again");
  CHECK(file.uint_attribute("meta/config", "seed") == std::numeric_limits<std::uint64_t>::max());
  CHECK(file.int_attribute("fresh/group", "count") == -3);
  CHECK(file.double_attribute("fresh/group", "lr") == 0.1);
  CHECK(file.doubles_attribute("fresh/group", "mean") == std::vector<double>{0.25, 1.0 / 3});
  CHECK(file.doubles_attribute("fresh/group", "empty").empty());
  CHECK(file.text_attribute("fresh/group", "long") == long_text);
  CHECK(file.attribute_text("fresh/group", "count") == "-3");
  CHECK(file.attribute_text("fresh/group", "mean") == "0.25 0.3333333333333333");
  CHECK(file.attribute_names("fresh/group") ==
        std::vector<std::string>{"count", "empty", "long", "lr", "mean"});
  CHECK(file.children("") == std::vector<std::string>{"fresh", "manifest", "meta"});
  CHECK(file.groups() == std::vector<std::string>{"fresh", "fresh/group", "manifest", "meta"});
  CHECK(file.has("meta/config"));
  CHECK_FALSE(file.has("meta/config/deeper"));
  CHECK_FALSE(file.has("nothing/here"));
  CHECK(file.is_group("fresh"));
  CHECK_FALSE(file.is_group("meta/config"));
  CHECK(file.verify().empty());
}

TEST_CASE("rows are written one at a time and read one at a time", "[storage][hdf5]") {
  const TemporaryFolder folder("hdf5-rows");
  for (const auto type : {at::kFloat, at::kBFloat16, at::kByte}) {
    INFO(c10::toString(type));
    const Tensor values = at::arange(2 * 3 * 4 * 5, at::kFloat).to(type).view({2, 3, 4, 5});
    std::vector<std::int64_t> asked;
    H5Writer::create(folder / "a.h5", [&](H5Writer& file) {
      file.rows("g/x", type, {2, 3, 4, 5}, [&](std::int64_t i) {
        asked.push_back(i);
        return values.view({24, 5})[i];
      });
    });
    CHECK(asked.size() == 24);
    CHECK(std::is_sorted(asked.begin(), asked.end()));
    const H5Reader file(folder / "a.h5");
    CHECK(file.verify().empty());
    CHECK(same_bits(file.tensor("g/x"), values));
    CHECK(same_bits(file.row("g/x", {1, 2, 3}), values[1][2][3]));
    CHECK(same_bits(file.row("g/x", {0, 1}), values[0][1]));
    CHECK(same_bits(file.row("g/x", {}), values));
    CHECK_THROWS_WITH_TEXT(file.row("g/x", {0, 3}), StorageError,
                           "'g/x': has shape [2, 3, 4, 5], no row [0, 3]");
    CHECK_THROWS_WITH_TEXT(file.row("g/x", {-1}), StorageError, "no row [-1]");
    CHECK_THROWS_WITH_TEXT(file.row("g/x", {0, 0, 0, 0}), StorageError, "no row [0, 0, 0, 0]");
    CHECK_THROWS_WITH_TEXT(file.row("g/y", {0}), StorageError, "'g/y': is missing");
  }
}

TEST_CASE("rows that do not fit their dataset are refused", "[storage][hdf5]") {
  const TemporaryFolder folder("hdf5-wrong-rows");
  const auto check = [&](const std::string& text, const std::vector<std::int64_t>& shape,
                         const Tensor& row) {
    CHECK_THROWS_WITH_TEXT(H5Writer::create(folder / "a.h5",
                                            [&](H5Writer& file) {
                                              file.rows("x", at::kFloat, shape,
                                                        [&](std::int64_t) { return row; });
                                            }),
                           StorageError, text);
    CHECK_FALSE(std::filesystem::exists(folder / "a.h5"));
  };
  check("'x': rows need a shape of rank 2 or more and positive sizes, not [3]", {3}, at::ones({3}));
  check("not [0, 3]", {0, 3}, at::ones({3}));
  check("row 0: expected shape [3] of type Float, found [4] of type Float", {2, 3}, at::ones({4}));
  check("found [3] of type Double", {2, 3}, at::ones({3}, at::kDouble));
  check("a row may have 268435456 bytes, has 268435460", {1, (1 << 26) + 1}, at::ones({3}));
}

TEST_CASE("a dataset of many blocks is hashed as a whole", "[storage][hdf5]") {
  const TemporaryFolder folder("hdf5-blocks");
  const Tensor values = at::arange(5'000'011, at::kFloat);
  H5Writer::create(folder / "a.h5", [&](H5Writer& file) {
    file.tensor("long", values);
    file.tensor("tall", values.narrow(0, 0, 5'000'000).view({2500, 2000}));
  });
  const H5Reader file(folder / "a.h5");
  const auto sha256 = [&](std::int64_t count) {
    return sha256_hex({static_cast<const char*>(values.const_data_ptr()), std::size_t(count) * 4});
  };
  CHECK(file.sha256("long") == sha256(5'000'011));
  CHECK(file.sha256("tall") == sha256(5'000'000));
}

TEST_CASE("unsigned integers of full width come back", "[storage][hdf5]") {
  const TemporaryFolder folder("hdf5-uint64");
  const std::vector<std::uint64_t> values = {0, 1, std::numeric_limits<std::uint64_t>::max()};
  H5Writer::create(folder / "a.h5", [&](H5Writer& file) {
    file.uint64s("seeds", values);
    file.uint64s("none", {});
    file.tensor("signed", at::ones({3}, at::kLong));
  });
  const H5Reader file(folder / "a.h5");
  CHECK(file.uint64s("seeds") == values);
  CHECK(file.uint64s("none").empty());
  CHECK(file.verify().empty());
  CHECK_THROWS_WITH_TEXT(file.uint64s("signed"), StorageError,
                         "'signed': must be a list of integers of type uint64");
  CHECK_THROWS_WITH_TEXT(file.tensor("seeds"), StorageError, "above 2^63 - 1");
}

TEST_CASE("the contents of datasets that somebody else checks are not compared",
          "[storage][hdf5]") {
  const TemporaryFolder folder("hdf5-unread");
  H5Writer::create(folder / "a.h5", [](H5Writer& file) {
    file.tensor("x", at::full({64}, 1.5));
    file.tensor("y", at::full({64}, 2.5));
  });
  std::string bytes = testing::slurp(folder / "a.h5");
  const Tensor values = at::full({64}, 1.5);
  const std::string pattern(static_cast<const char*>(values.const_data_ptr()), values.nbytes());
  const std::size_t position = bytes.find(pattern);
  REQUIRE(position != std::string::npos);
  bytes[position] = 1;
  testing::spit(folder / "a.h5", bytes);
  const H5Reader file(folder / "a.h5");
  CHECK(file.damage({"x"}).empty());
  CHECK(file.damage({"y"}).size() == 1);
}

TEST_CASE("the same content gives the same bytes", "[storage][hdf5]") {
  const TemporaryFolder folder("hdf5-same");
  const auto write = [&](const std::string& name) {
    H5Writer::create(folder / name, [](H5Writer& file) {
      file.tensor("a/b", at::arange(700 * 1009, at::kFloat).reshape({700, 1009}));
      file.attribute("c", "d", 1.5);
    });
    return sha256_file(folder / name);
  };
  CHECK(write("1.h5") == write("2.h5"));
}

TEST_CASE("files of the plain HDF5 tools are read: golden numbers", "[storage][hdf5]") {
  const H5Reader file(std::filesystem::path(RETORT_TEST_DATA) / "golden" /
                      "dm_instancenorm_dsa.h5");
  CHECK(file.text_attribute("", "kind") == "dm");
  CHECK(file.tensor("net/flat").scalar_type() == at::kDouble);
  CHECK(file.tensor("net/flat").numel() == file.int_attribute("net", "num_params"));
  CHECK(file.texts("net/names").front() == "features.0.weight");
  CHECK(file.tensor("inputs/syn").dim() == 4);
  CHECK(file.text_attribute("aug/class0", "op") == "crop");
}

TEST_CASE("a failed write leaves the old file", "[storage][hdf5]") {
  const TemporaryFolder folder("hdf5-atomic");
  H5Writer::create(folder / "a.h5", [](H5Writer& file) { file.text("t", "old"); });
  CHECK_THROWS_WITH_TEXT(H5Writer::create(folder / "a.h5",
                                          [](H5Writer& file) {
                                            file.text("t", "new");
                                            throw NumericalError("diverged");
                                          }),
                         NumericalError, "diverged");
  CHECK(H5Reader(folder / "a.h5").text("t") == "old");
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("what cannot be stored is refused by name", "[storage][hdf5]") {
  const TemporaryFolder folder("hdf5-writer-errors");
  const auto write = [&](const std::function<void(H5Writer&)>& body) {
    H5Writer::create(folder / "a.h5", body);
  };
  CHECK_THROWS_WITH_TEXT(write([](H5Writer& f) { f.tensor("x", Tensor()); }), StorageError,
                         "'x': the tensor is undefined");
  CHECK_THROWS_WITH_TEXT(
      write([](H5Writer& f) { f.tensor("x", at::zeros({2}, at::kComplexFloat)); }), StorageError,
      "ComplexFloat cannot be stored");
  CHECK_THROWS_WITH_TEXT(
      write([](H5Writer& f) { f.tensor_as_int32("x", at::full({2}, 1LL << 31, at::kLong)); }),
      StorageError, "do not fit into 32 bits");
  CHECK_THROWS_WITH_TEXT(write([](H5Writer& f) { f.text("x", std::string("a\0b", 3)); }),
                         StorageError, "zero byte");
  CHECK_THROWS_WITH_TEXT(write([](H5Writer& f) {
                           f.text("x", "a");
                           f.text("x", "b");
                         }),
                         StorageError, "'x': HDF5");
  CHECK_THROWS_WITH_TEXT(write([](H5Writer& f) { f.text("x//y", "a"); }), StorageError,
                         "'x/' is no name");
  CHECK_THROWS_WITH_TEXT(H5Writer::create("/proc/no/a.h5", [](H5Writer& f) { f.text("x", "a"); }),
                         StorageError, "/proc/no");
  CHECK_FALSE(std::filesystem::exists(folder / "a.h5"));
}

TEST_CASE("a missing, foreign or cut file is named", "[storage][hdf5]") {
  const TemporaryFolder folder("hdf5-open");
  CHECK_THROWS_WITH_TEXT(H5Reader(folder / "none.h5"), StorageError, "none.h5': no such file");
  CHECK_THROWS_WITH_TEXT(H5Reader(folder.path()), StorageError, "no regular file");
  testing::spit(folder / "text.h5", "hello");
  CHECK_THROWS_WITH_TEXT(H5Reader(folder / "text.h5"), StorageError, "is no HDF5 file");
  H5Writer::create(folder / "a.h5", [](H5Writer& file) {
    file.tensor("x", at::zeros({100, 100}));
  });
  const std::string bytes = testing::slurp(folder / "a.h5");
  testing::spit(folder / "cut.h5", bytes.substr(0, bytes.size() - 1));
  CHECK_THROWS_WITH_TEXT(H5Reader(folder / "cut.h5"), StorageError, "cut short?");
}

TEST_CASE("the reader asks for the right kind of object", "[storage][hdf5]") {
  const TemporaryFolder folder("hdf5-kinds");
  H5Writer::create(folder / "a.h5", [](H5Writer& file) {
    file.tensor("g/x", at::zeros({3}));
    file.text("t", "text");
    file.texts("ts", {"a", "b"});
    file.attribute("g", "text", "abc");
    file.attribute("g", "values", std::vector<double>{1, 2});
    file.attribute("g", "negative", std::int64_t{-1});
    file.attribute("g", "large", std::numeric_limits<std::uint64_t>::max());
    file.tensor("truth", at::full({2}, 2, at::kByte));
    file.attribute("truth", "element", "bool");
    file.tensor("odd", at::zeros({2}));
    file.attribute("odd", "element", "bfloat16");
  });
  const H5Reader file(folder / "a.h5");
  CHECK_THROWS_WITH_TEXT(file.tensor("g/y"), StorageError, "a.h5': 'g/y': is missing");
  CHECK_THROWS_WITH_TEXT(file.tensor("g"), StorageError, "must be a dataset, is a group");
  CHECK_THROWS_WITH_TEXT(file.children("t"), StorageError, "must be a group, is a dataset");
  CHECK_THROWS_WITH_TEXT(file.tensor("t"), StorageError, "must hold numbers, holds text");
  CHECK_THROWS_WITH_TEXT(file.text("g/x"), StorageError, "must hold text, holds numbers");
  CHECK_THROWS_WITH_TEXT(file.text("ts"), StorageError, "must be a single text");
  CHECK_THROWS_WITH_TEXT(file.texts("t"), StorageError, "must be a list of texts");
  CHECK_THROWS_WITH_TEXT(file.int_attribute("g", "none"), StorageError,
                         "attribute 'none' is missing");
  CHECK_THROWS_WITH_TEXT(file.int_attribute("g", "text"), StorageError, "must be one integer");
  CHECK_THROWS_WITH_TEXT(file.int_attribute("g", "large"), StorageError, "too large");
  CHECK_THROWS_WITH_TEXT(file.uint_attribute("g", "negative"), StorageError,
                         "must not be negative, is -1");
  CHECK_THROWS_WITH_TEXT(file.double_attribute("g", "text"), StorageError, "must hold numbers");
  CHECK_THROWS_WITH_TEXT(file.double_attribute("g", "values"), StorageError, "must be one number");
  CHECK_THROWS_WITH_TEXT(file.text_attribute("g", "values"), StorageError, "must be one text");
  CHECK_THROWS_WITH_TEXT(file.tensor("truth"), StorageError, "other than 0 and 1");
  CHECK_THROWS_WITH_TEXT(file.tensor("odd"), StorageError, "'element' is 'bfloat16' on elements");
}

TEST_CASE("links out of the file, borrowed data and lies about size are refused",
          "[storage][hdf5]") {
  const TemporaryFolder folder("hdf5-hostile");
  const auto path = folder / "a.h5";
  testing::spit(folder / "secret", std::string(64, 's'));
  make_file(path, [&](hid_t file) {
    make_dataset(file, "plain", H5T_STD_I32LE, {2});
    H5Lcreate_soft("/plain", file, "soft", H5P_DEFAULT, H5P_DEFAULT);
  });
  CHECK_THROWS_WITH_TEXT(H5Reader(path).tensor("soft"), StorageError, "soft or external link");
  CHECK_THROWS_WITH_TEXT(H5Reader(path).children(""), StorageError, "soft or external link");

  make_file(path, [&](hid_t file) {
    H5Lcreate_external("other.h5", "/x", file, "outside", H5P_DEFAULT, H5P_DEFAULT);
  });
  CHECK_THROWS_WITH_TEXT(H5Reader(path).tensor("outside"), StorageError, "soft or external link");

  make_file(path, [&](hid_t file) {
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(creation, (folder / "secret").c_str(), 0, 64);
    make_dataset(file, "x", H5T_STD_U8LE, {64}, creation);
    H5Pclose(creation);
  });
  CHECK_THROWS_WITH_TEXT(H5Reader(path).tensor("x"), StorageError, "external file");

  make_file(path, [&](hid_t file) {
    const hsize_t size = 4;
    const hid_t space = H5Screate_simple(1, &size, nullptr);
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_virtual(creation, space, "other.h5", "/x", space);
    make_dataset(file, "x", H5T_STD_I32LE, {4}, creation);
    H5Pclose(creation);
    H5Sclose(space);
  });
  CHECK_THROWS_WITH_TEXT(H5Reader(path).tensor("x"), StorageError, "virtual dataset");

  make_file(path, [&](hid_t file) {
    make_dataset(file, "x", H5T_IEEE_F64LE, {1ULL << 40, 1 << 10});
    make_dataset(file, "overflow", H5T_IEEE_F64LE, {1ULL << 30, 1ULL << 30});
    make_dataset(file, "rank", H5T_IEEE_F64LE, {1, 1, 1, 1, 1, 1, 1, 1, 1});
    make_dataset(file, "big_endian", H5T_IEEE_F64BE, {1});
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    const hsize_t chunk = 16;
    H5Pset_chunk(creation, 1, &chunk);
    H5Pset_nbit(creation);
    make_dataset(file, "filter", H5T_STD_I32LE, {16}, creation);
    H5Pclose(creation);
    const hid_t huge = H5Pcreate(H5P_DATASET_CREATE);
    const hsize_t huge_chunk = 1 << 30;
    H5Pset_chunk(huge, 1, &huge_chunk);
    make_dataset(file, "chunk", H5T_STD_U8LE, {1 << 30}, huge);
    H5Pclose(huge);
    const hid_t text = H5Tcopy(H5T_C_S1);
    H5Tset_size(text, H5T_VARIABLE);
    make_dataset(file, "variable", text, {1});
    H5Tclose(text);
  });
  CHECK_THROWS_WITH_TEXT(H5Reader(path).tensor("x"), StorageError, "declares 9007199254740992");
  CHECK_THROWS_WITH_TEXT(H5Reader(path).tensor("overflow"), StorageError, "than can be counted");
  CHECK_THROWS_WITH_TEXT(H5Reader(path).tensor("rank"), StorageError, "at most 8, is 9");
  CHECK_THROWS_WITH_TEXT(H5Reader(path).tensor("big_endian"), StorageError, "little-endian");
  CHECK_THROWS_WITH_TEXT(H5Reader(path).tensor("filter"), StorageError, "uses filter 5");
  CHECK_THROWS_WITH_TEXT(H5Reader(path).tensor("chunk"), StorageError, "chunks of more than");
  CHECK_THROWS_WITH_TEXT(
      H5Reader(path).texts("variable"), StorageError,
      "variable-length text; only fixed-length text is read, which h5py stores for");

  make_file(path, [&](hid_t file) {
    const hid_t group = H5Gcreate2(file, "g", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_hard(file, "/", group, "up", H5P_DEFAULT, H5P_DEFAULT);
    H5Gclose(group);
  });
  CHECK_THROWS_WITH_TEXT(H5Reader(path).datasets(), StorageError, "reached by two names");
}

TEST_CASE("the library's own texts of any padding are read", "[storage][hdf5]") {
  const TemporaryFolder folder("hdf5-padding");
  make_file(folder / "a.h5", [](hid_t file) { make_text_attribute(file, "name", "abc"); });
  CHECK(H5Reader(folder / "a.h5").text_attribute("", "name") == "abc");
}

TEST_CASE("a flipped byte is an error or a finding, never other data", "[storage][hdf5]") {
  const TemporaryFolder folder("hdf5-flip");
  const auto path = folder / "a.h5";
  const Tensor values = at::arange(300, at::kFloat).reshape({30, 10});
  H5Writer::create(path, [&](H5Writer& file) {
    file.tensor("x", values);
    file.tensor("scalar", at::tensor(3.0, at::kDouble).squeeze());
    file.text("t", "some text");
    file.attribute("", "lr", 0.5);
  });
  const std::string bytes = testing::slurp(path);
  const auto flipped = folder / "flipped.h5";
  int caught = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 5) {
    std::string damaged = bytes;
    damaged[i] = char(damaged[i] ^ 0x10);
    testing::spit(flipped, damaged);
    try {
      const H5Reader file(flipped);
      if (!file.verify().empty()) {
        ++caught;
        continue;
      }
      INFO("byte " << i);
      CHECK(same_bits(file.tensor("x"), values));
      CHECK(file.tensor("scalar").item<double>() == 3);
      CHECK(file.text("t") == "some text");
      CHECK(file.double_attribute("", "lr") == 0.5);
    } catch (const StorageError&) {
      ++caught;
    }
  }
  // The payload alone is 1200 of the bytes, every fifth is tried.
  CHECK(caught > 240);
}
