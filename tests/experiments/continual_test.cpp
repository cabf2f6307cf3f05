// Class-incremental studies: orders, steps, memory, what a step may look at, and the report.
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include <nlohmann/json.hpp>

#include "datasets/shapes/shapes.h"
#include "experiments/continual/class_steps.h"
#include "experiments/continual/memory.h"
#include "experiments/continual/own_statistics.h"
#include "experiments/continual/prediction.h"
#include "experiments/continual/report.h"
#include "experiments/continual/study.h"
#include "experiments/outlook.h"
#include "lib/core/error.h"
#include "lib/core/rng.h"
#include "lib/eval/material.h"
#include "lib/nn/network.h"
#include "lib/storage/set_file.h"
#include "lib/storage/state_file.h"
#include "lib/train/retention.h"
#include "lib/train/supervised.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

using namespace retort;
using namespace retort::experiments::continual;
using Catch::Matchers::Contains;
using data::Split;
using experiments::Outlook;

namespace {

const data::ImageDataset& shapes() {
  static const data::ImageDataset dataset = datasets::shapes::make_shapes(
      {.classes = 4, .side = 16, .train_per_class = 12, .test_per_class = 5});
  return dataset;
}

/// The dataset with every pixel of these classes drawn anew, in both splits, and its statistics
/// taken again as whoever opens it would.
data::ImageDataset with_noise(const data::ImageDataset& dataset, const Classes& classes) {
  Rng rng = Rng(9).child("noise");
  const auto split = [&](Split which) {
    const Tensor rows = at::arange(dataset.size(which), at::kLong);
    Tensor pixels = dataset.pixels(which, rows);
    const Tensor chosen =
        at::isin(dataset.labels(which), at::tensor(classes, at::kLong)).nonzero().flatten();
    std::vector<std::int64_t> shape = pixels.sizes().vec();
    shape[0] = chosen.size(0);
    const Tensor noise = rng.uniform_tensor(shape, 0, 255).to(at::kByte);
    pixels.index_copy_(0, chosen, noise);
    return data::DataSplit{std::make_shared<data::MemoryStore>(pixels), dataset.labels(which)};
  };
  const data::ImageDataset noisy(dataset.info(), split(Split::Train), split(Split::Test),
                                 dataset.preprocessing());
  return noisy.with_preprocessing(own_mean_std(noisy));
}

std::function<std::unique_ptr<methods::DistillationMethod>()> maker(
    const std::string& name, const std::vector<std::pair<std::string, std::string>>& values) {
  const std::shared_ptr<methods::MethodFactory> factory = methods::find_method(name).factory();
  config::OptionTable table = factory->options();
  for (const auto& [key, value] : values) table.set(key, value, config::Origin::Flag);
  return [factory] { return factory->create(); };
}

Study small_study(const data::ImageDataset& dataset) {
  eval::Protocol protocol;
  protocol.name = "tiny";
  protocol.epochs = 1;
  protocol.schedule = "steps";
  protocol.net = "ConvNet-2-w8";
  return {.dataset = dataset,
          .orders = 1,
          .steps = 2,
          .ipc = 2,
          .runs = 1,
          .fitted_statistics = true,
          .method = "random",
          .make_method = maker("random", {}),
          .protocol = protocol,
          .config = "method = random\n"};
}

std::vector<OrderResult> make_in(const std::filesystem::path& folder, const Study& study,
                                 const std::string& key = "") {
  const StopFlag stop;
  return make(study, {.folder = folder,
                      .provenance = {},
                      .go_on = "again",
                      .keeper = [](const auto&, const auto&, const auto&,
                                   const auto&) { return std::unique_ptr<eval::RunKeeper>(); },
                      .key = [&](const auto&, const auto&, const auto&) { return key; },
                      .after_step = [](const std::vector<OrderResult>&) {},
                      .progress = no_progress(),
                      .stop = stop});
}

data::SyntheticSet set_of(const std::filesystem::path& folder, int order, int step) {
  return storage::read_set(folder / ("order-" + std::to_string(order)) /
                           ("step-" + std::to_string(step)) / "set.h5");
}

/// A set of two classes whose images are constants.
data::SyntheticSet constant_set(float first) {
  data::SyntheticSet set;
  set.images = (at::arange(4, at::kFloat) + first).view({4, 1, 1, 1}).repeat({1, 1, 2, 2});
  set.class_index = at::tensor({0, 0, 1, 1}, at::kLong);
  set.labels = data::HardLabels{set.class_index};
  return set;
}

}  // namespace

