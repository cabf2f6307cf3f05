#include "lib/storage/set_file.h"

#include <cmath>
#include <ctime>
#include <limits>

#include <hdf5.h>

#include "lib/core/error.h"
#include "lib/core/hash.h"
#include "lib/storage/hdf5.h"
#include "tests/storage/set_parts.h"
#include "tests/storage/small_sets.h"
#include "tests/storage/support.h"
#include "tests/support/catch.h"
#include "tests/support/file_limit.h"

using namespace retort;
using data::SyntheticSet;
using storage::H5Reader;
using storage::H5Writer;
using storage::read_set;
using storage::write_set;
using testing::check_same;
using testing::compensator_set;
using testing::decoded_set;
using testing::numbers;
using testing::pixels_set;
using testing::same_bits;
using testing::taught_set;
using testing::TemporaryFolder;
using testing::write_parts;

namespace {

/// The lines of Python in a file of the source tree, reading `set`. They end by printing what they
/// read, by a line of their own or by this one.
std::string python_of(const std::string& readme, const std::filesystem::path& set) {
  const std::string text =
      testing::slurp(std::filesystem::path(RETORT_TEST_DATA) / "../.." / readme);
  std::string code = testing::python_lines(text, "set.h5", set.string());
  REQUIRE_FALSE(code.empty());
  if (code.find("print(") == std::string::npos) {
    code += "print(images.shape, labels.tolist(), names, round(float(pixels.mean()), 4))\n";
  }
  return code;
}

/// Changes a finished file with the plain library, as a foreign program would.
template <class Change>
void edit(const std::filesystem::path& path, Change change) {
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  change(file);
  H5Fclose(file);
}

void write_number(hid_t parent, const char* name, std::int64_t value) {
  const hid_t space = H5Screate(H5S_SCALAR);
  if (H5Aexists(parent, name) > 0) H5Adelete(parent, name);
  const hid_t attribute = H5Acreate2(parent, name, H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, H5T_STD_I64LE, &value);
  H5Aclose(attribute);
  H5Sclose(space);
}

}  // namespace

TEST_CASE("a set comes back to the bit, whatever its labels, decoder and preprocessing",
          "[storage][set]") {
  const TemporaryFolder folder("set-roundtrip");
  for (const SyntheticSet& set : {pixels_set(), decoded_set()}) {
    write_set(folder / "set.h5", set);
    check_same(read_set(folder / "set.h5"), set);
    CHECK(storage::verify_file(folder / "set.h5").empty());
    CHECK(storage::file_schema(folder / "set.h5") == "retort.set");
  }
  SyntheticSet set = decoded_set();
  std::get<data::SoftLabels>(set.labels).kind = data::SoftLabels::Kind::Probability;
  std::get<data::SoftLabels>(set.labels).learned = false;
  set.provenance.class_names.clear();
  write_set(folder / "set.h5", set);
  check_same(read_set(folder / "set.h5"), set);
}

TEST_CASE("stored canvases are kept apart from images", "[storage][set]") {
  const TemporaryFolder folder("set-canvas");
  write_set(folder / "pixels.h5", pixels_set());
  write_set(folder / "canvas.h5", decoded_set());
  const H5Reader pixels(folder / "pixels.h5");
  CHECK(pixels.has("images/data"));
  CHECK_FALSE(pixels.has("params"));
  CHECK_FALSE(pixels.has("schedule"));
  CHECK(pixels.is_group("assets"));
  const H5Reader canvas(folder / "canvas.h5");
  CHECK_FALSE(canvas.has("images/data"));
  CHECK(canvas.text_attribute("params/canvas", "decoder_config") ==
        R"({"factor":"2","type":"single"})");
  // Labels index what networks train on.
  CHECK(canvas.int_attribute("labels", "num_images") == 24);
  CHECK(canvas.dataset_shape("images/class_index") == std::vector<std::int64_t>{6});
}

