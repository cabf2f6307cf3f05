#include "lib/train/relabel.h"

#include <cmath>
#include <set>

#include "lib/augment/views.h"
#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "lib/storage/set_file.h"
#include "lib/train/norm_groups.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"
#include "tests/train/small_committee.h"

using namespace retort;
using namespace retort::testing;
using train::RelabelRecipe;

namespace {

constexpr const char* kTeacherNet = "ConvNet-1-BN-w8";
constexpr std::int64_t kImages = 21;

struct Committee {
  data::ImageDataset dataset = separable_dataset(30, 1);
  std::vector<train::Member> members = {trained_member(dataset, kTeacherNet, 1, 97),
                                        trained_member(dataset, "ConvNet-2-BN-w8", 2, 87)};
  Tensor images = dataset.batch(data::Split::Train, at::arange(kImages, at::kLong));
};

RelabelRecipe small_recipe(const std::string& name) {
  RelabelRecipe recipe = RelabelRecipe::defaults(name);
  recipe.epochs = 3;
  recipe.batch_size = std::min<std::int64_t>(recipe.batch_size, 16);
  recipe.smallest_area = 0.4;
  if (recipe.vote == "priors") recipe.priors = {97, 87};
  return recipe;
}

/// The tensor that was labelled, made from the record.
Tensor seen(const data::ViewBatch& batch, const Tensor& images) {
  return augment::apply_views(batch.views,
                              images.index_select(0, at::tensor(batch.images, at::kLong)),
                              {images.size(2), images.size(3)});
}

bool same_batch(const data::ViewBatch& a, const data::ViewBatch& b) {
  return a.epoch == b.epoch && a.images == b.images && a.views.crops == b.views.crops &&
         a.views.flips == b.views.flips && a.views.mix.kind == b.views.mix.kind &&
         a.views.mix.lambda == b.views.mix.lambda && a.views.mix.box == b.views.mix.box &&
         a.views.mix.partner == b.views.mix.partner && a.values.equal(b.values);
}

std::vector<data::ViewBatch> whole_record(const RelabelRecipe& recipe,
                                          const train::Labeler& labeler, const Tensor& images) {
  std::vector<data::ViewBatch> record(
      std::size_t(recipe.epochs * train::batches_per_epoch(recipe, images.size(0))));
  parallel_tasks(std::int64_t(record.size()), [&](std::int64_t i) {
    record[std::size_t(i)] = train::labelled_batch(recipe, labeler, images, i);
  });
  return record;
}

Tensor eval_logits(const train::Member& member, const Tensor& images) {
  const at::NoGradGuard no_grad;
  return member.network->forward(member.state, images).logits;
}

}  // namespace

TEST_CASE("recipes of labels have the numbers of the papers' code", "[train][relabel]") {
  const auto fkd = RelabelRecipe::defaults("fkd");
  CHECK(fkd.epochs == 300);
  CHECK(fkd.batch_size == 1024);
  CHECK(fkd.smallest_area == 0.08);
  CHECK(fkd.flip);
  CHECK(fkd.mix == "cutmix");
  CHECK(fkd.batch_norm == "eval");
  CHECK(RelabelRecipe::defaults("cda").batch_size == 128);
  const auto cvdd = RelabelRecipe::defaults("cv-dd");
  CHECK(cvdd.batch_size == 16);
  CHECK(cvdd.batch_norm == "batch");
  CHECK(cvdd.batch_norm_group == 8);
  CHECK(cvdd.vote == "priors");
  CHECK(cvdd.vote_temperature == 10);
  CHECK(RelabelRecipe::defaults("static").is_static());
  CHECK_THROWS_WITH_TEXT(RelabelRecipe::defaults("fdk"), ConfigError,
                         "unknown recipe of labels 'fdk'; did you mean 'fkd'?");
}