TEST_CASE("orders of classes are the permutations of NumPy's legacy generator",
          "[experiments][continual]") {
  // python3 -c "import numpy; print(numpy.random.RandomState(0).permutation(10))" of NumPy 2.4.6
  CHECK(numpy_permutation(0, 10) == Classes{2, 8, 4, 9, 1, 6, 7, 3, 0, 5});
  CHECK(numpy_permutation(1, 10) == Classes{2, 9, 6, 4, 0, 3, 1, 7, 8, 5});
  CHECK(numpy_permutation(4, 10) == Classes{3, 8, 4, 9, 2, 6, 0, 1, 5, 7});
  const Classes hundred = numpy_permutation(4, 100);
  CHECK(Classes(hundred.begin(), hundred.begin() + 8) == Classes{20, 10, 96, 16, 63, 24, 53, 97});
  CHECK(Classes(hundred.end() - 4, hundred.end()) == Classes{1, 69, 55, 46});
  CHECK(numpy_permutation(7, 1) == Classes{0});
}

TEST_CASE("an order is cut into equal steps or refused with what divides it",
          "[experiments][continual]") {
  CHECK(equal_steps({3, 1, 0, 2, 5, 4}, 3) == std::vector<Classes>{{3, 1}, {0, 2}, {5, 4}});
  CHECK(equal_steps({1, 0}, 1) == std::vector<Classes>{{1, 0}});
  CHECK_THROWS_WITH_TEXT(equal_steps({3, 1, 0, 2, 5, 4}, 4), ConfigError,
                         "option 'steps': 6 classes cannot be cut into 4 equal steps; possible "
                         "are 1, 2, 3, 6");
  CHECK_THROWS_WITH_TEXT(equal_steps({0, 1}, 3), ConfigError, "possible are 1, 2");
}

TEST_CASE("sets are put behind those in memory, which never change", "[experiments][continual]") {
  Memory memory(data::Preprocessing::identity(1));
  CHECK(memory.size() == 0);
  data::SyntheticSet first = constant_set(0);
  memory.add(first, {7, 3});
  const Tensor kept = memory.images().images;
  memory.add(constant_set(4), {0, 5});
  first.images.fill_(-1);  // nobody else's tensor
  CHECK(memory.size() == 8);
  CHECK(memory.stored() == 8);
  CHECK(at::equal(memory.images().images.slice(0, 0, 4), kept));
  CHECK(at::equal(memory.images().images.select(3, 0).select(2, 0).flatten(),
                  at::arange(8, at::kFloat)));
  CHECK(at::equal(data::hard_classes(memory.images().labels),
                  at::tensor({7, 7, 3, 3, 0, 0, 5, 5}, at::kLong)));
  CHECK_THROWS_WITH_TEXT(memory.add(constant_set(0), {1}), DataError,
                         "the set of a step of 1 classes: found label 1");
}

