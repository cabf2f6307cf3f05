// Architecture search: the grid, rankings, what networks are trained on, records, and the report.
#include <algorithm>
#include <cmath>
#include <set>

#include <nlohmann/json.hpp>

#include "datasets/shapes/shapes.h"
#include "experiments/nas/course.h"
#include "experiments/nas/grid.h"
#include "experiments/nas/prediction.h"
#include "experiments/nas/ranking.h"
#include "experiments/nas/records.h"
#include "experiments/nas/report.h"
#include "experiments/nas/study.h"
#include "experiments/nas/trainings.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/rng.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"
#include "tests/support/threads.h"

using namespace retort;
using namespace retort::experiments::nas;
using Catch::Matchers::Contains;
using data::Split;

namespace {

const data::ImageDataset& shapes() {
  static const data::ImageDataset dataset = datasets::shapes::make_shapes(
      {.classes = 4, .side = 16, .train_per_class = 12, .test_per_class = 5});
  return dataset;
}

const data::ImageDataset& held_out() {
  static const data::ImageDataset dataset = shapes().hold_out(0.25, Rng(0));
  return dataset;
}

eval::Protocol tiny_protocol() {
  eval::Protocol protocol;
  protocol.name = "tiny";
  protocol.epochs = 2;
  protocol.schedule = "steps";
  protocol.batch_size = 8;
  return protocol;
}

/// Two architectures without BatchNorm and two with it.
const std::vector<Architecture>& small_grid() {
  static const auto grid = architectures({.widths = {32},
                                          .depths = {1},
                                          .norms = {"IN", "BN"},
                                          .activations = {"ReLU", "sigmoid"},
                                          .poolings = {"average"}});
  return grid;
}

const Networks& small_networks() {
  static const Networks networks = make_networks(small_grid(), shapes().shape(), 4);
  return networks;
}

data::SyntheticSet set_of_real_images(std::int64_t per_class) {
  data::SyntheticSet set;
  Tensor rows;
  for (std::int64_t c = 0; c < 4; ++c) {
    const Tensor own = held_out().class_indices(c).slice(0, 0, per_class);
    rows = c == 0 ? own : at::cat({rows, own});
  }
  set.images = held_out().batch(Split::Train, rows);
  set.class_index = held_out().labels(Split::Train).index_select(0, rows);
  set.labels = data::HardLabels{set.class_index};
  set.preprocessing = held_out().preprocessing();
  set.provenance.class_names = held_out().info().class_names;
  return set;
}

std::vector<Course> small_courses() {
  return {set_course("real", set_of_real_images(2), tiny_protocol(), held_out(), {0, 1}),
          early_stopping("early-stopping", 8, tiny_protocol(), held_out(), {0}),
          reference_course(tiny_protocol(), shapes(), {0, 1})};
}

std::vector<Trainings> trained_in(const std::filesystem::path& folder) {
  const StopFlag stop;
  return train_all(small_courses(), small_networks(), Records(folder), no_progress(), stop);
}

std::vector<double> accuracies(const std::vector<Trainings>& courses) {
  std::vector<double> all;
  for (const auto& course : courses) {
    for (const auto& runs : course) {
      for (const Trained& run : runs) all.push_back(run.accuracy + run.train_loss);
    }
  }
  return all;
}

Study study_with(const std::vector<Proxy>& proxies, std::vector<std::int64_t> top) {
  return {.dataset = shapes(),
          .held_out = held_out(),
          .grid = small_grid(),
          .networks = small_networks(),
          .proxies = proxies,
          .ipc = 2,
          .protocol = tiny_protocol(),
          .reference_protocol = tiny_protocol(),
          .top = std::move(top),
          .config = "seed = 0\n"};
}

Trainings with_accuracies(const std::vector<std::vector<double>>& values) {
  Trainings trainings;
  for (const auto& runs : values) {
    trainings.emplace_back();
    for (const double accuracy : runs) {
      trainings.back().push_back({.accuracy = accuracy, .seconds = 60, .wall_seconds = 30});
    }
  }
  return trainings;
}

}  // namespace

