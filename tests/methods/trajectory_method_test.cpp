// Runs of the trajectory methods on small experts.
#include <algorithm>
#include <cmath>

#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "lib/nn/network.h"
#include "lib/storage/expert_file.h"
#include "lib/storage/set_file.h"
#include "lib/synth/parametrization.h"
#include "tests/methods/trajectory_runs.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

using namespace retort;
using namespace retort::methods;
using namespace retort::testing;

namespace {

const std::vector<std::string> kFamily{"mtt", "ftd", "datm", "ast", "tesla"};

Tensor stored(const storage::StateWriter& state, const std::string& what) {
  return storage::StateReader(state).tensor(what);
}

}  // namespace

TEST_CASE("options without a common meaning are refused", "[methods][trajectory]") {
  expect_refused("mtt", {{"init", "mosaic"}, {"factor", "2"}}, "init mosaic with factor 2");
  expect_refused("mtt", {{"decode-type", "multi"}}, "decode-type multi with factor 1");
}

TEST_CASE("every way of finding the gradient makes the same run", "[methods][trajectory]") {
  const Trace sweep = trace("ast", {{"gradient", "sweep"}, {"labels", "learned"}});
  CHECK(column(sweep.reports.back(), "skipped") == 0);
  const Trace hybrid = trace("ast", {{"gradient", "hybrid"}, {"labels", "learned"}});
  CHECK(at::equal(hybrid.set.images, sweep.set.images));
  const Trace unrolled = trace("ast", {{"gradient", "unrolled"}, {"labels", "learned"}});
  CHECK_CLOSE(unrolled.set.images, sweep.set.images, 1e-4);
  CHECK_CLOSE(stored(unrolled.state, "labels"), stored(sweep.state, "labels"), 1e-4);
  CHECK(*unrolled.set.learned_lr == Approx(*sweep.set.learned_lr).epsilon(1e-4));
}

TEST_CASE("runs of all trajectory methods resume with the same bits, reports included",
          "[methods][trajectory][resume]") {
  const std::vector<Settings> settings{
      {},
      {{"image-ema", "0.9"}, {"labels", "learned"}, {"fyi", "true"}},
      {{"labels", "target"}, {"factor", "2"}, {"decode-type", "multi"}},
      {{"intermediate", "growing"}, {"perturb-weights", "true"}, {"threshold", "0.9"}},
  };
  for (const std::string& name : kFamily) {
    for (std::size_t s = 0; s < settings.size(); ++s) {
      INFO(name << ", settings " << s);
      const Trace whole = trace(name, settings[s], "5");
      auto first = small_method(name, "5", settings[s]);
      RunContext run = small_run();
      first->initialize(run);
      for (std::int64_t i = 0; i < 2; ++i) first->update(i);
      storage::StateWriter state;
      first->save_state(state);
      auto second = small_method(name, "5", settings[s]);
      RunContext again = small_run();
      second->load_state(again, storage::StateReader(state));
      for (std::int64_t i = 2; i < 5; ++i) {
        const UpdateReport report = second->update(i);
        CHECK(report.loss == whole.reports[std::size_t(i)].loss);
        CHECK(report.columns == whole.reports[std::size_t(i)].columns);
      }
      const data::SyntheticSet set = second->snapshot();
      CHECK(at::equal(set.images, whole.set.images));
      CHECK(set.learned_lr == whole.set.learned_lr);
      if (const auto* soft = std::get_if<data::SoftLabels>(&set.labels)) {
        CHECK(at::equal(soft->values, std::get<data::SoftLabels>(whole.set.labels).values));
      }
    }
  }
}

TEST_CASE("trajectory methods have the same bits on one thread and two", "[methods][trajectory]") {
  const Settings pieces{{"factor", "2"}, {"batch-syn", "0"}, {"micro-batch", "7"}};
  for (const std::string& name : kFamily) {
    INFO(name);
    set_thread_count(2);
    const Trace two = trace(name, pieces, "2");
    set_thread_count(1);
    const Trace one = trace(name, pieces, "2");
    CHECK(at::equal(one.set.images, two.set.images));
    CHECK(one.reports.back().loss == two.reports.back().loss);
    CHECK(one.reports.back().columns == two.reports.back().columns);
  }
}

TEST_CASE("reports say which expert was followed from which epoch, at which step size",
          "[methods][trajectory]") {
  const Trace run = trace("datm", {{"lr-teacher", "0.02"}}, "6");
  std::vector<double> experts;
  for (std::size_t i = 0; i < run.reports.size(); ++i) {
    const UpdateReport& report = run.reports[i];
    CHECK(report.loss > 0);
    CHECK(column(report, "skipped") == 0);
    const double bound = i < 2 ? 2 : 3;  // grows from 2 to 3 within two iterations
    CHECK(column(report, "start_epoch") < bound);
    experts.push_back(column(report, "expert"));
  }
  for (const std::size_t pass : {0, 3}) {
    std::vector<double> order(experts.begin() + std::ptrdiff_t(pass),
                              experts.begin() + std::ptrdiff_t(pass) + kSmallExperts);
    std::sort(order.begin(), order.end());
    CHECK(order == std::vector<double>{0, 1, 2});
  }
  CHECK(column(run.reports[0], "lr") == 0.02);
  CHECK(column(run.reports[1], "lr") != 0.02);
  CHECK(*run.set.learned_lr != column(run.reports[5], "lr"));
}