TEST_CASE("what a step condenses depends on its own classes alone", "[experiments][continual]") {
  const auto [name, options] = GENERATE(
      std::pair<std::string, std::vector<std::pair<std::string, std::string>>>{
          "dm", {{"iterations", "2"}, {"net", "ConvNet-2-w8"}, {"batch-real", "4"}}},
      std::pair<std::string, std::vector<std::pair<std::string, std::string>>>{
          "herding", {{"feature-epochs", "1"}, {"feature-net", "ConvNet-2-w8"}}});
  INFO(name);
  const testing::TemporaryFolder folder("retort-continual-test");
  Study study = small_study(shapes());
  study.method = name;
  study.make_method = maker(name, options);
  const std::vector<Classes> steps = study.classes_of(0);
  const auto results = make_in(folder.path() / "whole", study);
  for (const std::size_t step : {0U, 1U}) {
    INFO(step);
    const data::ImageDataset noisy = with_noise(shapes(), steps[1 - step]);
    REQUIRE_FALSE(at::equal(noisy.pixels(Split::Train, at::arange(48)),
                            shapes().pixels(Split::Train, at::arange(48))));
    Study other = small_study(noisy);
    other.method = name;
    other.make_method = study.make_method;
    const auto root = folder.path() / ("noise-" + std::to_string(step));
    const auto changed = make_in(root, other);
    const int number = int(step) + 1;
    CHECK(at::equal(set_of(root, 0, number).images,
                    set_of(folder.path() / "whole", 0, number).images));
    CHECK_FALSE(at::equal(set_of(root, 0, 3 - number).images,
                          set_of(folder.path() / "whole", 0, 3 - number).images));
    // Nor does the first step's test see what comes later.
    if (step == 0) {
      CHECK(changed[0].steps[0].networks.mean == results[0].steps[0].networks.mean);
      CHECK(changed[0].steps[0].networks.confusion == results[0].steps[0].networks.confusion);
    }
  }
}

TEST_CASE("networks of a step train on all sets so far and are tested on all classes seen",
          "[experiments][continual]") {
  const testing::TemporaryFolder folder("retort-continual-test");
  Study study = small_study(shapes());
  study.orders = 2;
  study.runs = 2;
  const auto results = make_in(folder.path(), study);
  REQUIRE(results.size() == 2);
  for (const OrderResult& order : results) {
    const std::vector<Classes> steps = study.classes_of(order.order);
    REQUIRE(order.steps.size() == 2);
    for (std::size_t s = 0; s < 2; ++s) {
      const StepResult& step = order.steps[s];
      CHECK(step.classes == steps[s]);
      CHECK(step.classes_seen == 2 * std::int64_t(s + 1));
      CHECK(step.images == 2 * step.classes_seen);
      CHECK(step.networks.runs.size() == 2);
      CHECK(step.by_step.size() == s + 1);
      // 5 test images of every class seen, for each of 2 networks; of no other.
      for (std::int64_t c = 0; c < 4; ++c) {
        const auto& row = step.networks.confusion[std::size_t(c)];
        const auto tested = std::accumulate(row.begin(), row.end(), std::int64_t{0});
        const bool seen = std::count(steps[0].begin(), steps[0].end(), c) > 0 || s == 1;
        CHECK(tested == (seen ? 10 : 0));
      }
    }
    // Equally many test images of every step.
    const StepResult& last = order.steps.back();
    CHECK(last.networks.mean == Approx((last.by_step[0] + last.by_step[1]) / 2));
  }
  CHECK(results[0].steps[0].networks.runs[1].seed == 1);
  CHECK(results[1].steps[0].networks.runs[0].seed == 2);
  const data::SyntheticSet set = set_of(folder.path(), 1, 2);
  CHECK(set.images.size(0) == 4);
  CHECK(set.num_classes() == 2);
  CHECK_THAT(set.provenance.config, Contains("order = 1\nstep = 2\nclasses = "));
}