TEST_CASE("the grid has 720 architectures, each with a name of its own", "[experiments][nas]") {
  const auto grid = architectures({});
  REQUIRE(grid.size() == 720);
  std::set<std::string> names;
  for (const auto& network : make_networks(grid, {3, 32, 32}, 10)) {
    names.insert(network->name());
    // The name alone makes the same network.
    const auto again = nn::make_network(network->name(), {3, 32, 32}, 10);
    CHECK(again->macs() == network->macs());
    CHECK(again->parameter_count() == network->parameter_count());
  }
  CHECK(names.size() == 720);
  for (const char* name : {"ConvNet-3", "ConvNet-1-NN-w32-sigmoid-nopool",
                           "ConvNet-4-GN-w256-leakyrelu-max", "ConvNet-2-BN-w64"}) {
    INFO(name);
    CHECK(names.contains(name));
  }
}

TEST_CASE("the grid costs what the specification says", "[experiments][nas]") {
  // 133.8 MMAC in the mean for RGB images of 32x32, 76 % of it without pooling, at most 1.82 GMAC.
  double all = 0;
  double unpooled = 0;
  double most = 0;
  const auto grid = architectures({});
  const auto networks = make_networks(grid, {3, 32, 32}, 10);
  for (std::size_t i = 0; i < grid.size(); ++i) {
    const auto macs = double(networks[i]->macs());
    all += macs;
    most = std::max(most, macs);
    if (grid[i].pooling == "none") unpooled += macs;
  }
  CHECK(all / 720 == Approx(133.8e6).epsilon(0.001));
  CHECK(unpooled / all == Approx(0.76).margin(0.005));
  CHECK(most == Approx(1.82e9).epsilon(0.005));
}

TEST_CASE("a filter leaves a part of the grid, in its order", "[experiments][nas]") {
  const auto some = architectures({.widths = {64, 32, 64},
                                   .depths = {2, 3},
                                   .norms = {"in", "none", "BN"},
                                   .activations = {"relu", "sigmoid", "LeakyReLU"},
                                   .poolings = {"average"}});
  REQUIRE(some.size() == 36);
  CHECK(some.front().config.width == 32);
  CHECK(some.front().norm == "none");
  CHECK(some.front().activation == "sigmoid");
  CHECK(some.back().config.width == 64);
  CHECK(some.back().norm == "IN");
}

TEST_CASE("values that the grid does not have are refused with those it has",
          "[experiments][nas]") {
  CHECK_THROWS_WITH(architectures({.widths = {32, 48}}),
                    "option 'widths': the grid knows 32, 64, 128, 256; found '48'");
  CHECK_THROWS_WITH(architectures({.depths = {}}),
                    "option 'depths': the grid knows 1, 2, 3, 4; found nothing");
  CHECK_THROWS_WITH(architectures({.norms = {"Batch"}}),
                    "option 'norms': the grid knows none, BN, LN, IN, GN; found 'Batch'");
  CHECK_THROWS_AS(architectures({.activations = {"swish"}}), ConfigError);
  CHECK_THROWS_AS(architectures({.poolings = {"avg"}}), ConfigError);
  const auto deep = architectures({.depths = {2, 4}});
  CHECK_THROWS_WITH(make_networks(deep, {3, 8, 8}, 10),
                    "option 'depths': images of 3x8x8 allow 1 .. 3 poolings, found depth 4");
  // Without pooling no image is too small.
  CHECK(make_networks(architectures({.depths = {4}, .poolings = {"none"}}), {3, 8, 8}, 10).size() ==
        60);
}

TEST_CASE("equal values share the mean of their ranks", "[experiments][nas]") {
  CHECK(average_ranks({30, 10, 20}) == std::vector<double>{3, 1, 2});
  CHECK(average_ranks({5, 1, 5, 5, 9}) == std::vector<double>{3, 1, 3, 3, 5});
  CHECK(average_ranks({2, 2}) == std::vector<double>{1.5, 1.5});
  CHECK(average_ranks({}).empty());
}

TEST_CASE("Spearman's rho of hand-made rankings", "[experiments][nas]") {
  CHECK(spearman({1, 2, 3, 4}, {10, 20, 30, 1000}) == Approx(1));
  CHECK(spearman({1, 2, 3, 4}, {9, 7, 5, -3}) == Approx(-1));
  CHECK(spearman({86, 97, 99, 100, 101, 103, 106, 110, 112, 113},
                 {0, 20, 28, 27, 50, 29, 7, 17, 6, 12}) == Approx(-29.0 / 165));
  // With ties, ranks 1 2.5 2.5 4 against 1 2 3 4: 4.5 / sqrt(4.5 * 5).
  CHECK(spearman({1, 2, 2, 3}, {1, 2, 3, 4}) == Approx(4.5 / std::sqrt(22.5)));
  CHECK(std::isnan(spearman({1, 1, 1}, {1, 2, 3})));
  CHECK(std::isnan(spearman({1}, {1})));
  CHECK_THROWS_WITH(spearman({1, 2}, {1}), Contains("expected equally many values"));
}

