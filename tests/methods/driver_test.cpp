#include "methods/driver.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <limits>

#include "lib/core/clock.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/nn/network.h"
#include "lib/storage/set_file.h"
#include "lib/vision/vision.h"
#include "methods/divergence.h"
#include "methods/prediction.h"
#include "methods/run_folder.h"
#include "tests/methods/small.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

using namespace retort;
using namespace retort::methods;
using retort::testing::shapes;
using retort::testing::small_method;

namespace {

/// A method whose numbers can be scripted and that stops or fails the run at a chosen moment.
class Scripted : public DistillationMethod {
 public:
  StopFlag* stop = nullptr;
  std::int64_t stop_at = -1;   ///< raised during this update
  std::int64_t leave_at = -1;  ///< this update notices a stop itself, having done nothing
  std::int64_t nan_at = -1;    ///< the loss
  std::int64_t nan_column_at = -1;
  std::int64_t nan_images_at = -1;
  std::function<void(std::int64_t iteration)> on_update;
  bool stop_while_initializing = false;
  bool refuse_data = false;
  double setup_flops = 0;
  double unit = 1;  ///< the images are the sum of the iterations so far, times this
  double iteration_flops = 0;
  std::int64_t count = 6;
  std::int64_t per_class = 1;

  std::int64_t iterations() const override { return count; }
  Work work(const RunContext&) const override {
    Work work;
    work.setup.fused = setup_flops;
    work.per_iteration.fused = iteration_flops;
    return work;
  }
  void initialize(RunContext& run) override {
    prepare(run);
    if (refuse_data) throw ConfigError("the classes are too small");
    if (stop_while_initializing) stop->request();
    leave_if_requested(run.stop, "choosing");
  }
  UpdateReport update(std::int64_t iteration) override {
    if (iteration == leave_at) {
      stop->request();
      throw Interrupted("training a pool was interrupted");
    }
    if (on_update) on_update(iteration);
    sum_ += iteration;
    if (iteration == stop_at) stop->request();
    if (iteration == nan_images_at) broken_ = true;
    const double nan = std::numeric_limits<double>::quiet_NaN();
    return {iteration == nan_at ? nan : 1.0,
            {{"sum", iteration == nan_column_at ? nan : double(sum_)}}};
  }
  data::SyntheticSet snapshot() const override {
    data::SyntheticSet set;
    const auto s = shapes().shape();
    set.images =
        at::full({classes_ * per_class, s.channels, s.height, s.width}, unit * double(sum_));
    if (broken_) set.images[0][0][0][0] = std::numeric_limits<double>::infinity();
    set.class_index = at::arange(classes_, at::kLong).repeat_interleave(per_class);
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
  bool broken_ = false;
};

constexpr char kConfig[] = "method = scripted\nipc = 1\nseed = 1\niterations = 6\n";

/// A protocol that trains long enough to be measured.
eval::Protocol own_protocol() {
  eval::Protocol protocol;
  protocol.name = "short";
  protocol.epochs = 20;
  protocol.schedule = "steps";
  protocol.networks = 1;
  protocol.net = "ConvNet-2-w8";
  return protocol;
}

struct Folder {
  testing::TemporaryFolder temporary{"retort-driver-test"};
  std::filesystem::path root = temporary.path();
  RunFolder run{root / "runs" / "run"};

