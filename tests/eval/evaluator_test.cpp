#include "lib/eval/evaluator.h"

#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "lib/core/error.h"
#include "tests/support/catch.h"
#include "tests/train/separable.h"

using namespace retort;
using namespace retort::testing;

namespace {

eval::Protocol short_protocol() {
  eval::Protocol protocol;
  protocol.name = "short";
  protocol.epochs = 3;
  protocol.batch_size = 40;
  protocol.lr = 0.05;
  return protocol;
}

std::vector<double> last_of(const eval::NetworkResult& result) {
  std::vector<double> values;
  for (const auto& run : result.runs) values.push_back(run.last);
  return values;
}

std::vector<double> losses_of(const eval::NetworkResult& result) {
  std::vector<double> values;
  for (const auto& run : result.runs) values.push_back(run.train_loss);
  return values;
}

class RecordingSink : public ProgressSink {
 public:
  explicit RecordingSink(StopFlag* stop = nullptr) : stop_(stop) {}
  void update(const Progress& progress) override {
    last = progress;
    if (stop_ != nullptr) stop_->request();
  }
  void finish() override { finished = true; }
  Progress last;
  bool finished = false;

 private:
  StopFlag* stop_;
};

}  // namespace

TEST_CASE("results do not depend on how many networks run at once", "[eval][reproducible]") {
  const auto dataset = separable_dataset(15, 2);
  const eval::Evaluator evaluator(dataset, short_protocol());
  const auto images = training_images(dataset);
  for (const char* network : {kTinyNet, "ConvNet-1-BN-w8"}) {
    const auto reference = evaluator.evaluate(images, network, {3, 4, 5});
    const WithThreads two(2);
    const auto three = evaluator.evaluate(images, network, {3, 4, 5});
    const auto alone = evaluator.evaluate(images, network, {4});
    CHECK(last_of(three) == last_of(reference));
    CHECK(losses_of(three) == losses_of(reference));
    CHECK(three.confusion == reference.confusion);
    CHECK(alone.runs[0].train_loss == reference.runs[1].train_loss);
    CHECK(alone.runs[0].last == reference.runs[1].last);
  }
}

TEST_CASE("networks beyond a multiple of the threads are cut into chunks if that pays", "[eval]") {
  CHECK(eval::runs_at_once(5, 2, 4) == 4);
  CHECK(eval::runs_at_once(5, 2, 1) == 5);
  CHECK(eval::runs_at_once(1, 2, 4) == 0);
  CHECK(eval::runs_at_once(4, 2, 4) == 4);
  CHECK(eval::runs_at_once(5, 16, 4) == 5);
  CHECK(eval::runs_at_once(3, 1, 8) == 3);
}

TEST_CASE("a network learns and its result adds up", "[eval][learning]") {
  const auto dataset = separable_dataset(15, 2);
  auto protocol = short_protocol();
  protocol.epochs = 20;
  const eval::Evaluator evaluator(dataset, protocol);
  RecordingSink sink;
  const auto result = evaluator.evaluate(training_images(dataset), kTinyNet, {11, 12}, sink);
  CHECK(result.network == kTinyNet);
  CHECK(result.mean > 80);
  CHECK(result.runs[0].seed == 11);
  CHECK(result.runs[1].seed == 12);
  const double a = result.runs[0].last;
  const double b = result.runs[1].last;
  CHECK(result.mean == Approx((a + b) / 2));
  CHECK(result.std == Approx(std::abs(a - b) / 2).margin(1e-9));
  CHECK_FALSE(result.best_mean.has_value());
  CHECK_FALSE(result.runs[0].best.has_value());
  std::int64_t correct = 0;
  for (std::size_t c = 0; c < 3; ++c) {
    std::int64_t row = 0;
    for (const auto count : result.confusion[c]) row += count;
    CHECK(row == 2 * 15);
    CHECK(result.per_class[c] == Approx(100.0 * double(result.confusion[c][c]) / 30));
    correct += result.confusion[c][c];
  }
  CHECK(result.mean == Approx(100.0 * double(correct) / 90));
  CHECK(sink.finished);
  CHECK(sink.last.total == 2 * 21);
  CHECK(sink.last.done == 2 * 21);
  CHECK(sink.last.seconds_left == Approx(0).margin(1e-6));
}

TEST_CASE("best exists only with extra tests and is never below last", "[eval]") {
  const auto dataset = separable_dataset(10, 2);
  auto protocol = short_protocol();
  protocol.schedule = "steps";
  protocol.epochs = 6;
  protocol.test_every = 2;
  const auto images = training_images(dataset);
  const auto tested = eval::Evaluator(dataset, protocol).evaluate(images, kTinyNet, {1, 2});
  REQUIRE(tested.best_mean.has_value());
  for (const auto& run : tested.runs) CHECK(run.best.value() >= run.last);
  protocol.test_every = 0;
  const auto plain = eval::Evaluator(dataset, protocol).evaluate(images, kTinyNet, {1, 2});
  CHECK_FALSE(plain.best_mean.has_value());
  CHECK(last_of(plain) == last_of(tested));
}