TEST_CASE("without ties Spearman's rho is the textbook's formula", "[experiments][nas]") {
  Rng rng(5);
  for (const std::int64_t n : {2, 3, 17, 36}) {
    const auto a = rng.permutation(n);
    const auto b = rng.permutation(n);
    double squares = 0;
    for (std::size_t i = 0; i < a.size(); ++i) squares += std::pow(double(a[i] - b[i]), 2);
    const double formula = 1 - 6 * squares / double(n * (n * n - 1));
    CHECK(spearman({a.begin(), a.end()}, {b.begin(), b.end()}) == Approx(formula).margin(1e-12));
  }
}

TEST_CASE("the interval of rho holds it, narrows with more pairs and repeats itself",
          "[experiments][nas]") {
  Rng rng(3);
  const auto width_of = [&](std::size_t pairs) {
    Scores a;
    Scores b;
    for (std::size_t i = 0; i < pairs; ++i) {
      a.push_back(rng.normal());
      b.push_back(a.back() + rng.normal());
    }
    const Interval interval = spearman_interval(a, b, Rng(1));
    CHECK(interval.low < spearman(a, b));
    CHECK(interval.high > spearman(a, b));
    CHECK(spearman_interval(a, b, Rng(1)).low == interval.low);
    return interval.high - interval.low;
  };
  CHECK(width_of(200) < 0.5 * width_of(20));
  const Interval exact = spearman_interval({1, 2, 3, 4, 5}, {2, 3, 4, 5, 6}, Rng(1));
  CHECK(exact.low == Approx(1));
  CHECK(exact.high == Approx(1));
  CHECK(std::isnan(spearman_interval({1, 1}, {1, 2}, Rng(1)).low));
}

TEST_CASE("the highest scores come first, of equal ones the earlier", "[experiments][nas]") {
  CHECK(highest({1, 9, 5, 9}, 3) == std::vector<std::size_t>{1, 3, 2});
  CHECK(highest({1, 2}, 9) == std::vector<std::size_t>{1, 0});
  CHECK(at_places({7, 8, 9}, {2, 0}) == Scores{9, 7});
}

TEST_CASE("rankings are compared over 5 % of the architectures, 10 and 20, where they fit",
          "[experiments][nas]") {
  CHECK(default_top(720) == std::vector<std::int64_t>{10, 20, 36});
  CHECK(default_top(36) == std::vector<std::int64_t>{10, 20});
  CHECK(default_top(100) == std::vector<std::int64_t>{5, 10, 20});
  CHECK(default_top(4).empty());
}

TEST_CASE("early stopping takes as many steps of as many images as a set, all of them fresh",
          "[experiments][nas]") {
  const Course set = set_course("real", set_of_real_images(3), tiny_protocol(), held_out(), {0});
  const Course early = early_stopping("early", 12, tiny_protocol(), held_out(), {0});
  CHECK(early.lessons->steps_per_epoch() == set.lessons->steps_per_epoch());
  CHECK(early.options.epochs == set.options.epochs);
  CHECK(early.images() == set.images());
  auto protocol = tiny_protocol();
  protocol.augmentation = "none";
  const auto lessons = early_stopping("early", 12, protocol, held_out(), {0}).lessons;
  const auto first = lessons->epoch(0, Rng(1).child("epoch", 0));
  CHECK(first(0).images.size(0) == 8);
  CHECK(first(1).images.size(0) == 4);
  CHECK(at::equal(first(1).images, lessons->epoch(0, Rng(1).child("epoch", 0))(1).images));
  CHECK_FALSE(at::equal(first(0).images, lessons->epoch(1, Rng(1).child("epoch", 1))(0).images));
  // More images than there are: all of them.
  CHECK(early_stopping("early", 1000, protocol, held_out(), {0}).images_per_epoch ==
        held_out().size(Split::Train));
}

