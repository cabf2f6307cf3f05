#include "lib/storage/views_file.h"

#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "lib/augment/mix.h"
#include "lib/augment/views.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/rng.h"
#include "lib/storage/set_file.h"
#include "tests/storage/set_parts.h"
#include "tests/storage/support.h"
#include "tests/support/catch.h"

using namespace retort;
using data::Mix;
using data::RecordedViews;
using data::SyntheticSet;
using data::ViewBatch;
using data::ViewsInfo;
using storage::H5Reader;
using storage::H5Writer;
using storage::ViewsReader;
using testing::TemporaryFolder;

namespace {

constexpr std::int64_t kImages = 50;
constexpr std::int64_t kClasses = 10;
constexpr std::int64_t kSide = 16;

bool same_bits(const Tensor& a, const Tensor& b) {
  const Tensor x = a.contiguous();
  const Tensor y = b.contiguous();
  return x.sizes() == y.sizes() && x.scalar_type() == y.scalar_type() &&
         std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0;
}

/// Images of 8-bit pixels.
SyntheticSet small_set() {
  SyntheticSet set;
  set.preprocessing = data::Preprocessing::mean_std({0.5, 0.4, 0.3}, {0.2, 0.25, 0.3});
  const Tensor bytes = Rng(1).uniform_tensor({kImages, 3, kSide, kSide}, 0, 256).to(at::kByte);
  set.images = set.preprocessing.apply(bytes);
  set.from_bytes = true;
  set.class_index = at::arange(kImages, at::kLong).div(kImages / kClasses, "floor");
  set.labels = data::HardLabels{set.class_index};
  return set;
}

ViewsInfo views_info() {
  ViewsInfo info;
  info.images = kImages;
  info.classes = kClasses;
  info.source = info.canvas = {kSide, kSide};
  info.epochs = 6;
  info.batch = 16;
  info.seed = 42;
  info.recipe = "recipe = fkd\nepochs = 6\n";
  return info;
}

/// A teacher of sorts: some function of the pixels.
Tensor logits_of(const Tensor& x) {
  return x.flatten(1).matmul(Rng(2).normal_tensor({3 * kSide * kSide, kClasses})) / 8;
}

Mix::Kind kind_of_epoch(std::int64_t epoch) {
  constexpr std::array kinds{Mix::Kind::CutMix, Mix::Kind::MixUp, Mix::Kind::None};
  return kinds[std::size_t(epoch) % kinds.size()];
}

/// Labels for every image in every epoch, and the tensors that were labelled.
struct Relabelled {
  std::shared_ptr<data::ViewList> views = std::make_shared<data::ViewList>(views_info());
  Tensors seen;
};

Relabelled relabel(const Tensor& images) {
  Relabelled out;
  const ViewsInfo info = views_info();
  for (std::int64_t epoch = 0; epoch < info.epochs; ++epoch) {
    const Rng rng = Rng(info.seed).child("epoch", epoch);
    const Tensor order = rng.child("order").permutation_tensor(kImages);
    std::int64_t index = 0;
    for (const Tensor& rows : order.split(info.batch)) {
      const Rng stream = rng.child("batch", index++);
      ViewBatch batch;
      batch.epoch = epoch;
      const auto* first = rows.const_data_ptr<std::int64_t>();
      batch.images.assign(first, first + rows.numel());
      batch.views = augment::draw_views({}, rows.numel(), info.source, stream);
      batch.views.mix =
          augment::draw_mix(kind_of_epoch(epoch), rows.numel(), info.canvas, stream.child("mix"));
      out.seen.push_back(
          augment::apply_views(batch.views, images.index_select(0, rows), info.canvas));
      batch.values = data::half_logits(logits_of(out.seen.back()));
      out.views->append(std::move(batch));
    }
  }
  return out;
}

void check_same(const RecordedViews& actual, const RecordedViews& expected) {
  const ViewsInfo& a = actual.info();
  const ViewsInfo& b = expected.info();
  CHECK(a.images == b.images);
  CHECK(a.classes == b.classes);
  CHECK(a.source == b.source);
  CHECK(a.canvas == b.canvas);
  CHECK(a.epochs == b.epochs);
  CHECK(a.batch == b.batch);
  CHECK(a.kind == b.kind);
  CHECK(a.tau0 == b.tau0);
  CHECK(a.prune_ratio == b.prune_ratio);
  CHECK(a.sampling == b.sampling);
  CHECK(a.seed == b.seed);
  CHECK(a.recipe == b.recipe);
  REQUIRE(actual.batches() == expected.batches());
  CHECK(actual.views() == expected.views());
  for (std::int64_t i = 0; i < actual.batches(); ++i) {
    INFO("batch " << i);
    const ViewBatch x = actual.batch(i);
    const ViewBatch y = expected.batch(i);
    CHECK(x.epoch == y.epoch);
    CHECK(x.images == y.images);
    const bool same_crops = x.views.crops == y.views.crops;
    CHECK(same_crops);
    CHECK(x.views.flips == y.views.flips);
    const bool same_kind = x.views.mix.kind == y.views.mix.kind;
    CHECK(same_kind);
    CHECK(x.views.mix.lambda == y.views.mix.lambda);
    const bool same_box = x.views.mix.box == y.views.mix.box;
    CHECK(same_box);
    CHECK(x.views.mix.partner == y.views.mix.partner);
    CHECK(same_bits(x.values, y.values));
  }
}

/// Five views of two batches as ViewsWriter would lay them out, of two images of 4 x 4 pixels and
/// two classes.
struct Parts {
  std::vector<std::uint64_t> batch_ptr{0, 3, 5};
  std::vector<std::uint32_t> epoch{0, 1};
  std::vector<std::uint32_t> image{0, 1, 0, 1, 1};
  std::vector<std::uint16_t> crop{0, 0, 4, 4, 1, 1, 2, 3, 0, 0, 4, 4, 0, 0, 4, 4, 3, 3, 1, 1};
  Tensor flip = at::tensor({0b10010}, at::kByte);
  Tensor mix_kind = at::tensor({1, 0}, at::kByte);
  Tensor mix_lambda = at::tensor({0.5F, 1.0F});
  std::vector<std::uint16_t> mix_box{1, 1, 3, 4, 0, 0, 0, 0};
  std::vector<std::uint16_t> mix_perm{2, 0, 1, 0, 1};
  Tensor values = at::ones({5, 2}, at::kHalf);
  std::string encoding = "f16";
  std::string value_kind = "logit";
  std::string sampling = "order";
  std::vector<double> canvas{4, 4};
};

void write_group(H5Writer& out, const Parts& parts) {
  const std::string group = "labels/views/";
  out.uint64s(group + "batch_ptr", parts.batch_ptr);
  out.uint32s(group + "epoch", parts.epoch);
  out.uint32s(group + "image", parts.image);
  out.uint16s(group + "crop", parts.crop, 4);
  out.tensor(group + "flip", parts.flip);
  out.tensor(group + "mix_kind", parts.mix_kind);
  out.tensor(group + "mix_lambda", parts.mix_lambda);
  out.uint16s(group + "mix_box", parts.mix_box, 4);
  out.uint16s(group + "mix_perm", parts.mix_perm);
  out.tensor(group + "values", parts.values);
  const std::string views = "labels/views";
  out.attribute(views, "encoding", parts.encoding);
  out.attribute(views, "value_kind", parts.value_kind);
  out.attribute(views, "tau0", 1.0);
  out.attribute(views, "epochs", std::int64_t{2});
  out.attribute(views, "batch", std::int64_t{3});
  out.attribute(views, "canvas", parts.canvas);
  out.attribute(views, "prune_ratio", 0.0);
  out.attribute(views, "sampling", parts.sampling);
  out.attribute(views, "seed", std::uint64_t{7});
}

/// A set of two images whose record is written by hand.
void write_record(const std::filesystem::path& path, const Parts& parts) {
  testing::write_parts(
      path,
      [&](H5Writer& out) {
        out.tensor("images/data", at::zeros({2, 1, 4, 4}));
        out.attribute("labels", "default", "views");
        write_group(out, parts);
      },
      "images/data");
}

}  // namespace