  DriverOptions options() const {
    DriverOptions options;
    options.run_dir = run.root;
    options.config_text = kConfig;
    return options;
  }
  DriverOptions resuming() const {
    DriverOptions again = options();
    again.resume = true;
    return again;
  }
  /// With a check after every third iteration.
  DriverOptions checking() const {
    DriverOptions checked = options();
    checked.eval_every = 3;
    checked.eval_protocol = own_protocol();
    return checked;
  }
};

float first_pixel(const data::SyntheticSet& set) { return set.images[0][0][0][0].item<float>(); }

/// The pictures that a run left before its last one, in order.
std::vector<std::string> pictures(const RunFolder& run) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(run.root)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("grid-")) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::int64_t rows(const std::filesystem::path& csv) {
  const std::string text = read_text(csv);
  return std::count(text.begin(), text.end(), '\n') - 1;
}

RunOutcome drive(DistillationMethod& method, const DriverOptions& options, StopFlag& stop,
                 ProgressSink& progress = no_progress()) {
  RunContext run{.dataset = shapes(), .ipc = 1, .rng = Rng(1)};
  return methods::run(method, run, options, progress, stop);
}

/// Never asked to stop.
RunOutcome drive(DistillationMethod& method, const DriverOptions& options,
                 ProgressSink& progress = no_progress()) {
  StopFlag stop;
  return drive(method, options, stop, progress);
}

/// A run that is asked to stop in the middle of its third iteration, and leaves a checkpoint.
void drive_and_stop(const DriverOptions& options) {
  StopFlag stop;
  Scripted method;
  method.stop = &stop;
  method.stop_at = 2;
  CHECK_THROWS_WITH_TEXT(drive(method, options, stop), Interrupted, "stopped after iteration 3");
}

/// A run that is asked to stop before its first iteration, and leaves no checkpoint.
void drive_and_stop_preparing(const DriverOptions& options) {
  StopFlag stop;
  Scripted method;
  method.stop = &stop;
  method.stop_while_initializing = true;
  CHECK_THROWS_WITH_TEXT(drive(method, options, stop), Interrupted, "while preparing");
}

/// Takes warnings, which the test program does not expect, while it lives.
class Quiet {
 public:
  Quiet() : before_(log::set_sink({})) {}
  ~Quiet() { log::set_sink(before_); }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;

 private:
  log::Sink before_;
};

/// Keeps what is logged while it lives.
class Heard {
 public:
  Heard()
      : before_(log::set_sink(
            [this](log::Level, const std::string& message) { messages.push_back(message); })) {}
  ~Heard() { log::set_sink(before_); }
  Heard(const Heard&) = delete;
  Heard& operator=(const Heard&) = delete;

  std::vector<std::string> messages;

 private:
  log::Sink before_;
};

class Finishes : public ProgressSink {
 public:
  void finish() override { finished = true; }
  bool finished = false;
};

}  // namespace

TEST_CASE("a run writes its folder: configuration, metrics, log, picture and set",
          "[methods][driver]") {
  const Folder folder;
  Scripted method;
  const RunOutcome outcome = drive(method, folder.options());
  const RunFolder& run = folder.run;
  CHECK(outcome.iterations == 6);
  CHECK(std::filesystem::exists(run.config()));
  CHECK(std::filesystem::exists(run.grid()));
  CHECK_FALSE(std::filesystem::exists(run.checkpoint()));
  const data::SyntheticSet set = storage::read_set(run.set());
  CHECK(first_pixel(set) == 15);
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
  SECTION("raised during an update, which is finished") { first.stop_at = 2; }
  SECTION("noticed by an update, which is made again") { first.leave_at = 2; }
  CHECK_THROWS_WITH_TEXT(drive(first, folder.options(), stop), Interrupted, "--resume");
  CHECK(read_text(folder.run.log()).find("warning: stopped after iteration") != std::string::npos);
  Scripted second;
  const RunOutcome outcome = drive(second, folder.resuming());
  CHECK(first_pixel(outcome.set) == 15);
  CHECK(rows(folder.run.metrics()) == 6);
}

TEST_CASE("a stop while preparing leaves a folder that can be resumed", "[methods][resume]") {
  const Folder folder;
  drive_and_stop_preparing(folder.options());
  CHECK(read_text(folder.run.config()) == kConfig);
  Scripted second;
  DriverOptions other = folder.resuming();
  other.config_text = "method = scripted\nipc = 1\nseed = 2\niterations = 6\n";
  CHECK_THROWS_WITH_TEXT(drive(second, other), ConfigError, "seed: 1 / 2");
  CHECK(first_pixel(drive(second, folder.resuming()).set) == 15);
}