TEST_CASE("proxies are scored on held-out training images, the reference on test images",
          "[experiments][nas]") {
  const auto courses = small_courses();
  CHECK(courses[0].tested_on.size(Split::Test) == 12);
  CHECK(at::equal(courses[0].tested_on.labels(Split::Test), held_out().labels(Split::Test)));
  CHECK(courses[2].tested_on.size(Split::Test) == 20);
  CHECK(courses[2].images_per_epoch == 48);
  CHECK(courses[0].stream == courses[1].stream);
  CHECK(courses[0].stream != courses[2].stream);
  std::set<std::string> keys;
  for (const auto& course : courses) keys.insert(course.key);
  CHECK(keys.size() == 3);
  auto other = set_of_real_images(2);
  other.images = other.images + 0.5;
  CHECK(set_course("real", other, tiny_protocol(), held_out(), {0}).key != courses[0].key);
}

TEST_CASE("trainings are the same on one thread and on two", "[experiments][nas]") {
  const testing::TemporaryFolder one("nas-one");
  const testing::TemporaryFolder two("nas-two");
  const auto on_threads = [](int threads, const std::filesystem::path& folder) {
    const testing::WithThreads number(threads);
    return accuracies(trained_in(folder));
  };
  const auto first = on_threads(1, one.path());
  CHECK(first == on_threads(2, two.path()));
  CHECK(first.size() == 4 * 5);
}

TEST_CASE("finished trainings are taken from their records, others are made again",
          "[experiments][nas]") {
  const testing::TemporaryFolder folder("nas-records");
  const auto before = trained_in(folder.path());
  const auto courses = small_courses();
  const Records records(folder.path());
  const auto file = [&](std::size_t course, std::uint64_t seed) {
    return records.file(courses[course], small_networks()[0]->name(), seed);
  };
  CHECK(file(0, 1) == folder.path() / "trainings" / "real" / "ConvNet-1-BN-w32-sigmoid-seed1.json");
  auto document = nlohmann::json::parse(read_text(file(0, 1)));
  document["accuracy"] = 12.5;  // to be seen again
  write_text(file(0, 1), document.dump());
  document["key"] = "of another set";
  write_text(file(0, 0), document.dump());
  write_text(file(2, 0), "half a rec");
  std::filesystem::remove(file(1, 0));
  const auto after = trained_in(folder.path());
  CHECK(after[0][0][1].accuracy == 12.5);
  for (const auto& [course, seed] : {std::pair{0, 0}, std::pair{2, 0}, std::pair{1, 0}}) {
    const auto c = std::size_t(course);
    const auto s = std::size_t(seed);
    CHECK(after[c][0][s].accuracy == before[c][0][s].accuracy);
    CHECK(after[c][0][s].train_loss == before[c][0][s].train_loss);
  }
  CHECK(after[2][3][1].seconds == before[2][3][1].seconds);
}

TEST_CASE("a training that diverges counts as guessing and does not end the others",
          "[experiments][nas]") {
  const testing::TemporaryFolder folder("nas-diverged");
  auto broken = set_of_real_images(2);
  broken.labels = data::SoftLabels{.classes = broken.class_index,
                                   .values = at::full({8, 4}, NAN),
                                   .kind = data::SoftLabels::Kind::Probability};
  const std::vector<Course> courses{
      set_course("broken", broken, tiny_protocol(), held_out(), {0}),
      set_course("real", set_of_real_images(2), tiny_protocol(), held_out(), {0})};
  const StopFlag stop;
  const auto results =
      train_all(courses, small_networks(), Records(folder.path()), no_progress(), stop);
  for (const auto& runs : results[0]) {
    CHECK(runs[0].diverged);
    CHECK(runs[0].accuracy == 25);
  }
  for (const auto& runs : results[1]) CHECK_FALSE(runs[0].diverged);
}

TEST_CASE("nothing begins after a stop, and what cannot be written ends all",
          "[experiments][nas]") {
  const testing::TemporaryFolder folder("nas-stopped");
  StopFlag stop;
  stop.request();
  const auto courses = small_courses();
  CHECK_THROWS_AS(train_all(courses, small_networks(), Records(folder.path()), no_progress(), stop),
                  Interrupted);
  CHECK_FALSE(std::filesystem::exists(folder.path() / "trainings"));
  write_text(folder.path() / "trainings", "in the way");
  const StopFlag going;
  CHECK_THROWS_AS(
      train_all(courses, small_networks(), Records(folder.path()), no_progress(), going),
      StorageError);
}