TEST_CASE("a skipped iteration changes nothing but its count", "[methods][trajectory]") {
  auto method = small_method("datm", "3", {{"threshold", "1e-9"}});
  RunContext run = small_run();
  method->initialize(run);
  storage::StateWriter before;
  method->save_state(before);
  const UpdateReport report = method->update(0);
  CHECK(column(report, "skipped") == 1);
  CHECK(report.loss > 1e-9);
  storage::StateWriter after;
  method->save_state(after);
  for (const std::string what : {"stored", "labels", "lr"}) {
    INFO(what);
    CHECK(at::equal(stored(after, what), stored(before, what)));
  }
  CHECK_FALSE(storage::StateReader(after).has("steps/images"));
}

TEST_CASE("a loss that is not a number is skipped, and that of before reported",
          "[methods][trajectory]") {
  // Step sizes beyond all bounds.
  const Trace run = trace("mtt", {{"lr-teacher", "1e38"}, {"init", "noise"}});
  CHECK(run.reports[0].loss == 1);
  CHECK(column(run.reports[2], "skipped") == 3);
  CHECK(*run.set.learned_lr == 1e38);
}

TEST_CASE("a run that skips 100 iterations in a row stops with the reason",
          "[methods][trajectory]") {
  auto method = small_method("mtt", "1000", {{"threshold", "1e-9"}, {"syn-steps", "1"}});
  RunContext run = small_run();
  method->initialize(run);
  for (std::int64_t i = 0; i < 99; ++i) method->update(i);
  CHECK_THROWS_WITH_TEXT(method->update(99), NumericalError,
                         "100 iterations in a row were skipped; iteration 99 is skipped: its loss");
}

TEST_CASE("a step size that is not positive stops the run, unless it is clamped",
          "[methods][trajectory]") {
  const Settings wild{{"lr-lr", "1000"}, {"lr-momentum", "0"}};
  const auto fall = [&](const Settings& more) {
    auto method = small_method("mtt", "20", more);
    RunContext run = small_run();
    method->initialize(run);
    for (std::int64_t i = 0; i < 20; ++i) method->update(i);
    return *method->snapshot().learned_lr;
  };
  CHECK_THROWS_WITH_TEXT(fall(wild), NumericalError, "--clamp-lr");
  Settings clamped = wild;
  clamped.emplace_back("clamp-lr", "true");
  const double lr = fall(clamped);
  CHECK(lr >= 1e-6);
  CHECK(lr <= 1);
}

TEST_CASE("the set of FTD is a running mean of the images that were stepped to",
          "[methods][trajectory]") {
  auto method = small_method("ftd", "4", {{"image-ema", "0.75"}});
  RunContext run = small_run();
  method->initialize(run);
  Tensor mean = method->snapshot().images;
  for (std::int64_t i = 0; i < 4; ++i) {
    method->update(i);
    storage::StateWriter state;
    method->save_state(state);
    mean = 0.75 * mean + 0.25 * stored(state, "stored");
    CHECK_CLOSE(method->snapshot().images, mean, 1e-6);
  }
}

TEST_CASE("steps of images, labels and step size are SGD with momentum", "[methods][trajectory]") {
  // With v_0 = g the first displacement is lr g; the second lr (momentum g + g').
  const auto positions = [&](const std::string& what, const Settings& more) {
    auto method = small_method("datm", "1", more);
    RunContext run = small_run();
    method->initialize(run);
    std::vector<Tensor> found;
    for (std::int64_t i = 0; i < 2; ++i) {
      storage::StateWriter state;
      method->save_state(state);
      found.push_back(stored(state, what).to(at::kDouble));
      if (i == 0) method->update(0);
    }
    return found;
  };
  for (const auto& [what, option] : std::vector<std::pair<std::string, std::string>>{
           {"stored", "lr-images"}, {"labels", "lr-labels"}, {"lr", "lr-lr"}}) {
    INFO(what);
    const std::string small = what == "lr" ? "1e-6" : "0.5";
    const std::string large = what == "lr" ? "2e-6" : "1";
    const auto one = positions(what, {{option, small}});
    const auto two = positions(what, {{option, large}});
    CHECK(at::equal(one[0], two[0]));
    const Tensor moved = one[1] - one[0];
    CHECK(moved.abs().max().item<double>() > 0);
    CHECK_CLOSE(two[1] - two[0], 2 * moved, 1e-2);
  }
}