TEST_CASE("a resumed run keeps its time budget and its copy, and neither is part of its options",
          "[methods][resume]") {
  const Folder folder;
  DriverOptions options = folder.options();
  options.out = folder.root / "copy.h5";
  options.time_budget_seconds = 1e-9;
  drive_and_stop_preparing(options);
  Scripted second;

  SECTION("by itself") {
    const RunOutcome outcome = drive(second, folder.resuming());
    CHECK(outcome.iterations == 1);
    CHECK(outcome.out == options.out);
    CHECK(at::equal(storage::read_set(*options.out).images, outcome.set.images));
  }
  SECTION("unless told otherwise") {
    DriverOptions other = folder.resuming();
    other.out = folder.root / "elsewhere.h5";
    other.time_budget_seconds = 0;
    CHECK(drive(second, other).iterations == 6);
    CHECK(std::filesystem::exists(*other.out));
    CHECK_FALSE(std::filesystem::exists(*options.out));
    Scripted third;
    CHECK(drive(third, folder.resuming()).out == other.out);
  }
  SECTION("a damaged record is named") {
    write_text(folder.run.session(), "time-budget = soon\n");
    CHECK_THROWS_WITH_TEXT(drive(second, folder.resuming()), ConfigError, "session.cfg:1");
  }
}

TEST_CASE("preparation that takes longer than the time budget is foretold", "[methods][driver]") {
  const Folder folder;
  Scripted method;
  method.setup_flops = 1e18;
  DriverOptions options = folder.options();
  options.time_budget_seconds = 5;
  std::string warning;
  const auto before = log::set_sink([&](log::Level level, const std::string& message) {
    if (level == log::Level::Warn) warning = message;
  });
  drive(method, options);
  log::set_sink(before);
  CHECK(warning.find("preparation alone is predicted to take") != std::string::npos);
}

TEST_CASE("how long a run is predicted to take is said before it starts", "[methods][driver]") {
  const Folder folder;
  StopFlag stop;
  Scripted method;
  method.stop = &stop;
  method.stop_while_initializing = true;  // whatever is heard was said before
  const RunContext context{.dataset = shapes(), .ipc = 1, .rng = Rng(1)};
  DriverOptions options = folder.options();
  Heard heard;

  SECTION("with its parts and the time budget") {
    method.setup_flops = 1e17;
    method.iteration_flops = 1e18;
    options.time_budget_seconds = 1e9;
    CHECK_THROWS_AS(drive(method, options, stop), Interrupted);
    const Prediction prediction = predict(method, context);
    CHECK(prediction.total_seconds == Approx(61 * prediction.setup_seconds));
    REQUIRE(heard.messages.size() == 1);
    CHECK(heard.messages.front() ==
          "predicted: " + duration_text(prediction.total_seconds) + " for 6 iterations (" +
              duration_text(prediction.setup_seconds) + " of preparation, then " +
              duration_text(prediction.iteration_seconds) + " each), cut at " + duration_text(1e9));
    CHECK(read_text(folder.run.log()).find(heard.messages.front()) != std::string::npos);
  }
  SECTION("unless it is over at once") {
    CHECK_THROWS_AS(drive(method, options, stop), Interrupted);
    CHECK(heard.messages.empty());
  }
}

TEST_CASE("a run leaves pictures of its way, about ten unless it is told how often",
          "[methods][driver]") {
  const Folder folder;
  Scripted method;
  DriverOptions options = folder.options();
  SECTION("as often as asked, and none that grid.png repeats") {
    options.grid_every = 2;
    drive(method, options);
    CHECK(pictures(folder.run) == std::vector<std::string>{"grid-000002.png", "grid-000004.png"});
    const Folder shorter;
    Scripted two;
    two.count = 2;
    drive(two, shorter.options());
    CHECK(read_text(folder.run.grid(2)) == read_text(shorter.run.grid()));
    CHECK(read_text(folder.run.grid(4)) != read_text(shorter.run.grid()));
  }
  SECTION("about every tenth of the iterations") {
    const std::vector<std::pair<std::int64_t, std::size_t>> numbers{
        {9, 0}, {10, 9}, {25, 8}, {100, 9}};
    for (const auto& [iterations, expected] : numbers) {
      INFO(iterations);
      const Folder own;
      method.count = iterations;
      drive(method, own.options());
      CHECK(pictures(own.run).size() == expected);
      CHECK(std::filesystem::exists(own.run.grid()));
      CHECK(std::filesystem::exists(own.run.grid(3)) == (iterations == 10 || iterations == 25));
    }
  }
  SECTION("of ten images of a class, however many there are") {
    options.grid_every = 3;
    method.per_class = 12;
    drive(method, options);
    const auto width = [](const std::filesystem::path& path) {
      return vision::read_image(path).size(2);
    };
    constexpr std::int64_t kColumn = 64 + 4;  // an enlarged image and the gap before the next
    CHECK(width(folder.run.grid()) - width(folder.run.grid(3)) == 2 * kColumn);
  }
}