TEST_CASE("a recipe comes back from its text", "[train][relabel]") {
  RelabelRecipe recipe = RelabelRecipe::defaults("cv-dd");
  recipe.epochs = 7;
  recipe.priors = {63, 65.25};
  recipe.priors_measured_on = 2000;
  recipe.mix = "mixup";
  recipe.smallest_area = 0.4;
  recipe.flip = false;
  recipe.seed = 5;
  const RelabelRecipe read = RelabelRecipe::of_text(recipe.text());
  CHECK(read.text() == recipe.text());
  CHECK(read.name == "cv-dd");
  CHECK(read.priors == recipe.priors);
  CHECK(read.priors_measured_on == 2000);
  CHECK(recipe.text().ends_with("\npriors-measured-on = 2000\n"));
  CHECK(RelabelRecipe::of_text("recipe = static\n").is_static());
  CHECK_THROWS_WITH_TEXT(RelabelRecipe::of_text("epochs = 3\n"), ConfigError,
                         "recipe of recorded labels: expected a line 'recipe = ...'");
  CHECK_THROWS_WITH_TEXT(RelabelRecipe::of_text("recipe = fkd\nepoch = 3\n"), ConfigError,
                         "did you mean 'epochs'?");
}

TEST_CASE("every epoch labels every image once, in an order of its own", "[train][relabel]") {
  const Committee committee;
  const RelabelRecipe recipe = small_recipe("fkd");
  const train::Labeler labeler = train::labeler_of(recipe, committee.members, kImages);
  const auto record = whole_record(recipe, labeler, committee.images);
  REQUIRE(record.size() == 6);
  std::set<std::vector<std::int64_t>> orders;
  for (std::size_t e = 0; e < 3; ++e) {
    std::vector<std::int64_t> order = record[2 * e].images;
    CHECK(order.size() == 16);
    order.insert(order.end(), record[2 * e + 1].images.begin(), record[2 * e + 1].images.end());
    orders.insert(order);
    CHECK(record[2 * e].epoch == std::int64_t(e));
    CHECK(std::set<std::int64_t>(order.begin(), order.end()).size() == kImages);
  }
  CHECK(orders.size() == 3);
  // What the record keeps is a record of the set.
  data::ViewList views(train::views_info(recipe, kImages, 3, {8, 8}));
  for (const auto& batch : record) views.append(batch);
  CHECK(views.views() == 3 * kImages);
  CHECK(views.info().recipe == recipe.text());
}

TEST_CASE("labels are what the teachers say of the views that the record makes again",
          "[train][relabel]") {
  const Committee committee;
  for (const std::string mix : {"cutmix", "mixup", "none"}) {
    INFO(mix);
    RelabelRecipe recipe = small_recipe("fkd");
    recipe.mix = mix;
    const train::Labeler labeler = train::labeler_of(recipe, committee.members, kImages);
    for (const auto& batch : whole_record(recipe, labeler, committee.images)) {
      const Tensor x = seen(batch, committee.images);
      CHECK(x.equal(seen(batch, committee.images)));
      const Tensor mean =
          (eval_logits(committee.members[0], x) + eval_logits(committee.members[1], x)) / 2;
      CHECK(batch.values.scalar_type() == at::kHalf);
      CHECK_CLOSE(batch.values.to(at::kFloat), mean, 1e-3);  // half precision
      CHECK(batch.values.equal(data::half_logits(train::labels_of_views(recipe, labeler, x))));
    }
  }
}