TEST_CASE("a test counts every image once, under its true class", "[eval][test]") {
  const auto dataset = separable_dataset(21, 2);
  const auto network = nn::make_network(kTinyNet, dataset.shape(), 3);
  auto state = network->initialize(Rng(0));
  state.parameters.back().copy_(at::tensor({0.0F, 100.0F, 0.0F}));  // the classifier's bias
  const auto result = eval::test(*network, state, dataset, data::Split::Test);
  CHECK(result.accuracy == Approx(100.0 / 3));
  for (const auto& row : result.confusion) CHECK(row == std::vector<std::int64_t>{0, 21, 0});
  CHECK(result.loss == Approx(200.0 / 3).epsilon(0.1));
}

TEST_CASE("an interrupted evaluation stops soon and says so", "[eval][stop]") {
  const auto dataset = separable_dataset(10, 2);
  auto protocol = short_protocol();
  protocol.epochs = 100000;
  StopFlag stop;
  RecordingSink sink(&stop);
  const auto run = [&] {
    eval::Evaluator(dataset, protocol)
        .evaluate(training_images(dataset), kTinyNet, {1, 2}, sink, &stop);
  };
  CHECK_THROWS_WITH_TEXT(run(), Interrupted, "interrupted");
}

TEST_CASE("networks that were kept are not made again, and the result is the same",
          "[eval][stop]") {
  class Memory : public eval::RunKeeper {
   public:
    std::optional<eval::FinishedRun> find(std::uint64_t seed) override {
      const auto found = runs.find(seed);
      if (found == runs.end()) return std::nullopt;
      return found->second;
    }
    void keep(const eval::FinishedRun& run) override {
      ++kept;
      runs[run.result.seed] = run;
    }
    std::map<std::uint64_t, eval::FinishedRun> runs;
    int kept = 0;
  };
  const auto dataset = separable_dataset(15, 2);
  const eval::Evaluator evaluator(dataset, short_protocol());
  const auto images = training_images(dataset);
  const auto whole = evaluator.evaluate(images, kTinyNet, {3, 4, 5});
  Memory memory;
  evaluator.evaluate(images, kTinyNet, {5, 3}, no_progress(), nullptr, &memory);
  CHECK(memory.kept == 2);
  const auto rest =
      evaluator.evaluate(images, kTinyNet, {3, 4, 5}, no_progress(), nullptr, &memory);
  CHECK(memory.kept == 3);
  CHECK(last_of(rest) == last_of(whole));
  CHECK(losses_of(rest) == losses_of(whole));
  CHECK(rest.confusion == whole.confusion);
  CHECK(rest.std == whole.std);
  const auto again =
      evaluator.evaluate(images, kTinyNet, {3, 4, 5}, no_progress(), nullptr, &memory);
  CHECK(memory.kept == 3);
  CHECK(last_of(again) == last_of(whole));
}

TEST_CASE("what cannot be evaluated is refused with the reason", "[eval][error]") {
  const auto dataset = separable_dataset(4, 2);
  const eval::Evaluator evaluator(dataset, short_protocol());
  auto images = training_images(dataset);
  CHECK_THROWS_WITH_TEXT(evaluator.evaluate(images, kTinyNet, {}), ConfigError,
                         "at least one seed");
  CHECK_THROWS_WITH_TEXT(evaluator.evaluate(images, "ConvNot-3", {1}), ConfigError, "ConvNot-3");
  auto wide = images;
  wide.images = at::zeros({12, 1, 8, 9});
  CHECK_THROWS_WITH_TEXT(evaluator.evaluate(wide, kTinyNet, {1}), ConfigError,
                         "evaluating on bands: training images: expected shape [*, 1, 8, 8]");
  auto ten = images;
  ten.labels = data::HardLabels{at::full({12}, 9, at::kLong)};
  CHECK_THROWS_WITH_TEXT(evaluator.evaluate(ten, kTinyNet, {1}), ConfigError,
                         "expected classes 0 .. 2, found 9");
  auto broken = images;
  broken.images = at::full({12, 1, 8, 8}, std::numeric_limits<float>::infinity());
  CHECK_THROWS_WITH_TEXT(evaluator.evaluate(broken, kTinyNet, {6}), NumericalError,
                         "network of seed 6");
}

TEST_CASE("spread is the mean and the population standard deviation", "[eval]") {
  const auto s = eval::spread({1, 3, 5, 7});
  CHECK(s.mean == 4);
  CHECK(s.std == Approx(std::sqrt(5.0)));
  CHECK(eval::spread({2}).std == 0);
}