TEST_CASE("a record comes back to the bit, from a file and from a copy of the file",
          "[storage][views]") {
  const TemporaryFolder folder("views-roundtrip");
  SyntheticSet set = small_set();
  const Relabelled relabelled = relabel(set.images);
  set.views = relabelled.views;
  storage::write_set(folder / "a.h5", set);
  const SyntheticSet read = storage::read_set(folder / "a.h5");
  REQUIRE(read.views != nullptr);
  check_same(*read.views, *relabelled.views);
  CHECK(std::holds_alternative<data::HardLabels>(read.labels));
  CHECK(storage::verify_file(folder / "a.h5").empty());
  CHECK(H5Reader(folder / "a.h5").text_attribute("labels", "default") == "views");

  // From the file it was read from into a file of the same name, with other attributes.
  storage::write_set(folder / "a.h5", read);
  check_same(ViewsReader(folder / "a.h5"), *relabelled.views);
  ViewsInfo info = views_info();
  info.kind = data::SoftLabels::Kind::Probability;
  info.tau0 = 0.5;
  info.prune_ratio = 0.75;
  info.sampling = ViewsInfo::Sampling::PoolUnique;
  auto pruned = std::make_shared<data::ViewList>(info);
  pruned->append(relabelled.views->batch(3));
  set.views = pruned;
  storage::write_set(folder / "b.h5", set);
  check_same(ViewsReader(folder / "b.h5"), *pruned);
}