TEST_CASE("a record in a file makes the labelled views again, and their labels are fresh ones",
          "[train][relabel]") {
  const Committee committee;
  const TemporaryFolder folder("retort-relabel");
  const auto path = folder.path() / "set.h5";
  const Tensor rows = at::arange(64, at::kLong);
  data::SyntheticSet set;
  set.images = committee.dataset.batch(data::Split::Train, rows);
  set.preprocessing = committee.dataset.preprocessing();
  set.from_bytes = true;
  set.class_index = committee.dataset.labels(data::Split::Train).narrow(0, 0, 64);
  set.labels = data::HardLabels{set.class_index};
  const RelabelRecipe recipe = small_recipe("fkd");
  const train::Labeler labeler = train::labeler_of(recipe, committee.members, 64);
  const auto record = whole_record(recipe, labeler, set.images);
  const auto views = std::make_shared<data::ViewList>(train::views_info(recipe, 64, 3, {8, 8}));
  for (const auto& batch : record) views->append(batch);
  set.views = views;
  storage::write_set(path, set);

  const data::SyntheticSet read = storage::read_set(path);
  REQUIRE(read.views->batches() == std::int64_t(record.size()));
  for (std::size_t i = 0; i < record.size(); ++i) {
    const data::ViewBatch batch = read.views->batch(std::int64_t(i));
    CHECK(same_batch(batch, record[i]));
    const Tensor x = seen(batch, read.images);
    CHECK(x.equal(seen(record[i], set.images)));
    const Tensor fresh = train::labels_of_views(recipe, labeler, x);
    // Half a unit in the last of eleven places.
    CHECK(((batch.values.to(at::kFloat) - fresh).abs() <= fresh.abs() / 2048 + 1e-7)
              .all()
              .item<bool>());
  }
}

TEST_CASE("a batch of labels has the same bits on any number of threads", "[train][relabel]") {
  const Committee committee;
  for (const std::string name : {"fkd", "cv-dd"}) {
    INFO(name);
    const RelabelRecipe recipe = small_recipe(name);
    const train::Labeler labeler = train::labeler_of(recipe, committee.members, kImages);
    const auto alone = whole_record(recipe, labeler, committee.images);
    const WithThreads two(2);
    const auto side_by_side = whole_record(recipe, labeler, committee.images);
    for (std::size_t i = 0; i < alone.size(); ++i) CHECK(same_batch(alone[i], side_by_side[i]));
  }
}

TEST_CASE("labels by batch statistics depend on the group, those of evaluation do not",
          "[train][relabel]") {
  const Committee committee;
  const Tensor x = committee.images.narrow(0, 0, 16);
  // The second group of eight in another company.
  const Tensor y =
      at::cat({x.narrow(0, 0, 8), x.narrow(0, 8, 1), committee.images.narrow(0, 14, 7)});
  RelabelRecipe recipe = small_recipe("cv-dd");
  const train::Labeler grouped = train::labeler_of(recipe, committee.members, kImages);
  const Tensor a = train::labels_of_views(recipe, grouped, x);
  const Tensor b = train::labels_of_views(recipe, grouped, y);
  CHECK(a.narrow(0, 0, 8).equal(b.narrow(0, 0, 8)));
  CHECK_FALSE(at::allclose(a[8], b[8], 1e-3, 1e-3));
  recipe.batch_norm = "eval";
  const train::Labeler eval = train::labeler_of(recipe, committee.members, kImages);
  const Tensor c = train::labels_of_views(recipe, eval, x);
  CHECK_CLOSE(c[8], train::labels_of_views(recipe, eval, y)[8], 1e-6);
}