TEST_CASE("what a decoder needs beside the images lies beside the canvas", "[storage][set]") {
  const TemporaryFolder folder("set-parameters");
  const auto path = folder / "set.h5";
  write_set(path, compensator_set());
  check_same(read_set(path), compensator_set());
  CHECK(storage::verify_file(path).empty());
  const H5Reader file(path);
  CHECK(file.tensor("images/data").scalar_type() == at::kByte);
  CHECK(file.text_attribute("params/compensators", "decoder") == "compensator");
  CHECK(file.text_attribute("params/compensators", "decoder_config") == R"({"copies":"2"})");
  CHECK(file.double_attribute("images", "storage_units") == 6.0 / 4 + 4);
  CHECK(storage::stored_bytes(path).images == 6 * 20 + 4 * 20 * 4);

  SyntheticSet broken = compensator_set();
  broken.parameters["compensators"][0][0][0][0] = std::nan("");
  write_set(path, broken);
  CHECK(storage::verify_file(path) ==
        std::vector<std::string>{"/params/compensators: 1 values are not finite"});
}

TEST_CASE("the networks that a set was made with are named in it, and cost it no bytes",
          "[storage][set]") {
  const TemporaryFolder folder("set-assets");
  SyntheticSet set = pixels_set();
  write_set(folder / "without.h5", set);
  for (int i = 0; i < 11; ++i) {  // groups by number, not by name
    set.assets.push_back({.role = i == 0 ? "experts" : "teacher",
                          .file = "netze ▲.h5",
                          .sha256 = std::string(64, 'b'),
                          .id = i == 0 ? std::string(64, 'c') : "",
                          .count = i,
                          .wall_seconds = 0.1 + i,
                          .note = i == 0 ? "" : "50 epochs"});
  }
  const auto path = folder / "with.h5";
  write_set(path, set);
  check_same(read_set(path), set);
  CHECK(storage::verify_file(path).empty());
  CHECK(H5Reader(path).text_attribute("assets/10", "role") == "teacher");
  const storage::StoredBytes with = storage::stored_bytes(path);
  const storage::StoredBytes without = storage::stored_bytes(folder / "without.h5");
  CHECK(with.images == without.images);
  CHECK(with.other == without.other);
  edit(path, [](hid_t file) {
    const hid_t asset = H5Oopen(file, "assets/3", H5P_DEFAULT);
    write_number(asset, "count", 4);
    H5Oclose(asset);
  });
  CHECK_FALSE(storage::verify_file(path).empty());
  CHECK_THROWS_AS(read_set(path), StorageError);
}

TEST_CASE("bytes are counted as stored, and in memory the same", "[storage][set]") {
  const TemporaryFolder folder("set-bytes");
  const auto path = folder / "set.h5";
  write_set(path, pixels_set());
  CHECK(storage::stored_bytes(path).images == 6 * 20 * 4);
  CHECK(storage::stored_bytes(path).labels == 6 * 4);

  SyntheticSet set = decoded_set();
  // Enough labels that checksums of 4 bytes a chunk stay below one in a hundred.
  set.class_index = at::arange(300, at::kLong).remainder(3);
  set.images = numbers({300, 1, 4, 5});
  set.labels = data::SoftLabels{.classes = set.class_index.repeat_interleave(4),
                                .values = numbers({1200, 3})};
  write_set(path, set);
  const H5Reader file(path);
  const auto storage_size =
      double(file.stored_bytes("labels/hard") + file.stored_bytes("labels/soft/values"));
  const storage::StoredBytes counted = storage::stored_bytes(path);
  CHECK(std::abs(double(counted.labels) / storage_size - 1) < 0.01);
  CHECK(counted.labels == 1200 * 4 + 1200 * 3 * 4);
  CHECK(counted.images == 300 * 20 * 4);

  for (const SyntheticSet& each :
       {pixels_set(), decoded_set(), compensator_set(), taught_set(), set}) {
    write_set(path, each);
    const storage::StoredBytes on_disk = storage::stored_bytes(path);
    const storage::StoredBytes in_memory = storage::stored_bytes(each);
    CHECK(in_memory.images == on_disk.images);
    CHECK(in_memory.labels == on_disk.labels);
    CHECK(in_memory.other == on_disk.other);
    CHECK(storage::label_bytes(each).soft == storage::label_bytes(path).soft);
  }
}