TEST_CASE("kept networks go on from the step before with outputs for the new classes",
          "[experiments][continual]") {
  const testing::TemporaryFolder folder("retort-continual-test");
  Study study = small_study(shapes());
  study.variant = Variant::Kept;
  study.runs = 2;
  study.protocol.lr = 1e-12;  // what a step begins with is what it ends with
  const std::vector<Classes> steps = study.classes_of(0);
  for (const Classes& classes : steps) CHECK(std::is_sorted(classes.begin(), classes.end()));
  const auto results = make_in(folder.path(), study);
  const auto parameters = [&](int step, int network) {
    const std::string place = "step-" + std::to_string(step);
    const std::string name = "network-" + std::to_string(network) + ".h5";
    return storage::StateReader(folder.path() / "order-0" / place / name).tensors("parameters");
  };
  for (const int network : {0, 1}) {
    INFO(network);
    const Tensors before = parameters(1, network);
    const Tensors after = parameters(2, network);
    REQUIRE(before.size() == after.size());
    for (std::size_t i = 0; i < before.size(); ++i) {
      INFO(i);
      const Tensor change = after[i].narrow(0, 0, before[i].size(0)) - before[i];
      CHECK(change.abs().max().item<double>() < 1e-9);
    }
    CHECK(before.back().sizes() == at::IntArrayRef{2});
    CHECK(after.back().sizes() == at::IntArrayRef{4});
  }
  CHECK_FALSE(at::equal(parameters(1, 0)[0], parameters(1, 1)[0]));
  // Tested on all classes seen: 5 images of each, for each of 2 networks.
  const StepResult& first = results[0].steps[0];
  for (std::int64_t c = 0; c < 4; ++c) {
    const auto& row = first.networks.confusion[std::size_t(c)];
    const bool seen = std::count(steps[0].begin(), steps[0].end(), c) > 0;
    CHECK(std::accumulate(row.begin(), row.end(), std::int64_t{0}) == (seen ? 10 : 0));
  }
  CHECK(first.networks.mean == Approx(first.by_step[0]));
  // A second time everything is taken from the folder.
  const auto again = make_in(folder.path(), study);
  CHECK(again[0].steps[1].networks.runs[0].seconds == results[0].steps[1].networks.runs[0].seconds);
  CHECK(again[0].steps[1].networks.confusion == results[0].steps[1].networks.confusion);
}

namespace {

/// Networks 0 of both steps as files in the folder say.
storage::StateReader kept_network(const std::filesystem::path& folder, int step) {
  return storage::StateReader(folder / "order-0" / ("step-" + std::to_string(step)) /
                              "network-0.h5");
}

Study kept_study() {
  Study study = small_study(shapes());
  study.variant = Variant::Kept;
  study.protocol.lr = 0.05;
  study.protocol.epochs = 3;
  return study;
}

/// A network of the second step of `study`, from that of the first, in a loop written out.
/// @param retains whether it is held to what that said
Tensors learned_on(const Study& study, const std::filesystem::path& folder, bool retains) {
  const std::vector<Classes> steps = study.classes_of(0);
  const data::Preprocessing first = own_mean_std(shapes().only_classes(steps[0]));
  const Classes seen{steps[0][0], steps[0][1], steps[1][0], steps[1][1]};
  const data::ImageDataset dataset = shapes().with_preprocessing(first).only_classes(seen);
  const data::SyntheticSet second = set_of(folder, 0, 2);
  const eval::Material material{
      .training = {at::cat({set_of(folder, 0, 1).images,
                            first.apply(second.preprocessing.invert(second.images))}),
                   data::HardLabels{at::tensor({0, 0, 1, 1, 2, 2, 3, 3}, at::kLong)}}};
  const auto narrow = nn::make_network("ConvNet-2-w8", dataset.shape(), 2);
  const auto wide = nn::make_network("ConvNet-2-w8", dataset.shape(), 4);
  const nn::NetworkState before{kept_network(folder, 1).tensors("parameters"), {}};
  const Rng rng = Rng(0).child("kept").child("classes", 4);
  nn::NetworkState state = train::widened(*wide, before, rng.child("init"));
  auto options =
      eval::train_options(study.protocol, material, shapes().info().mirror_changes_class);
  auto lessons = eval::make_lessons(study.protocol, material, dataset);
  if (retains) {
    options.loss = {.kind = train::StudentLoss::Kind::Retention, .temperature = 2};
    lessons = std::make_unique<train::RetainingLessons>(std::move(lessons), *narrow, before);
  }
  train::train(*wide, state, *lessons, options, rng.child("train"),
               [](const train::EpochReport&) { return true; });
  return state.parameters;
}

double largest_difference(const Tensors& a, const Tensors& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, (a[i] - b[i]).abs().max().item<double>());
  }
  return largest;
}

}  // namespace