TEST_CASE("groups of a batch equal batches of their own, and halves are cut at the middle",
          "[train][relabel]") {
  const Committee committee;
  RelabelRecipe recipe = small_recipe("cv-dd");
  const auto labels = [&](const std::string& batch_norm, const Tensor& x) {
    recipe.batch_norm = batch_norm;
    return train::labels_of_views(recipe, train::labeler_of(recipe, committee.members, kImages), x);
  };
  const Tensor sixteen = committee.images.narrow(0, 0, 16);
  // The batch in one: all teachers with the statistics of all sixteen.
  recipe.batch_norm_group = 0;
  Tensor together = at::zeros({});
  for (const train::Member& member : committee.members) {
    const auto seen = member.network->forward(member.state, sixteen, {.mode = nn::Mode::Batch});
    together = together + seen.logits / double(committee.members.size());
  }
  recipe.vote = "equal";
  CHECK_CLOSE(labels("batch", sixteen), together, 1e-5);
  recipe = small_recipe("cv-dd");
  const Tensor five = committee.images.narrow(0, 16, 5);
  const auto apart = [&](const Tensor& x, const std::vector<std::int64_t>& sizes) {
    Tensors parts;
    for (const Tensor& part : x.split_with_sizes(sizes)) parts.push_back(labels("batch", part));
    return at::cat(parts);
  };
  CHECK_CLOSE(labels("batch", sixteen), apart(sixteen, {8, 8}), 1e-6);
  CHECK_CLOSE(labels("halves", sixteen), apart(sixteen, {8, 8}), 1e-6);
  // Five are one group, or two and three as in the paper's code.
  CHECK_CLOSE(labels("halves", five), apart(five, {2, 3}), 1e-6);
  CHECK_FALSE(at::allclose(labels("halves", five), labels("batch", five), 1e-3, 1e-3));
}

TEST_CASE("all images of a small set are cut like a full batch", "[train][relabel]") {
  CHECK(train::norm_group(8, 16, 100) == 8);
  CHECK(train::norm_group(8, 16, 16) == 8);
  CHECK(train::norm_group(8, 16, 10) == 5);
  CHECK(train::norm_group(8, 16, 9) == 5);
  CHECK(train::norm_group(8, 20, 10) == 4);
  CHECK(train::norm_group(16, 16, 10) == 10);
  CHECK(train::norm_group(0, 16, 10) == 0);
  const Committee committee;
  const Tensor ten = committee.images.narrow(0, 0, 10);
  RelabelRecipe recipe = small_recipe("cv-dd");
  const auto record = [&](const std::string& batch_norm) {
    recipe.batch_norm = batch_norm;
    return whole_record(recipe, train::labeler_of(recipe, committee.members, 10), ten);
  };
  const auto groups = record("batch");
  const auto halves = record("halves");  // of the paper's code: 5 + 5
  REQUIRE(groups.size() == 3);
  for (std::size_t i = 0; i < groups.size(); ++i) {
    CHECK_CLOSE(groups[i].values.to(at::kFloat), halves[i].values.to(at::kFloat), 1e-3);
  }
}

TEST_CASE("teachers are the same after they labelled", "[train][relabel]") {
  const Committee committee;
  const RelabelRecipe recipe = small_recipe("cv-dd");
  const train::Labeler labeler = train::labeler_of(recipe, committee.members, kImages);
  std::vector<nn::NetworkState> before;
  for (const auto& member : committee.members) before.push_back(member.state.detached_clone());
  whole_record(recipe, labeler, committee.images);
  for (std::size_t m = 0; m < before.size(); ++m) {
    CHECK(same_bits(committee.members[m].state.parameters, before[m].parameters));
    CHECK(same_bits(committee.members[m].state.buffers, before[m].buffers));
  }
}

TEST_CASE("votes follow the priors", "[train][relabel]") {
  Committee committee;
  RelabelRecipe recipe = small_recipe("cv-dd");
  recipe.batch_norm = "eval";
  const Tensor x = committee.images;
  const auto expected = [&](double first) {
    return first * eval_logits(committee.members[0], x) +
           (1 - first) * eval_logits(committee.members[1], x);
  };
  const auto labels = [&] {
    return train::labels_of_views(recipe, train::labeler_of(recipe, committee.members, kImages), x);
  };
  CHECK_CLOSE(labels(), expected(1 / (1 + std::exp(-1.0))), 1e-5);  // 97 and 87 at temperature 10
  recipe.priors = {50, 50};
  CHECK_CLOSE(labels(), expected(0.5), 1e-5);
  recipe.vote = "equal";
  CHECK_CLOSE(labels(), expected(0.5), 1e-5);
  recipe.vote = "priors";
  recipe.priors = {50};
  CHECK_THROWS_WITH_TEXT(labels(), ConfigError, "priors: expected 2, one per teacher, found 1");
  recipe.priors = {};
  CHECK_THROWS_WITH_TEXT(labels(), ConfigError, "priors: expected 2, one per teacher, found 0");
}