TEST_CASE("the report names the first, its test accuracy, and rho with its ties",
          "[experiments][nas]") {
  const Study study = study_with({}, {2});
  Outcome outcome;
  outcome.reference_images = 48;
  outcome.reference_epochs = 2;
  outcome.reference = with_accuracies({{10, 20}, {40, 30}, {60, 60}, {70, 90}});
  outcome.proxies.push_back({.name = "good",
                             .stored = 8,
                             .images = 8,
                             .epochs = 2,
                             .condensing_seconds = 60,
                             .trainings = with_accuracies({{1}, {2}, {3}, {4}})});
  outcome.proxies.push_back({.name = "tied",
                             .stored = 8,
                             .images = 8,
                             .epochs = 2,
                             .trainings = with_accuracies({{5}, {5}, {1}, {0}})});
  outcome.proxies.back().trainings[3][0].diverged = true;
  const auto document = to_json(study, outcome);
  CHECK(document["schema"] == "retort.nas/1");
  CHECK(document["reference"]["tested_on"] == "test");
  CHECK(document["reference"]["reliability"][1]["rho"].get<double>() == Approx(1));
  const auto& good = document["proxies"][0];
  CHECK(good["first"]["network"] == "ConvNet-1-w32");
  CHECK(good["first"]["test_accuracy"] == 80);
  CHECK(good["first"]["rank"] == 1);
  CHECK(good["correlation"][0]["k"] == 2);
  CHECK(good["correlation"][1]["rho"].get<double>() == Approx(1));
  CHECK(good["wall_seconds"] == 180);
  CHECK(good["training_seconds"] == 240);
  const auto& tied = document["proxies"][1];
  CHECK(tied["first"]["network"] == "ConvNet-1-BN-w32-sigmoid");
  CHECK(tied["first"]["rank"] == 4);
  CHECK(tied["correlation"][0]["rho"].is_null());  // both of the top 2 have one score
  CHECK(tied["correlation"][1]["rho"].get<double>() == Approx(-4.5 / std::sqrt(22.5)));
  CHECK(tied["diverged"] == 1);

  const std::string table = to_table(document);
  CHECK_THAT(table, Contains("shapes, 4 ConvNets, 1 network of each on a proxy") &&
                        Contains("12 held-out training images") &&
                        Contains("2 epochs on 48 images, accuracy on the test images") &&
                        Contains("1 training of tied diverged and counted as guessing") &&
                        Contains("rho, top 2") && Contains("rho, all 4") &&
                        Contains("one of its seeds for another"));
  const std::string csv = to_csv(document);
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 5);
  CHECK_THAT(csv, Contains("macs,reference,reference_seed0,reference_seed1,good,tied\n") &&
                      Contains("ConvNet-1-BN-w32,32,1,BN,ReLU,average,") &&
                      Contains(",35,40,30,2,5\n"));
  const std::string svg = to_svg(document, "good");
  CHECK_THAT(svg, Contains("shapes, good: rho 1.00") && Contains("ConvNet-1-w32: 80, 4") &&
                      Contains("BN: 2, IN: 2."));
}

TEST_CASE("one seed of the reference tells nothing of its reliability", "[experiments][nas]") {
  Study study = study_with({}, {});
  study.reference_seeds = 1;
  Outcome outcome;
  outcome.reference = with_accuracies({{10}, {40}, {60}, {70}});
  const auto document = to_json(study, outcome);
  CHECK(document["reference"]["reliability"].is_null());
  CHECK_THAT(to_table(document), Contains("not known from one seed"));
}

TEST_CASE("a search is predicted to cost its trainings", "[experiments][nas]") {
  const std::vector<Proxy> proxies{{.name = "early-stopping", .kind = Proxy::Kind::EarlyStopping}};
  Study study = study_with(proxies, {});
  study.reference_seeds = 3;
  double now = 0;
  const Clock clock = [&now] { return now += 0.01; };  // whatever is done takes as long
  const Cost cost = predict(study, clock);
  CHECK(cost.proxy_trainings == 4);
  CHECK(cost.reference_trainings == 12);
  CHECK(cost.condensing_seconds == 0);
  CHECK(cost.proxy_seconds > 0);
  CHECK(cost.reference_seconds > 3 * cost.proxy_seconds);
  CHECK(cost.memory_bytes > 0);
}