TEST_CASE("resuming a finished run writes the result again and trains nothing",
          "[methods][resume]") {
  const Folder folder;
  Scripted first;
  const RunOutcome outcome = drive(first, folder.options());
  CHECK(outcome.last_loss == 1.0);
  DriverOptions options = folder.resuming();
  options.out = folder.root / "copy.h5";
  Scripted again;

  SECTION("with the same options") {
    // What a kill between the set and the rest leaves.
    std::filesystem::remove(folder.run.grid());
    write_text(folder.run.checkpoint(), "stale");
    const RunOutcome result = drive(again, options);
    CHECK(result.already_finished);
    CHECK_FALSE(result.last_loss.has_value());
    CHECK(at::equal(storage::read_set(*options.out).images, outcome.set.images));
    CHECK(std::filesystem::exists(folder.run.grid()));
    CHECK_FALSE(std::filesystem::exists(folder.run.checkpoint()));
  }
  SECTION("with others it is refused, and they are named") {
    options.config_text = "method = scripted\nipc = 10\nseed = 5\niterations = 6\n";
    CHECK_THROWS_WITH_TEXT(drive(again, options), ConfigError,
                           "other options (theirs / yours): ipc: 1 / 10, seed: 1 / 5;");
    CHECK_FALSE(std::filesystem::exists(*options.out));
  }
}

TEST_CASE("a checkpoint of other options is refused, and they are named", "[methods][resume]") {
  const Folder folder;
  drive_and_stop(folder.options());
  Scripted second;
  DriverOptions options = folder.resuming();
  options.config_text = with_iterations(kConfig, 7);
  CHECK_THROWS_WITH_TEXT(drive(second, options), ConfigError,
                         "other options (theirs / yours): iterations: 6 / 7;");
  CHECK(read_text(folder.run.config()) == kConfig);
}

TEST_CASE("numbers that are not finite stop the run with what, when and the checkpoint kept",
          "[methods][driver]") {
  const Folder folder;
  Scripted method;
  DriverOptions options = folder.options();
  options.checkpoint_every = 2;
  std::string text;
  SECTION("a loss") {
    method.nan_at = 3;
    text = "the loss is nan at iteration 3; the checkpoint of iteration 2";
  }
  SECTION("another column of the metrics") {
    method.nan_column_at = 3;
    text = "sum is nan at iteration 3; the checkpoint of iteration 2";
  }
  SECTION("images at a checkpoint") {
    method.nan_images_at = 2;
    text = "the synthetic images are not finite after 4 iterations; the checkpoint of iteration 2";
  }
  SECTION("images at the end") {
    method.nan_images_at = 4;
    options.checkpoint_every = 4;
    text = "the synthetic images are not finite after 6 iterations; the checkpoint of iteration 4";
  }
  CHECK_THROWS_WITH_TEXT(drive(method, options), NumericalError, text);
  CHECK(std::filesystem::exists(folder.run.checkpoint()));
  CHECK_FALSE(std::filesystem::exists(folder.run.set()));
  CHECK(read_text(folder.run.log()).find("error: " + text) != std::string::npos);
}