TEST_CASE("views made from a record are those that were labelled, to the bit", "[storage][views]") {
  const TemporaryFolder folder("views-replay");
  SyntheticSet set = small_set();
  const Relabelled relabelled = relabel(set.images);
  set.views = relabelled.views;
  storage::write_set(folder / "a.h5", set);
  const SyntheticSet read = storage::read_set(folder / "a.h5");
  CHECK(same_bits(read.images, set.images));
  for (std::int64_t i = 0; i < read.views->batches(); ++i) {
    INFO("batch " << i);
    const ViewBatch batch = read.views->batch(i);
    const Tensor rows = at::tensor(batch.images, at::kLong);
    const Tensor again = augment::apply_views(batch.views, read.images.index_select(0, rows),
                                              read.views->info().canvas);
    CHECK(same_bits(again, relabelled.seen[std::size_t(i)]));
    CHECK(same_bits(data::half_logits(logits_of(again)), batch.values));
  }
}

TEST_CASE("bytes of labels are counted by part, as stored and in memory the same",
          "[storage][views]") {
  const TemporaryFolder folder("views-bytes");
  const auto path = folder / "a.h5";
  SyntheticSet set = small_set();
  // Enough views that checksums and the unused end of the last chunk stay below one in a hundred.
  set.views = [] {
    ViewsInfo info = views_info();
    info.batch = 16;
    info.epochs = 640;
    auto list = std::make_shared<data::ViewList>(info);
    const Relabelled relabelled = relabel(small_set().images);
    for (std::int64_t i = 0; i < 2000; ++i) {
      list->append(relabelled.views->batch(i % relabelled.views->batches()));
    }
    return list;
  }();
  storage::write_set(path, set);
  const H5Reader file(path);
  const storage::LabelBytes bytes = storage::label_bytes(path);
  const auto views = std::uint64_t(set.views->views());
  const auto batches = std::uint64_t(set.views->batches());
  CHECK(bytes.hard == kImages * 4);
  CHECK(bytes.soft == 0);
  CHECK(bytes.generator + bytes.backbone == 0);
  CHECK(bytes.views_values == views * kClasses * 2);
  CHECK(bytes.views_meta == views * 14 + (views + 7) / 8 + batches * 25 + 8);
  std::uint64_t storage_meta = 0;
  for (const std::string& name : file.children("labels/views")) {
    if (name != "values") storage_meta += file.stored_bytes("labels/views/" + name);
  }
  CHECK(std::abs(double(storage_meta) / double(bytes.views_meta) - 1) < 0.01);
  const auto storage_values = double(file.stored_bytes("labels/views/values"));
  CHECK(std::abs(storage_values / double(bytes.views_values) - 1) < 0.01);
  const storage::StoredBytes on_disk = storage::stored_bytes(path);
  const storage::StoredBytes in_memory = storage::stored_bytes(set);
  CHECK(on_disk.labels == bytes.hard + bytes.views_values + bytes.views_meta);
  CHECK(in_memory.labels == on_disk.labels);
  CHECK(in_memory.images == on_disk.images);
  CHECK(on_disk.images == kImages * 3 * kSide * kSide);  // a byte each
}

TEST_CASE("a record written by hand is read as it lies there", "[storage][views]") {
  const TemporaryFolder folder("views-by-hand");
  write_record(folder / "a.h5", {});
  const ViewsReader reader(folder / "a.h5");
  CHECK(reader.info().seed == 7);
  CHECK(reader.info().recipe.empty());  // from before it was recorded
  const ViewBatch first = reader.batch(0);
  CHECK(first.images == std::vector<std::int64_t>{0, 1, 0});
  const bool crop = first.views.crops[1] == data::PixelBox{1, 1, 2, 3};
  CHECK(crop);
  CHECK(first.views.flips == std::vector<bool>{false, true, false});
  const bool box = first.views.mix.box == data::PixelBox{1, 1, 2, 3};
  CHECK(box);
  CHECK(first.views.mix.partner == std::vector<std::int64_t>{2, 0, 1});
  const ViewBatch second = reader.batch(1);
  CHECK(second.views.flips == std::vector<bool>{false, true});
  CHECK(second.views.mix.partner.empty());
  CHECK(storage::verify_file(folder / "a.h5").empty());
  CHECK_THROWS_WITH_TEXT(reader.batch(2), StorageError, "holds 2 batches, no batch 2");
}