TEST_CASE("priors that nobody gave are what teachers know of training images", "[train][relabel]") {
  Committee committee;
  committee.members[1] = fresh_member(committee.dataset, "ConvNet-2-BN-w8", 2);
  committee.members[1].accuracy = 99;  // of the test split, which decides nothing
  RelabelRecipe recipe = small_recipe("cv-dd");
  recipe.priors = {};
  recipe.settle(committee.members, nullptr);
  CHECK(recipe.priors.empty());
  recipe.settle(committee.members, &committee.dataset);
  const auto known = train::measured_knowledge(committee.members, committee.dataset);
  CHECK(recipe.priors == known.percent);
  CHECK(recipe.priors[0] > recipe.priors[1]);
  CHECK(recipe.priors_measured_on == 90);

  RelabelRecipe given = small_recipe("cv-dd");
  given.settle(committee.members, &committee.dataset);
  CHECK(given.priors == std::vector<double>{97, 87});
  CHECK(given.priors_measured_on == 0);
  given.priors = {50};
  CHECK_THROWS_WITH_TEXT(given.settle(committee.members, nullptr), ConfigError,
                         "priors: expected 2, one per teacher, found 1");
  RelabelRecipe equal = small_recipe("fkd");
  equal.settle(committee.members, &committee.dataset);
  CHECK(equal.priors.empty());
}

TEST_CASE("a group of one image is refused where a map has one pixel", "[train][relabel]") {
  const Committee committee;
  RelabelRecipe recipe = small_recipe("cv-dd");
  recipe.vote = "equal";
  const auto expect = [&](const std::vector<train::Member>& members, std::int64_t images) {
    train::expect_label_groups(recipe, train::labeler_of(recipe, members, images), images);
  };
  CHECK_NOTHROW(expect(committee.members, 17));
  // The last maps of this one have a pixel each.
  train::Member deep = fresh_member(committee.dataset, "R18m-w16", 3);
  CHECK_NOTHROW(expect({deep}, 16));
  CHECK_NOTHROW(expect({deep}, 18));
  CHECK_NOTHROW(expect({deep}, 9));  // 5 + 4
  for (const std::int64_t images : {1, 3, 17, 25}) {
    CHECK_THROWS_WITH_TEXT(expect({deep}, images), ConfigError, "teacher R18m-w16: a batch of ");
  }
  CHECK_THROWS_WITH_TEXT(expect({deep}, 25), ConfigError,
                         "a batch of 9 views has a group of one for BatchNorm (8 + 1); choose "
                         "another --batch-size or --batch-norm-group, or --batch-norm eval");
  recipe.batch_norm = "halves";
  CHECK_NOTHROW(expect({deep}, 25));
  CHECK_THROWS_WITH_TEXT(expect({deep}, 19), ConfigError, "(1 + 2)");
  recipe.batch_norm = "eval";
  CHECK_NOTHROW(expect({deep}, 17));
}

TEST_CASE("static labels are the mean of the logits of every image as it is", "[train][relabel]") {
  const Committee committee;
  const RelabelRecipe recipe = RelabelRecipe::defaults("static");
  const Tensor all = committee.dataset.batch(data::Split::Train, at::arange(70, at::kLong));
  const Tensor labels =
      train::static_labels(train::labeler_of(recipe, committee.members, kImages), all);
  CHECK(labels.scalar_type() == at::kFloat);
  CHECK_CLOSE(labels,
              (eval_logits(committee.members[0], all) + eval_logits(committee.members[1], all)) / 2,
              1e-5);
}