TEST_CASE("sets carry the learned step size and the labels that go with the images",
          "[methods][trajectory]") {
  const retort::testing::TemporaryFolder folder("retort-trajectory-sets");
  const auto round_trip = [&](data::SyntheticSet set) {
    set.preprocessing = shapes().preprocessing();
    set.provenance.class_names = shapes().info().class_names;
    storage::write_set(folder.path() / "set.h5", set);
    return storage::read_set(folder.path() / "set.h5");
  };
  SECTION("hard") {
    const data::SyntheticSet set = round_trip(trace("mtt", {}).set);
    CHECK(set.learned_lr.has_value());
    CHECK(std::holds_alternative<data::HardLabels>(set.labels));
  }
  SECTION("learned logits") {
    const data::SyntheticSet set = round_trip(trace("datm", {}).set);
    const auto& soft = std::get<data::SoftLabels>(set.labels);
    CHECK(soft.kind == data::SoftLabels::Kind::Logit);
    CHECK(soft.learned);
    // What the experts are right about is the class itself.
    CHECK(at::equal(soft.values.argmax(1), soft.classes));
  }
  SECTION("of the target network") {
    const data::SyntheticSet set = round_trip(trace("tesla", {{"labels", "target"}}).set);
    const auto& soft = std::get<data::SoftLabels>(set.labels);
    CHECK(soft.kind == data::SoftLabels::Kind::Probability);
    CHECK_FALSE(soft.learned);
    CHECK_CLOSE(soft.values.sum(1), at::ones({soft.values.size(0)}), 1e-6);
  }
  SECTION("one per decoded image") {
    const data::SyntheticSet set =
        round_trip(trace("datm", {{"factor", "2"}, {"label-init", "first"}}).set);
    CHECK(synth::decode(set).images.size(0) == 4 * set.images.size(0));
    CHECK(std::get<data::SoftLabels>(set.labels).values.size(0) == 4 * set.images.size(0));
  }
}

TEST_CASE("images to start from are real ones of their class", "[methods][trajectory]") {
  for (const std::string init : {"right", "representative"}) {
    INFO(init);
    auto method = small_method("mtt", "1", {{"init", init}});
    RunContext run = small_run(1, 5);
    method->initialize(run);
    const Tensor images = method->snapshot().images;
    for (std::int64_t c = 0; c < shapes().num_classes(); ++c) {
      const Tensor real = shapes().batch(data::Split::Train, shapes().class_indices(c)).flatten(1);
      const Tensor mine = images.slice(0, 5 * c, 5 * (c + 1)).flatten(1);
      const Tensor distance = (mine.unsqueeze(1) - real.unsqueeze(0)).abs().amax(2);
      CHECK(distance.amin(1).max().item<double>() == 0);
      CHECK(std::get<0>(at::_unique(distance.argmin(1))).numel() == 5);
    }
  }
}

TEST_CASE("predicted work counts every pass of every step", "[methods][trajectory]") {
  const auto flops = [](const Settings& more) {
    Settings settings{{"syn-steps", "10"}, {"batch-syn", "4"}, {"gradient", "sweep"}};
    settings.insert(settings.end(), more.begin(), more.end());
    const auto method = small_method("mtt", "1", settings);
    const Flops found = method->work(small_run()).per_iteration;
    return found.fused + found.plain + found.layered;
  };
  const auto network = nn::make_network("ConvNet-2-w8", shapes().shape(), shapes().num_classes());
  const double pass = 2.0 * double(network->macs()) * 10 * 4;
  CHECK(flops({}) == Approx(12 * pass));
  CHECK(flops({{"gradient", "unrolled"}}) == Approx(9 * pass));
  CHECK(flops({{"gradient", "tesla"}}) == Approx(10.5 * pass));
  CHECK(flops({{"gradient", "hybrid"}, {"graph-memory", "0"}}) == Approx(11.7 * pass));
  CHECK(flops({{"gradient", "hybrid"}}) == Approx(9 * pass));
  CHECK(flops({{"fyi", "true"}}) == Approx(24 * pass));
  CHECK(flops({{"batch-syn", "0"}}) == Approx(24 * pass));
}

TEST_CASE("students that are led along experts come closer to them", "[methods][slow]") {
  auto method = small_method("mtt", "120",
                             {{"syn-steps", "8"},
                              {"batch-syn", "0"},
                              {"lr-images", "100"},
                              {"lr-teacher", "0.05"},
                              {"lr-lr", "1e-5"},
                              {"augmentation", "none"}});
  RunContext run = small_run(1, 5);
  method->initialize(run);
  double first = 0;
  double last = 0;
  for (std::int64_t i = 0; i < 120; ++i) {
    const double loss = method->update(i).loss;
    if (i < 15) first += loss / 15;
    if (i >= 105) last += loss / 15;
  }
  INFO("loss " << first << " at first, " << last << " at last");
  CHECK(last < 0.9 * first);
}