TEST_CASE("images beyond the limit stop the run before they reach a file", "[methods][driver]") {
  const Folder folder;
  const double limit = divergence_limit(shapes().preprocessing());
  StopFlag stop;
  Scripted method;
  method.stop = &stop;
  DriverOptions options = folder.options();
  options.checkpoint_every = 2;
  std::string text;
  std::string kept = "the checkpoint of iteration 4 is kept in " + folder.run.checkpoint().string();
  SECTION("at the end") {
    method.unit = 1.01 * limit / 15;  // 0 + 1 + ... + 5
    text = "the synthetic images have diverged after 6 iterations: the largest preprocessed value";
    options.checkpoint_every = 4;
  }
  SECTION("at a checkpoint") {
    method.unit = 1.01 * limit / 6;  // 0 + 1 + 2 + 3
    text = "the synthetic images have diverged after 4 iterations: the largest preprocessed value";
    kept = "the checkpoint of iteration 2 is kept in " + folder.run.checkpoint().string();
  }
  SECTION("when it is asked to stop") {
    method.unit = 1.01 * limit / 10;  // 0 + 1 + ... + 4
    method.stop_at = 4;
    text = "the synthetic images have diverged after 5 iterations: the largest preprocessed value";
  }
  CHECK_THROWS_WITH_TEXT(drive(method, options, stop), NumericalError, text);
  const std::string log = read_text(folder.run.log());
  CHECK(log.find("error: " + text) != std::string::npos);
  CHECK(log.find(str(", the limit ", limit, ", ")) != std::string::npos);
  CHECK(log.find(kept) != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(folder.run.set()));
  const std::int64_t last_good = storage::StateReader(folder.run.checkpoint()).integer("sum");
  CHECK(method.unit * double(last_good) < limit);
}

TEST_CASE("images that are large but within the limit are no divergence", "[methods][driver]") {
  const Folder folder;
  const double limit = divergence_limit(shapes().preprocessing());
  SECTION("just below it") {
    Scripted method;
    method.unit = 0.99 * limit / 15;
    DriverOptions options = folder.options();
    options.checkpoint_every = 1;
    CHECK(first_pixel(drive(method, options).set) == Approx(0.99 * limit));
  }
  SECTION("noise at a step size a thousand times the published one") {
    const auto method = small_method("dm", "6", {{"lr-images", "1000"}, {"init", "noise"}});
    const data::SyntheticSet set = drive(*method, folder.options()).set;
    CHECK(set.images.abs().max().item<double>() > 2 * largest_pixel(shapes().preprocessing()));
  }
}

TEST_CASE("a step size that drives pixels away stops a run whose losses are all finite",
          "[methods][driver]") {
  const Folder folder;
  const auto wild = small_method("dm", "6", {{"lr-images", "1e10"}});
  DriverOptions options = folder.options();
  options.config_text = str(kConfig, "lr-images = 1e10\n");

  SECTION("nothing good was there") {
    CHECK_THROWS_WITH_TEXT(drive(*wild, options), NumericalError, "no checkpoint had been made");
    CHECK_FALSE(std::filesystem::exists(folder.run.checkpoint()));
    CHECK_FALSE(std::filesystem::exists(folder.run.set()));
  }
  SECTION("a good checkpoint and a good set stay to the byte") {
    options.out = folder.root / "copy.h5";
    options.time_budget_seconds = 1e-9;
    // A sound first iteration, then the same run at a step size that is not.
    REQUIRE(drive(*small_method("dm", "6"), options).iterations == 1);
    const std::vector<std::filesystem::path> good{folder.run.checkpoint(), folder.run.set(),
                                                  *options.out};
    std::vector<std::string> before;
    for (const auto& path : good) before.push_back(read_text(path));
    options.resume = true;
    options.time_budget_seconds = 0;
    SECTION("at the end") {}
    SECTION("at every checkpoint") { options.checkpoint_every = 1; }
    CHECK_THROWS_WITH_TEXT(drive(*wild, options), NumericalError, "the checkpoint of iteration 1");
    for (std::size_t i = 0; i < good.size(); ++i) {
      INFO(good[i].string());
      CHECK(read_text(good[i]) == before[i]);
    }
  }
  const std::string log = read_text(folder.run.log());
  CHECK(log.find("the synthetic images have diverged after ") != std::string::npos);
  CHECK(log.find("try a new run with a smaller --lr-images, it was 1e10") != std::string::npos);
}