TEST_CASE("damaged records are refused with object, rule and finding", "[storage][views]") {
  const TemporaryFolder folder("views-damaged");
  const auto path = folder / "a.h5";
  // What the whole record needs is seen when the file is opened, the rest with its batch.
  const auto check = [&](const std::string& text, const std::function<void(Parts&)>& change) {
    Parts parts;
    change(parts);
    write_record(path, parts);
    const auto read_all = [&] {
      const SyntheticSet set = storage::read_set(path);
      for (std::int64_t i = 0; i < set.views->batches(); ++i) set.views->batch(i);
    };
    CHECK_THROWS_WITH_TEXT(read_all(), StorageError, "'" + path.string() + "': /labels/views/");
    CHECK_THROWS_WITH_TEXT(read_all(), StorageError, text);
    CHECK(storage::verify_file(path).size() == 1);
  };
  check("batch_ptr: expected ascending entries, found 3 after 3 at entry 2", [](Parts& p) {
    p.batch_ptr = {0, 3, 3};
  });
  check("batch_ptr: expected to begin with 0, found 1", [](Parts& p) { p.batch_ptr = {1, 3, 5}; });
  check("batch_ptr: expected at least one batch, found 1 entries",
        [](Parts& p) { p.batch_ptr = {0}; });
  check("batch_ptr: expected batches of 1 .. 3 views, found 4", [](Parts& p) {
    p.batch_ptr = {0, 1, 5};
    p.mix_perm[0] = 0;
  });
  check("image: expected shape [6], found [5]", [](Parts& p) { p.batch_ptr = {0, 3, 6}; });
  check("image: expected images 0 .. 1, found 2 (batch 1)", [](Parts& p) { p.image[4] = 2; });
  check(
      "crop: expected boxes inside of 4 x 4 pixels, found (top 1, left 1, 4 x 3 pixels) (batch 0)",
      [](Parts& p) { p.crop[6] = 4; });
  check("crop: expected shape [5, 4], found [4, 4]", [](Parts& p) { p.crop.resize(16); });
  check("flip: expected shape [1], found [2]",
        [](Parts& p) { p.flip = at::zeros({2}, at::kByte); });
  check("epoch: expected shape [2], found [3]", [](Parts& p) { p.epoch = {0, 0, 1}; });
  check("epoch: expected epochs 0 .. 1, found 2 (batch 1)", [](Parts& p) { p.epoch[1] = 2; });
  check("mix_kind: expected 0, 1 or 2, found 3 (batch 0)", [](Parts& p) {
    p.mix_kind = at::tensor({3, 0}, at::kByte);
  });
  check("mix_lambda: expected a float32 value in 0 .. 1, found 1.5 (batch 0)",
        [](Parts& p) { p.mix_lambda[0] = 1.5; });
  check("mix_box: expected a box inside of 4 x 4 pixels, found (top 1, left 1, 2 x 4 pixels)",
        [](Parts& p) { p.mix_box[3] = 5; });
  check("mix_perm: expected positions 0 .. 2 in the batch, found 3 (batch 0)",
        [](Parts& p) { p.mix_perm[1] = 3; });
  check("values: expected shape [5, 2], found [5, 3]", [](Parts& p) {
    p.values = at::ones({5, 3}, at::kHalf);
  });
  check("values: expected shape [3, 2] of type Half, found [3, 2] of type Float (batch 0)",
        [](Parts& p) {
          p.values = at::ones({5, 2});
        });
  check("values: 1 are not finite (batch 1)",
        [](Parts& p) { p.values[3][0] = std::numeric_limits<double>::quiet_NaN(); });
  check("value_kind: must be logit or prob, is 'feature'",
        [](Parts& p) { p.value_kind = "feature"; });
  check("sampling: must be order, pool_replace or pool_unique, is 'any'",
        [](Parts& p) { p.sampling = "any"; });
  check("canvas: expected two sizes, found 1", [](Parts& p) { p.canvas = {4}; });
  check("canvas: expected sizes 1 .. 65535, found 0", [](Parts& p) { p.canvas = {4, 0}; });
}