TEST_CASE("kept networks are held to what they said before", "[experiments][continual]") {
  const testing::TemporaryFolder folder("retort-continual-test");
  const Study study = kept_study();
  make_in(folder.path(), study);
  const Tensors made = kept_network(folder.path(), 2).tensors("parameters");
  CHECK(largest_difference(made, learned_on(study, folder.path(), true)) < 1e-6);
  CHECK(largest_difference(made, learned_on(study, folder.path(), false)) > 1e-4);
}

TEST_CASE("a kept network is taken again only if all that it depends on is the same",
          "[experiments][continual]") {
  const testing::TemporaryFolder folder("retort-continual-test");
  const Study study = kept_study();
  const auto seconds = [&](const std::string& key) {
    const auto results = make_in(folder.path(), study, key);
    return std::pair{results[0].steps[0].networks.seconds, results[0].steps[1].networks.seconds};
  };
  const auto first = seconds("a");
  CHECK(seconds("a") == first);
  const auto other = seconds("b");
  CHECK(other.first != first.first);
  CHECK(other.second != first.second);
  // A network of the first step that is another one takes that of the second with it.
  const auto path = folder.path() / "order-0" / "step-1" / "network-0.h5";
  const storage::StateReader kept(path);
  storage::StateWriter changed;
  for (const char* name : {"key"}) changed.text(name, kept.text(name));
  Tensors parameters = kept.tensors("parameters");
  parameters[0] = parameters[0] + 1;
  changed.tensors("parameters", parameters);
  changed.tensors("buffers", kept.tensors("buffers"));
  changed.tensor("confusion", kept.tensor("confusion"));
  changed.integer("seed", kept.integer("seed"));
  for (const char* name : {"accuracy", "train_loss", "seconds"}) {
    changed.number(name, kept.number(name));
  }
  changed.save(path);
  const auto after = seconds("b");
  CHECK(after.first == other.first);
  CHECK(after.second != other.second);
}

TEST_CASE("sets of other data are not taken for those of a study", "[experiments][continual]") {
  const testing::TemporaryFolder folder("retort-continual-test");
  make_in(folder.path(), small_study(shapes()));
  data::DatasetInfo info = shapes().info();
  info.sha256 = std::string(64, 'f');
  const auto split = [](Split which) {
    return data::DataSplit{std::make_shared<data::MemoryStore>(
                               shapes().pixels(which, at::arange(shapes().size(which), at::kLong))),
                           shapes().labels(which)};
  };
  const data::ImageDataset other(info, split(Split::Train), split(Split::Test),
                                 shapes().preprocessing());
  CHECK_THROWS_WITH_TEXT(make_in(folder.path(), small_study(other)), DataError,
                         "set.h5' was condensed from other data: SHA-256 ");
}

TEST_CASE("memory holds all images in one preprocessing", "[experiments][continual]") {
  Memory memory(data::Preprocessing::identity(1));
  data::SyntheticSet set = constant_set(1);
  set.preprocessing = data::Preprocessing::mean_std({0.5}, {2});
  memory.add(set, {0, 1});
  CHECK_CLOSE(memory.images().images.select(3, 0).select(2, 0).flatten(),
              at::tensor({2.5, 4.5, 6.5, 8.5}, at::kFloat), 1e-6);
}