TEST_CASE("a run that the data does not allow leaves no folder behind", "[methods][driver]") {
  const Folder folder;
  Scripted method;
  method.refuse_data = true;
  CHECK_THROWS_WITH_TEXT(drive(method, folder.options()), ConfigError, "too small");
  CHECK(std::filesystem::is_empty(folder.root));
}

TEST_CASE("an error after an iteration leaves the folder and clears the progress",
          "[methods][driver]") {
  const Folder folder;
  Scripted method;
  Finishes progress;
  SECTION("of the options") {
    method.on_update = [](std::int64_t iteration) {
      if (iteration == 2) throw ConfigError("found out late");
    };
    CHECK_THROWS_WITH_TEXT(drive(method, folder.options(), progress), ConfigError, "late");
  }
  SECTION("of the numbers") {
    method.on_update = [](std::int64_t iteration) {
      if (iteration == 2) throw NumericalError("lost its meaning");
    };
    CHECK_THROWS_WITH_TEXT(drive(method, folder.options(), progress), NumericalError, "lost");
  }
  SECTION("of anything else") {
    method.on_update = [](std::int64_t iteration) { TORCH_CHECK(iteration != 2, "in a library"); };
    CHECK_THROWS_AS(drive(method, folder.options(), progress), c10::Error);
  }
  CHECK(progress.finished);
  CHECK(rows(folder.run.metrics()) == 2);
}

TEST_CASE("what killed writes left goes when the run goes on", "[methods][resume]") {
  const Folder folder;
  drive_and_stop(folder.options());
  const std::filesystem::path half = folder.run.checkpoint().string() + ".tmp.4711";
  write_text(half, "half");
  Scripted second;
  drive(second, folder.resuming());
  CHECK_FALSE(std::filesystem::exists(half));
  write_text(half, "half");
  drive(second, folder.resuming());  // finished already
  CHECK_FALSE(std::filesystem::exists(half));
}

TEST_CASE("a time budget ends the run properly and the configuration replays the iterations",
          "[methods][driver]") {
  const Folder folder;
  Scripted method;
  DriverOptions options = folder.options();
  options.time_budget_seconds = 1e-9;
  CHECK(drive(method, options).iterations == 1);
  CHECK(read_text(folder.run.config()) == with_iterations(kConfig, 1));

  Scripted again;
  SECTION("the same command with --resume finds it finished") {
    options.resume = true;
    CHECK(drive(again, options).already_finished);
  }
  SECTION("its plan without a budget finds it finished: the budget is remembered") {
    CHECK(drive(again, folder.resuming()).already_finished);
  }
  SECTION("its own configuration finds it finished, and it can still go on") {
    DriverOptions own = folder.resuming();
    own.config_text = with_iterations(kConfig, 1);
    CHECK(drive(again, own).already_finished);
    CHECK(std::filesystem::exists(folder.run.checkpoint()));
  }
  SECTION("a kill before config.cfg was rewritten is made up for") {
    write_text(folder.run.config(), kConfig);
    CHECK(drive(again, folder.resuming()).already_finished);
    CHECK(read_text(folder.run.config()) == with_iterations(kConfig, 1));
  }
  SECTION("other iterations than the planned ones are another run") {
    options.resume = true;
    options.config_text = with_iterations(kConfig, 7);
    CHECK_THROWS_WITH_TEXT(drive(again, options), ConfigError, "iterations: 6 / 7");
  }
}