TEST_CASE("the same set gives the same file within a second, and a failed write leaves the old one",
          "[storage][set]") {
  const TemporaryFolder folder("set-atomic");
  // HDF5 stamps the root group with the second it was made in, whatever the property list says.
  std::time_t start = 0;
  do {
    start = std::time(nullptr);
    write_set(folder / "a.h5", decoded_set());
    write_set(folder / "b.h5", decoded_set());
  } while (std::time(nullptr) != start);
  CHECK(sha256_file(folder / "a.h5") == sha256_file(folder / "b.h5"));
  SyntheticSet wrong = decoded_set();
  wrong.provenance.method = std::string("a\0b", 3);  // found while writing
  CHECK_THROWS_WITH_TEXT(write_set(folder / "a.h5", wrong), StorageError, "zero byte");
  CHECK(sha256_file(folder / "a.h5") == sha256_file(folder / "b.h5"));
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 2);
}

// This program ends with an error besides if HDF5 looks after the file once more.
TEST_CASE("a set for which there is no room says so and leaves the one before", "[storage][set]") {
  const TemporaryFolder folder("set-room");
  write_set(folder / "a.h5", pixels_set());
  const std::string before = sha256_file(folder / "a.h5");
  std::string message;
  {
    const testing::FileLimit limit(1000);
    try {
      write_set(folder / "a.h5", pixels_set());
    } catch (const StorageError& e) {
      message = e.what();
    }
  }
  CHECK_THAT(message, Catch::Matchers::Contains("a.h5': ") &&
                          Catch::Matchers::Contains("HDF5: File too large"));
  CHECK(sha256_file(folder / "a.h5") == before);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("a set whose parts do not fit together is not written", "[storage][set]") {
  const TemporaryFolder folder("set-inconsistent");
  const auto check = [&](const std::string& text,
                         const std::function<void(SyntheticSet&)>& change) {
    SyntheticSet set = pixels_set();
    change(set);
    CHECK_THROWS_WITH_TEXT(write_set(folder / "a.h5", set), StorageError, text);
    CHECK_THROWS_WITH_TEXT(write_set(folder / "a.h5", set), StorageError,
                           "a.h5': cannot be written");
  };
  check("images is missing", [](SyntheticSet& s) { s.images = Tensor(); });
  check("images: expected rank 4 of type Float, found shape [6, 20]",
        [](SyntheticSet& s) { s.images = s.images.flatten(1); });
  check("one class index per stored image, found 2 for 6",
        [](SyntheticSet& s) { s.class_index = s.class_index.slice(0, 0, 2); });
  check("expected 4 class names, found 3", [](SyntheticSet& s) {
    s.labels = data::SoftLabels{.classes = s.class_index, .values = numbers({6, 4})};
  });
  check("preprocessing is for 2 channels, the images have 1", [](SyntheticSet& s) {
    s.preprocessing = data::Preprocessing::mean_std({0, 0}, {1, 1});
  });
  check("preprocessing is for 20 pixels, the images have 16", [](SyntheticSet& s) {
    s.images = numbers({6, 1, 4, 4});
    s.preprocessing = decoded_set().preprocessing;
  });
  check("a label for each of 6 images or more, found 3", [](SyntheticSet& s) {
    s.decoder.id = "multi-formation";
    s.labels = data::HardLabels{s.class_index.slice(0, 0, 3)};
  });
  check("8-bit pixels need the decoder pixels, or one with parameters, found x",
        [](SyntheticSet& s) {
          s.decoder.id = "x";
          s.from_bytes = true;
        });
  check("the decoder pixels has no parameters", [](SyntheticSet& s) {
    s.parameters["compensators"] = numbers({1, 1, 4, 5});
  });
  check("parameters 'compensators': expected rank 4", [](SyntheticSet& s) {
    s.decoder.id = "compensator";
    s.parameters["compensators"] = numbers({1, 4, 5});
  });
  check("configuration of decoder 'x' is no JSON", [](SyntheticSet& s) {
    s.decoder = {.id = "x", .version = 1, .config = {{"a", "\xff"}}};
  });
}

TEST_CASE("inconsistent files are refused with rule and finding", "[storage][set]") {
  const TemporaryFolder folder("set-parts");
  const auto path = folder / "a.h5";
  write_parts(path, [](H5Writer&) {});
  CHECK(read_set(path).images.size(0) == 2);

  const auto check = [&](const std::string& text, const std::string& omit,
                         const std::function<void(H5Writer&)>& change) {
    write_parts(path, change, omit);
    CHECK_THROWS_WITH_TEXT(read_set(path), StorageError, text);
    CHECK_THROWS_WITH_TEXT(read_set(path), StorageError, path.string());
    CHECK(storage::verify_file(path).size() == 1);
  };
  check("expected /images/data or /params/canvas", "images/data", [](H5Writer&) {});
  check("'images/class_index': is missing", "images/class_index", [](H5Writer&) {});
  check("one class index per stored image, found 3 for 2", "images/class_index", [](H5Writer& f) {
    f.tensor_as_int32("images/class_index", at::tensor({0, 1, 1}, at::kLong));
  });
  check("class index: expected classes 0 .. 1, found 0 .. 2", "images/class_index",
        [](H5Writer& f) {
          f.tensor_as_int32("images/class_index", at::tensor({0, 2}, at::kLong));
        });
  check("/schedule/lr: expected rank 0 of type Double", "",
        [](H5Writer& f) { f.tensor("schedule/lr", at::ones({2}, at::kDouble)); });
  check("decoder_config: expected a JSON object", "images/data", [](H5Writer& f) {
    f.tensor("params/canvas", numbers({2, 1, 2, 2}));
    f.attribute("params/canvas", "decoder", "multi-formation");
    f.attribute("params/canvas", "decoder_version", std::int64_t{1});
    f.attribute("params/canvas", "decoder_config", "{factor");
  });
  check("kind must be mean-std or zca, is 'pca'", "",
        [](H5Writer& f) { f.attribute("preprocessing", "kind", "pca"); });
  check("as many means as deviations, found 1 and 2", "preprocessing/std",
        [](H5Writer& f) { f.tensor("preprocessing/std", at::ones({2}, at::kDouble)); });
  check("std must be positive", "preprocessing/std",
        [](H5Writer& f) { f.tensor("preprocessing/std", at::zeros({1}, at::kDouble)); });
  check("mean holds a value that is not finite", "preprocessing/mean", [](H5Writer& f) {
    f.tensor("preprocessing/mean",
             at::full({1}, std::numeric_limits<double>::quiet_NaN(), at::kDouble));
  });
  check("expected matrices [1, 1], found [2, 1]", "", [](H5Writer& f) {
    f.attribute("preprocessing", "kind", "zca");
    f.tensor("preprocessing/whiten", at::ones({2, 1}, at::kDouble));
    f.tensor("preprocessing/inverse", at::ones({1, 1}, at::kDouble));
  });
}

TEST_CASE("sets of stored pixels are preprocessed when read", "[storage][set]") {
  const TemporaryFolder folder("set-uint8");
  write_parts(
      folder / "a.h5",
      [](H5Writer& f) {
        f.tensor("images/data", at::full({2, 1, 2, 2}, 51, at::kByte));
      },
      "images/data");
  // (51 / 255 - 1) / 1
  CHECK_CLOSE(read_set(folder / "a.h5").images, at::full({2, 1, 2, 2}, -0.8), 1e-6);
}

TEST_CASE("another schema or a newer major version is refused, a newer minor one is read",
          "[storage][set]") {
  const TemporaryFolder folder("set-version");
  const auto path = folder / "a.h5";
  H5Writer::create(path, [](H5Writer& f) { f.attribute("", "schema", "retort.state"); });
  CHECK_THROWS_WITH_TEXT(read_set(path), StorageError,
                         "expected schema 'retort.set', found 'retort.state'");
  H5Writer::create(path, [](H5Writer& f) { f.text("x", ""); });
  CHECK_THROWS_WITH_TEXT(read_set(path), StorageError, "found 'none'");
  CHECK_THROWS_WITH_TEXT(storage::file_schema(path), StorageError, "has no attribute 'schema'");
  write_parts(path, [](H5Writer& f) { f.attribute("", "version_major", std::int64_t{2}); });
  CHECK_THROWS_WITH_TEXT(read_set(path), StorageError, "version 1.x, found 2.x");
  CHECK_THROWS_WITH_TEXT(storage::stored_bytes(path), StorageError, "version 1.x, found 2.x");

  write_parts(path, [](H5Writer& f) {
    f.attribute("", "version_minor", std::int64_t{7});
    f.attribute("images", "modality", "image");
    f.tensor("evaluations/0/accuracy", at::ones({5}));
    f.tensor("holograms/data", at::ones({2}));
    f.attribute("labels/views", "encoding", "from the future");
  });
  CHECK(read_set(path).images.size(0) == 2);
  CHECK(storage::verify_file(path).empty());
}

TEST_CASE("what was added later is read over, but reported", "[storage][set]") {
  const TemporaryFolder folder("set-added");
  const auto path = folder / "a.h5";
  write_set(path, pixels_set());
  edit(path, [](hid_t file) {
    const hid_t images = H5Oopen(file, "images", H5P_DEFAULT);
    write_number(images, "note", 3);
    H5Oclose(images);
  });
  check_same(read_set(path), pixels_set());
  CHECK(storage::verify_file(path) ==
        std::vector<std::string>{"the file has, the manifest lacks: images@note = 3"});
}

TEST_CASE("changed numbers, attributes and lost parts are found", "[storage][set]") {
  const TemporaryFolder folder("set-changed");
  const auto path = folder / "a.h5";
  write_set(path, pixels_set());
  edit(path, [](hid_t file) {
    const hid_t labels = H5Dopen2(file, "labels/hard", H5P_DEFAULT);
    const std::int32_t values[6] = {0, 0, 1, 1, 2, 1};
    H5Dwrite(labels, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    H5Dclose(labels);
  });
  // Checksums of the file are right; only the manifest knows.
  CHECK_THROWS_WITH_TEXT(read_set(path), StorageError, "is damaged: /labels/hard: SHA-256 is");
  CHECK(storage::verify_file(path).size() == 1);

  write_set(path, pixels_set());
  edit(path, [](hid_t file) {
    const hid_t provenance = H5Oopen(file, "provenance", H5P_DEFAULT);
    write_number(provenance, "iterations", 5);
    H5Oclose(provenance);
  });
  CHECK_THROWS_WITH_TEXT(read_set(path), StorageError,
                         "the manifest has, the file lacks: provenance@iterations = 1000");

  write_set(path, pixels_set());
  edit(path, [](hid_t file) { H5Ldelete(file, "preprocessing/std", H5P_DEFAULT); });
  CHECK_THROWS_WITH_TEXT(read_set(path), StorageError,
                         "the manifest has, the file lacks: preprocessing/std: float64 [1]");

  write_set(path, pixels_set());
  edit(path, [](hid_t file) { H5Ldelete(file, "manifest", H5P_DEFAULT); });
  CHECK_THROWS_WITH_TEXT(read_set(path), StorageError, "/manifest is missing");
  CHECK(storage::verify_file(path).front() == "/manifest is missing: nothing to compare with");

  write_set(path, pixels_set());
  edit(path, [](hid_t file) {
    H5Lcreate_soft("/images/data", file, "evaluations", H5P_DEFAULT, H5P_DEFAULT);
  });
  CHECK_THROWS_WITH_TEXT(read_set(path), StorageError, "soft or external link");
}

TEST_CASE("a damaged or cut set never reads as another set", "[storage][set]") {
  const TemporaryFolder folder("set-damaged");
  const auto path = folder / "a.h5";
  write_set(folder / "good.h5", pixels_set());
  const std::string bytes = testing::slurp(folder / "good.h5");
  for (std::size_t i = 5; i < bytes.size(); i += 101) {
    testing::spit(path, bytes.substr(0, i));
    CHECK_THROWS_AS(read_set(path), StorageError);
    std::string flipped = bytes;
    flipped[i] = char(flipped[i] ^ 0x04);
    testing::spit(path, flipped);
    try {
      const SyntheticSet set = read_set(path);
      INFO("byte " << i);
      CHECK(same_bits(set.images, pixels_set().images));
      CHECK(same_bits(data::hard_classes(set.labels), pixels_set().class_index));
      CHECK(set.provenance.config == pixels_set().provenance.config);
    } catch (const StorageError&) {
      // Found, which is what is promised.
    }
  }
}

TEST_CASE("pixels that are not finite are kept and reported", "[storage][set]") {
  const TemporaryFolder folder("set-nan");
  SyntheticSet set = pixels_set();
  set.images[0][0][1][2] = std::numeric_limits<float>::quiet_NaN();
  set.images[3][0][0][0] = std::numeric_limits<float>::infinity();
  write_set(folder / "a.h5", set);
  CHECK(same_bits(read_set(folder / "a.h5").images, set.images));
  CHECK(storage::verify_file(folder / "a.h5") ==
        std::vector<std::string>{"/images/data: 2 values are not finite"});
}

TEST_CASE("preprocessing of other files uses the same fields", "[storage][set]") {
  const TemporaryFolder folder("set-preprocessing");
  const auto colour = data::Preprocessing::mean_std({0.1, 0.2, 0.3}, {0.4, 0.5, 0.6});
  H5Writer::create(folder / "a.h5", [&](H5Writer& file) {
    storage::write_preprocessing(file, "meta/preprocessing", colour);
  });
  const auto read = storage::read_preprocessing(H5Reader(folder / "a.h5"), "meta/preprocessing");
  CHECK(read.mean() == colour.mean());
  CHECK(read.std() == colour.std());
}

// set_1_0.h5 was written by the first release with `storage_tests "[write-old-set]"`; it is never
// written again, for what was once written must stay readable.
TEST_CASE("a set of version 1.0 is readable", "[storage][set]") {
  const auto path = std::filesystem::path(RETORT_TEST_DATA) / "storage" / "set_1_0.h5";
  check_same(read_set(path), decoded_set());
  CHECK(storage::verify_file(path).empty());
}

TEST_CASE("write the file of the test before this one into the working folder",
          "[.write-old-set]") {
  write_set("set_1_0.h5", decoded_set());
}

TEST_CASE("the lines of Python in the READMEs read a set, of pixels or of canvases",
          "[storage][set]") {
  const TemporaryFolder folder("set-python");
  const std::string python = testing::find_python("h5py");
  if (python.empty()) {
    WARN("SKIPPED: no python3 with h5py on this machine");
    return;
  }
  SyntheticSet canvases = decoded_set();
  canvases.preprocessing = pixels_set().preprocessing;
  write_set(folder / "pixels.h5", pixels_set());
  write_set(folder / "canvases.h5", canvases);
  const double mean = (numbers({120}).mean().item<double>()) / 3 + 0.25;
  char mean_text[32];
  std::snprintf(mean_text, sizeof mean_text, "%.4f", mean);
  for (const char* readme : {"README.md", "lib/storage/README.md"}) {
    for (const std::string set : {"pixels", "canvases"}) {
      INFO(readme << ", a set of " << set);
      testing::spit(folder / "read.py", python_of(readme, folder / (set + ".h5")));
      int status = 0;
      const std::string output = testing::run_python(python, folder / "read.py", "", status);
      CHECK(status == 0);
      std::string labels = "0, 0, 1, 1, 2, 2";
      if (set == "canvases") {
        labels = "0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2";
      }
      CHECK(output ==
            "(6, 1, 4, 5) [" + labels + "] ['disk', 'Dreieck ▲', ''] " + mean_text + "\n");
    }
  }
}
