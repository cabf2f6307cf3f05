#include "methods/driver.h"

#include <filesystem>
#include <limits>

#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/storage/set_file.h"
#include "methods/run_folder.h"
#include "tests/methods/small.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::methods;
using retort::testing::shapes;
using retort::testing::small_method;

namespace {

/// A method whose loss can be scripted and that stops the run at a chosen iteration.
class Scripted : public DistillationMethod {
 public:
  StopFlag* stop = nullptr;
  std::int64_t stop_at = -1;
  std::int64_t nan_at = -1;

  std::int64_t iterations() const override { return 6; }
  Work work(const RunContext&) const override { return {}; }
  void initialize(RunContext& run) override { prepare(run); }
  UpdateReport update(std::int64_t iteration) override {
    sum_ += iteration;
    if (iteration == stop_at) stop->request();
    const double loss = iteration == nan_at ? std::numeric_limits<double>::quiet_NaN() : 1.0;
    return {loss, {{"sum", double(sum_)}}};
  }
  data::SyntheticSet snapshot() const override {
    data::SyntheticSet set;
    const auto s = shapes().shape();
    set.images = at::full({classes_, s.channels, s.height, s.width}, double(sum_));
    set.class_index = at::arange(classes_, at::kLong);
    set.labels = data::HardLabels{set.class_index};
    return set;
  }
  void save_state(storage::StateWriter& out) const override { out.integer("sum", sum_); }
  void load_state(RunContext& run, const storage::StateReader& in) override {
    prepare(run);
    sum_ = in.integer("sum");
  }

 private:
  void prepare(RunContext& run) { classes_ = run.dataset.num_classes(); }
  std::int64_t classes_ = 0;
  std::int64_t sum_ = 0;
};

struct Folder {
  std::filesystem::path root = std::filesystem::temp_directory_path() / "retort-driver-test";
  Folder() { std::filesystem::remove_all(root); }
  ~Folder() { std::filesystem::remove_all(root); }
  DriverOptions options() const {
    DriverOptions options;
    options.run_dir = root / "run";
    options.config_text = "method = scripted\niterations = 6\ntime-budget = 0\n";
    return options;
  }
};

RunOutcome drive(Scripted& method, const DriverOptions& options, StopFlag& stop) {
  RunContext run{.dataset = shapes(), .ipc = 1, .rng = Rng(1)};
  return methods::run(method, run, options, no_progress(), stop);
}

}  // namespace

TEST_CASE("a run writes its folder: configuration, metrics, log, picture and set",
          "[methods][driver]") {
  const Folder folder;
  Scripted method;
  StopFlag stop;
  const RunOutcome outcome = drive(method, folder.options(), stop);
  const RunFolder run{folder.root / "run"};
  CHECK(outcome.iterations == 6);
  CHECK(std::filesystem::exists(run.config()));
  CHECK(std::filesystem::exists(run.grid()));
  CHECK_FALSE(std::filesystem::exists(run.checkpoint()));
  const data::SyntheticSet set = storage::read_set(run.set());
  CHECK(set.images[0][0][0][0].item<float>() == 15);
  CHECK(set.provenance.iterations == 6);
  CHECK(set.provenance.dataset_sha256 == shapes().info().sha256);
  const std::string metrics = read_text(run.metrics());
  CHECK(metrics.starts_with("iteration,loss,seconds,sum\n0,1,"));
  CHECK(std::count(metrics.begin(), metrics.end(), '\n') == 7);
}

TEST_CASE("an interrupted run saves, says so, and goes on where it was", "[methods][resume]") {
  const Folder folder;
  StopFlag stop;
  Scripted first;
  first.stop = &stop;
  first.stop_at = 2;
  CHECK_THROWS_WITH_TEXT(drive(first, folder.options(), stop), Interrupted, "--resume");
  StopFlag go;
  Scripted second;
  DriverOptions options = folder.options();
  options.resume = true;
  const RunOutcome outcome = drive(second, options, go);
  CHECK(outcome.set.images[0][0][0][0].item<float>() == 15);
  const std::string metrics = read_text(RunFolder{folder.root / "run"}.metrics());
  CHECK(std::count(metrics.begin(), metrics.end(), '\n') == 7);

  SECTION("resuming a finished run writes the result again and trains nothing") {
    Scripted third;
    options.out = folder.root / "copy.h5";
    const RunOutcome again = drive(third, options, go);
    CHECK(again.already_finished);
    CHECK(at::equal(storage::read_set(*options.out).images, outcome.set.images));
  }
}

TEST_CASE("a checkpoint of other options is refused", "[methods][resume]") {
  const Folder folder;
  StopFlag stop;
  Scripted first;
  first.stop = &stop;
  first.stop_at = 2;
  CHECK_THROWS_AS(drive(first, folder.options(), stop), Interrupted);
  StopFlag go;
  Scripted second;
  DriverOptions options = folder.options();
  options.resume = true;
  options.config_text = "method = scripted\niterations = 7\ntime-budget = 0\n";
  CHECK_THROWS_WITH_TEXT(drive(second, options, go), ConfigError, "other options");
}

TEST_CASE("a loss that is not finite stops the run with what, when and the checkpoint kept",
          "[methods][driver]") {
  const Folder folder;
  StopFlag stop;
  Scripted method;
  method.nan_at = 3;
  DriverOptions options = folder.options();
  options.checkpoint_every = 2;
  CHECK_THROWS_WITH_TEXT(drive(method, options, stop), NumericalError,
                         "the loss is nan at iteration 3; the checkpoint of iteration 2");
  CHECK(std::filesystem::exists(RunFolder{folder.root / "run"}.checkpoint()));
}

TEST_CASE("a time budget ends the run properly and the configuration replays the iterations",
          "[methods][driver]") {
  const Folder folder;
  StopFlag stop;
  Scripted method;
  DriverOptions options = folder.options();
  options.time_budget_seconds = 1e-9;
  options.config_text = with_entry(options.config_text, "time-budget", "1");
  CHECK(drive(method, options, stop).iterations == 1);
  const std::string config = read_text(RunFolder{folder.root / "run"}.config());
  CHECK(config == "method = scripted\niterations = 1\n");
}