TEST_CASE("a run that its time budget ended goes on with a larger one to the same end",
          "[methods][resume]") {
  const Folder whole;
  const Folder folder;
  StopFlag stop;
  Scripted never_cut;
  drive(never_cut, whole.options(), stop);
  Scripted first;
  DriverOptions options = folder.options();
  options.time_budget_seconds = 1e-9;
  CHECK(drive(first, options, stop).iterations == 1);
  CHECK(stored_config(folder.run.root)->text == kConfig);

  DriverOptions more = folder.resuming();
  more.time_budget_seconds = 1000;
  Scripted second;
  second.stop = &stop;
  second.stop_at = 3;
  SECTION("at once") { second.stop_at = -1; }
  SECTION("stopped once more on the way") {
    CHECK_THROWS_AS(drive(second, more, stop), Interrupted);
    more.time_budget_seconds.reset();
  }
  Scripted third;
  const RunOutcome outcome = drive(third, more);
  CHECK_FALSE(outcome.already_finished);
  CHECK(outcome.iterations == 6);
  CHECK(at::equal(storage::read_set(folder.run.set()).images,
                  storage::read_set(whole.run.set()).images));
  CHECK(read_text(folder.run.config()) == kConfig);
  CHECK(rows(folder.run.metrics()) == 6);
  CHECK_FALSE(std::filesystem::exists(folder.run.checkpoint()));
  Scripted fourth;
  CHECK(drive(fourth, folder.resuming()).already_finished);
}

TEST_CASE("a time budget counts from when the caller began, over all sessions of a run",
          "[methods][driver]") {
  const Folder folder;
  DriverOptions options = folder.options();
  options.began = wall_seconds() - 100;

  SECTION("what came before uses it up, but is no condensing") {
    Scripted method;
    options.time_budget_seconds = 99;
    const RunOutcome outcome = drive(method, options);
    CHECK(outcome.iterations == 1);
    CHECK(outcome.wall_seconds < 50);
    Scripted again;
    DriverOptions same = folder.resuming();
    CHECK(drive(again, same).already_finished);
    same.time_budget_seconds = 1000;
    CHECK(drive(again, same).iterations == 6);
  }
  SECTION("it is not used up yet") {
    Scripted method;
    options.time_budget_seconds = 1000;
    CHECK(drive(method, options).iterations == 6);
  }
  SECTION("a resumed run has what the sessions before it left") {
    options.time_budget_seconds = 150;
    drive_and_stop(options);
    options.resume = true;
    options.began = wall_seconds() - 60;
    Scripted second;
    CHECK(drive(second, options).iterations == 3);
    options.time_budget_seconds = 1000;
    Scripted third;
    CHECK(drive(third, options).iterations == 6);
  }
  SECTION("a checkpoint from before this was counted has spent what it condensed") {
    options.time_budget_seconds = 150;
    drive_and_stop(options);
    storage::StateWriter old;
    const storage::StateReader saved(folder.run.checkpoint());
    for (const char* name : {"driver/next_iteration", "driver/owes_evaluation", "sum"}) {
      old.integer(name, saved.integer(name));
    }
    for (const char* name : {"driver/wall_seconds", "driver/cpu_seconds", "driver/last_loss"}) {
      old.number(name, saved.number(name));
    }
    old.text("driver/config", saved.text("driver/config"));
    old.save(folder.run.checkpoint());
    options.resume = true;
    options.began = wall_seconds() - 60;
    Scripted second;
    CHECK(drive(second, options).iterations == 6);
  }
}

TEST_CASE("checks during a run do not use up its time budget", "[methods][driver]") {
  const Folder folder;
  Scripted method;
  DriverOptions options = folder.checking();
  const double before = wall_seconds();
  const RunOutcome outcome = drive(method, options);
  const double all = wall_seconds() - before;
  CHECK(outcome.wall_seconds < 0.5 * all);
  const std::string table = read_text(folder.run.evaluations());
  CHECK(table.starts_with("iterations_done,protocol,split,mean,std,networks,seeds\n3,short,"));
  CHECK(table.find("\n3,") != std::string::npos);
  CHECK(table.find("\n6,") != std::string::npos);
}

TEST_CASE("a check names its spread and its seeds", "[methods][driver]") {
  const Folder folder;
  Scripted method;
  DriverOptions options = folder.checking();
  options.eval_protocol.networks = 2;
  drive(method, options);
  CHECK(rows(folder.run.evaluations()) == 2);
  CHECK(read_text(folder.run.evaluations()).find(",2,0 1\n") != std::string::npos);
  const std::string log = read_text(folder.run.log());
  CHECK(log.find("after 3 iterations: ") != std::string::npos);
  CHECK(log.find(" ± ") != std::string::npos);
  CHECK(log.find("(protocol short, seeds 0, 1)") != std::string::npos);
}

