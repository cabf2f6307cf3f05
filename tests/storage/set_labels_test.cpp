#include "lib/storage/set_labels.h"

#include <functional>

#include "lib/core/error.h"
#include "lib/storage/hdf5.h"
#include "lib/storage/set_file.h"
#include "tests/storage/set_parts.h"
#include "tests/storage/small_sets.h"
#include "tests/storage/support.h"
#include "tests/support/catch.h"

using namespace retort;
using data::SyntheticSet;
using storage::H5Reader;
using storage::H5Writer;
using storage::read_set;
using storage::write_set;
using testing::check_same;
using testing::numbers;
using testing::pixels_set;
using testing::taught_set;
using testing::TemporaryFolder;
using testing::write_parts;

TEST_CASE("labels of teachers take two bytes each and say how they were made", "[storage][set]") {
  const TemporaryFolder folder("set-taught");
  const auto path = folder / "set.h5";
  write_set(path, taught_set());
  check_same(read_set(path), taught_set());
  CHECK(storage::label_bytes(path).soft == 6 * 3 * 2);
  CHECK(storage::verify_file(path).empty());
  CHECK(H5Reader(path).text_attribute("labels/soft", "encoding") == "f16");
  CHECK_FALSE(H5Reader(path).has_attribute("labels", "teacher_top1"));  // not tested
  SyntheticSet tested = taught_set();
  data::Asset labelers;
  labelers.role = data::kLabelers;
  labelers.accuracy = 85.25;
  tested.assets = {labelers};
  write_set(path, tested);
  const bool same = read_set(path).assets == tested.assets;
  CHECK(same);
  CHECK(H5Reader(path).double_attribute("labels", "teacher_top1") == 85.25);
  SyntheticSet finer = taught_set();
  std::get<data::SoftLabels>(finer.labels).values.add_(1e-5);
  CHECK_THROWS_WITH_TEXT(write_set(path, finer), StorageError, "values that float16 has");
  // Files from before recipes were kept.
  write_parts(path, [](H5Writer& file) {
    file.attribute("labels", "default", "soft");
    file.tensor("labels/soft/values", numbers({2, 2}));
    file.attribute("labels/soft", "encoding", "f32");
    file.attribute("labels/soft", "value_kind", "logit");
    file.attribute("labels/soft", "learned", std::int64_t{0});
  });
  const auto labels = read_set(path).labels;
  CHECK_FALSE(std::get<data::SoftLabels>(labels).by_teachers());
}

TEST_CASE("labels that do not fit the set are not written", "[storage][set]") {
  const TemporaryFolder folder("labels-inconsistent");
  const auto check = [&](const std::string& text,
                         const std::function<void(SyntheticSet&)>& change) {
    SyntheticSet set = pixels_set();
    change(set);
    CHECK_THROWS_WITH_TEXT(write_set(folder / "a.h5", set), StorageError, text);
  };
  check("labels are missing", [](SyntheticSet& s) { s.labels = data::HardLabels{}; });
  check("one label per image, found 4 for 6",
        [](SyntheticSet& s) { s.labels = data::HardLabels{s.class_index.slice(0, 0, 4)}; });
  check("hard labels: expected classes 0 .. 2, found 0 .. 3", [](SyntheticSet& s) {
    s.labels = data::HardLabels{at::tensor({0, 0, 1, 1, 2, 3}, at::kLong)};
  });
  check("one soft label per hard label, found 5 and 6", [](SyntheticSet& s) {
    s.labels = data::SoftLabels{.classes = s.class_index, .values = numbers({5, 3})};
  });
}

TEST_CASE("labels of files are refused with rule and finding", "[storage][set]") {
  const TemporaryFolder folder("labels-parts");
  const auto path = folder / "a.h5";
  const auto check = [&](const std::string& text, const std::string& omit,
                         const std::function<void(H5Writer&)>& change) {
    write_parts(path, change, omit);
    CHECK_THROWS_WITH_TEXT(read_set(path), StorageError, text);
    CHECK_THROWS_WITH_TEXT(read_set(path), StorageError, path.string());
    CHECK(storage::verify_file(path).size() == 1);
  };
  check("/labels/hard: expected 2 labels, found shape [3]", "labels/hard", [](H5Writer& f) {
    f.tensor_as_int32("labels/hard", at::tensor({0, 1, 1}, at::kLong));
  });
  check("num_classes is 5, labels and class names say 2", "",
        [](H5Writer& f) { f.attribute("labels", "num_classes", std::int64_t{5}); });
  check("expected layout 1.x, found 2", "",
        [](H5Writer& f) { f.attribute("labels", "layout_major", std::int64_t{2}); });
  check("default labels of kind 'generator' need a newer program", "",
        [](H5Writer& f) { f.attribute("labels", "default", "generator"); });
  check("default labels are views, but /labels/views is missing", "",
        [](H5Writer& f) { f.attribute("labels", "default", "views"); });
  const auto soft = [](H5Writer& f, const std::string& encoding, const std::string& kind) {
    f.attribute("labels", "default", "soft");
    f.attribute("labels/soft", "encoding", encoding);
    f.attribute("labels/soft", "value_kind", kind);
    f.attribute("labels/soft", "learned", std::int64_t{0});
  };
  check("encoding 'topk_mr' needs a newer program", "",
        [&](H5Writer& f) { soft(f, "topk_mr", "logit"); });
  check("value_kind must be logit or prob, is 'feature'", "",
        [&](H5Writer& f) { soft(f, "f32", "feature"); });
  check("soft labels: expected rank 2 of type Float, found shape [2]", "", [&](H5Writer& f) {
    soft(f, "f32", "logit");
    f.tensor("labels/soft/values", at::zeros({2}));
  });
}