TEST_CASE("the report joins all networks of all orders", "[experiments][continual]") {
  const auto step = [](Classes classes, std::int64_t seen, std::vector<double> accuracies,
                       std::vector<double> by_step) {
    StepResult result{.classes = std::move(classes),
                      .classes_seen = seen,
                      .images = 2 * seen,
                      .stored = 2 * seen,
                      .condensing_seconds = 1,
                      .networks = {}};
    result.networks.network = "ConvNet-2-w8";
    for (const double accuracy : accuracies) {
      eval::RunResult run;
      run.last = accuracy;
      result.networks.runs.push_back(run);
    }
    result.by_step = std::move(by_step);
    return result;
  };
  Study study = small_study(shapes());
  study.orders = 2;
  study.runs = 2;
  const std::vector<OrderResult> orders{
      {0, {step({2, 0}, 2, {80, 90}, {85}), step({1, 3}, 4, {50, 60}, {40, 70})}},
      {1, {step({3, 1}, 2, {70, 80}, {75}), step({2, 0}, 4, {40, 50}, {20, 70})}}};
  const nlohmann::json document = to_json(study, orders);
  CHECK(document["schema"] == "retort.continual/1");
  CHECK(document["last"]["mean"] == 50);
  CHECK(document["last"]["std"].get<double>() == Approx(std::sqrt(50.0)));
  CHECK(document["last"]["runs"] == std::vector<double>{50, 60, 40, 50});
  CHECK(document["average"] == 65);
  CHECK(document["results"][1]["by_step"] == std::vector<double>{30, 70});
  CHECK(document["orders"][1]["seeds"] == std::vector<int>{2, 3});
  CHECK(document["condensing_seconds"] == 4);
  const std::string table = to_table(document);
  CHECK_THAT(table, Contains("protocol tiny: 1 epochs") && Contains("in 2 steps of 2 classes") &&
                        Contains("2 orders of classes x 2 networks") &&
                        Contains("last step 50.00 ± 7.07 %, average over steps 65.00 %"));
  const std::string csv = to_csv(orders);
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 9);
  CHECK_THAT(csv, Contains("\n1,2,4,8,0,50,"));
  const std::string svg = to_svg(document);
  CHECK_THAT(svg, Contains("<svg ") && Contains("4: 50 ± 7.07") && Contains("</svg>"));
}

TEST_CASE("a phase shows the time until all phases are done", "[experiments][continual]") {
  struct Last : ProgressSink {
    void update(const Progress& progress) override { shown = progress; }
    Progress shown;
  };
  Last sink;
  Outlook outlook(sink, 100, true);
  outlook.skip(30);
  outlook.begin("step 2: ", 20);
  Progress progress;
  progress.phase = "condensing";
  progress.seconds_left = 5;
  outlook.update(progress);
  CHECK(sink.shown.phase == "step 2: condensing");
  CHECK(sink.shown.seconds_left == 55);
  outlook.end();  // at once: the rest will not take long either
  outlook.begin("step 3: ", 20);
  outlook.update(progress);
  CHECK(sink.shown.seconds_left < 6);
  Outlook blind(sink, 100, false);
  blind.begin("", 20);
  blind.update(progress);
  CHECK(sink.shown.seconds_left < 0);
}

TEST_CASE("a study is predicted to cost its steps in every order", "[experiments][continual]") {
  Study study = small_study(shapes());
  study.protocol.epochs = 1000;
  study.orders = 3;
  const Cost cost = predict(study);
  REQUIRE(cost.steps.size() == 2);
  CHECK(cost.steps[1].network_seconds > cost.steps[0].network_seconds);
  CHECK(cost.network_seconds() ==
        Approx(3 * (cost.steps[0].network_seconds + cost.steps[1].network_seconds)));
  CHECK(cost.condensing_seconds() == 0);  // random images cost nothing
}