TEST_CASE("checks that cannot be made are refused before the method starts", "[methods][driver]") {
  const Folder folder;
  Scripted method;
  method.refuse_data = true;  // heard of only if the method was asked first
  DriverOptions options = folder.checking();
  options.eval_protocol.net = "ConvNet-9";  // too deep for the images
  CHECK_THROWS_WITH_TEXT(drive(method, options), ConfigError, "protocol short: ");
  CHECK(std::filesystem::is_empty(folder.root));
}

TEST_CASE("a check that diverges is a warning and a row without a result", "[methods][driver]") {
  const Folder folder;
  Scripted method;
  DriverOptions options = folder.checking();
  options.eval_protocol.lr = 1e38;
  const Quiet quiet;
  CHECK(drive(method, options).iterations == 6);
  const std::string table = read_text(folder.run.evaluations());
  CHECK(table.find("\n3,short,held-out training images,,,1,0\n") != std::string::npos);
  CHECK(table.find("\n6,short,held-out training images,,,1,0\n") != std::string::npos);
  CHECK(read_text(folder.run.log()).find("warning: the check after 3 iterations has no result: ") !=
        std::string::npos);
}

TEST_CASE("a check that was stopped on the way is made first when the run goes on",
          "[methods][resume]") {
  const Folder folder;
  DriverOptions options = folder.checking();
  drive_and_stop(options);
  CHECK_FALSE(std::filesystem::exists(folder.run.evaluations()));
  Scripted second;
  options.resume = true;
  CHECK(first_pixel(drive(second, options).set) == 15);
  CHECK(rows(folder.run.evaluations()) == 2);
}

TEST_CASE("choosing real images and training networks for the method heed a stop",
          "[methods][driver]") {
  StopFlag stop;
  RunContext run{.dataset = shapes(), .ipc = 1, .rng = Rng(1), .stop = &stop};
  const auto coreset = small_method("k-means", "1", {{"feature-epochs", "1"}});
  coreset->initialize(run);
  const auto trained = small_method("dm", "3", {{"networks", "trained"}, {"net-period", "2"}});
  trained->initialize(run);
  const auto pool = small_method("dm", "3", {{"networks", "pool"}, {"pool-size", "2"}});
  pool->initialize(run);
  trained->update(0);
  stop.request();
  CHECK_THROWS_WITH_TEXT(coreset->update(0), Interrupted, "training was interrupted");
  CHECK_THROWS_WITH_TEXT(trained->update(1), Interrupted, "networks on real data was interrupted");
  CHECK_THROWS_WITH_TEXT(pool->update(0), Interrupted, "networks on real data was interrupted");
  const auto chosen = small_method("dm", "3", {{"init", "random"}});
  CHECK_THROWS_WITH_TEXT(chosen->initialize(run), Interrupted, "choosing real images");
}

TEST_CASE("choosing by features costs a coreset and a method that begins with it the same",
          "[methods][prediction]") {
  const RunContext run{.dataset = shapes(), .ipc = 1, .rng = Rng(1)};
  const auto setup = [&](const std::string& name,
                         const std::vector<std::pair<std::string, std::string>>& more) {
    return small_method(name, "1", more)->work(run).setup.fused;
  };
  const auto network = nn::make_network("ConvNet-2-w8", shapes().shape(), shapes().num_classes());
  const double pass = 2.0 * double(network->macs()) * double(shapes().size(data::Split::Train));
  CHECK(setup("herding", {{"feature-epochs", "2"}}) == Approx(7 * pass));
  CHECK(setup("dm", {{"feature-epochs", "2"}, {"init", "herding"}}) == Approx(7 * pass));
  CHECK(setup("dm", {{"init", "k-means"}, {"features", "pixels"}}) == 0);
  CHECK(setup("dm", {{"init", "random"}}) == 0);
}