TEST_CASE("a label that changed in the file is found when its batch is read", "[storage][views]") {
  const TemporaryFolder folder("views-flipped");
  const auto path = folder / "a.h5";
  SyntheticSet set = small_set();
  const Relabelled relabelled = relabel(set.images);
  set.views = relabelled.views;
  storage::write_set(path, set);
  // The first label of batch 7.
  const Tensor values = relabelled.views->batch(7).values.narrow(0, 0, 1);
  std::string bytes = testing::slurp(path);
  const auto place =
      bytes.find(std::string(static_cast<const char*>(values.const_data_ptr()), values.nbytes()));
  REQUIRE(place != std::string::npos);
  bytes[place] = char(bytes[place] ^ 1);
  testing::spit(path, bytes);
  const SyntheticSet read = storage::read_set(path);  // without its labels
  CHECK(same_bits(read.views->batch(0).values, relabelled.views->batch(0).values));
  CHECK_THROWS_WITH_TEXT(read.views->batch(7), StorageError, "labels/views/values");
  CHECK_FALSE(storage::verify_file(path).empty());
}

TEST_CASE("views of an encoding from the future leave the hard labels, with a warning",
          "[storage][views]") {
  const TemporaryFolder folder("views-encoding");
  const auto path = folder / "a.h5";
  Parts parts;
  parts.encoding = "topk_mr";
  write_record(path, parts);
  std::string warned;
  const log::Sink before = log::set_sink([&](log::Level level, const std::string& message) {
    if (level == log::Level::Warn) warned = message;
  });
  const SyntheticSet set = storage::read_set(path);
  log::set_sink(before);
  CHECK(set.views == nullptr);
  CHECK(data::hard_classes(set.labels).equal(at::tensor({0, 1}, at::kLong)));
  CHECK_THAT(warned, Catch::Matchers::Contains(
                         "a.h5': /labels/views: encoding 'topk_mr' needs a newer program"));
  CHECK_THROWS_WITH_TEXT(ViewsReader(path), StorageError,
                         "/labels/views/encoding: 'topk_mr' needs a newer program; known: f16");
}

TEST_CASE("views that do not belong to the set are not written", "[storage][views]") {
  const TemporaryFolder folder("views-unfitting");
  const auto check = [&](const std::string& text, const std::function<void(ViewsInfo&)>& change) {
    SyntheticSet set = small_set();
    ViewsInfo info = views_info();
    change(info);
    set.views = std::make_shared<data::ViewList>(info);
    CHECK_THROWS_WITH_TEXT(storage::write_set(folder / "a.h5", set), StorageError, text);
    CHECK_FALSE(std::filesystem::exists(folder / "a.h5"));
  };
  check("views: expected 50 images of 10 classes, found 49 of 10",
        [](ViewsInfo& i) { i.images = 49; });
  check("views: expected 50 images of 10 classes, found 50 of 9",
        [](ViewsInfo& i) { i.classes = 9; });
  check("views: expected crops of 16 x 16 pixels, found 8 x 16",
        [](ViewsInfo& i) { i.source.height = 8; });
  check("a.h5': cannot be written: /labels/views/batch: expected 1 .. 65535 views, found 0",
        [](ViewsInfo& i) { i.batch = 0; });
  check("/labels/views/batch_ptr: expected at least one batch, found none", [](ViewsInfo&) {});
}

TEST_CASE("images of 8-bit pixels are stored as such and come back to the bit", "[storage][set]") {
  const TemporaryFolder folder("set-from-bytes");
  const auto path = folder / "a.h5";
  SyntheticSet set = small_set();
  storage::write_set(path, set);
  const SyntheticSet read = storage::read_set(path);
  CHECK(read.from_bytes);
  CHECK(same_bits(read.images, set.images));
  CHECK(H5Reader(path).tensor("images/data").scalar_type() == at::kByte);
  CHECK(H5Reader(path).double_attribute("images", "storage_units") == kImages / 4.0);
  CHECK(storage::stored_bytes(path).images == storage::stored_bytes(set).images);
  CHECK(storage::verify_file(path).empty());

  set.images[3][1][2][2] += 0.01;
  CHECK_THROWS_WITH_TEXT(storage::write_set(path, set), StorageError,
                         "a.h5': cannot be written: images of 8-bit pixels: 1 of 38400 values");
  set = small_set();
  set.decoder.id = "multi-formation";
  CHECK_THROWS_WITH_TEXT(
      storage::write_set(path, set), StorageError,
      "8-bit pixels need the decoder pixels, or one with parameters, found multi-formation");
}
