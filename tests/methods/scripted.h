// A method that does what a test tells it, and runs of it in a folder of their own.
#pragma once

#include <algorithm>
#include <filesystem>
#include <functional>
#include <limits>

#include "lib/core/error.h"
#include "lib/core/files.h"
#include "methods/driver.h"
#include "methods/run_folder.h"
#include "tests/methods/small.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

namespace retort::methods::scripted {

using testing::shapes;

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

inline constexpr char kConfig[] = "method = scripted\nipc = 1\nseed = 1\niterations = 6\n";

/// A protocol that trains long enough to be measured.
inline eval::Protocol own_protocol() {
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

inline float first_pixel(const data::SyntheticSet& set) {
  return set.images[0][0][0][0].item<float>();
}

inline std::int64_t rows(const std::filesystem::path& csv) {
  const std::string text = read_text(csv);
  return std::count(text.begin(), text.end(), '\n') - 1;
}

inline RunOutcome drive(DistillationMethod& method, const DriverOptions& options, StopFlag& stop,
                        ProgressSink& progress = no_progress()) {
  RunContext run{.dataset = shapes(), .ipc = 1, .rng = Rng(1)};
  return methods::run(method, run, options, progress, stop);
}

/// Never asked to stop.
inline RunOutcome drive(DistillationMethod& method, const DriverOptions& options,
                        ProgressSink& progress = no_progress()) {
  StopFlag stop;
  return drive(method, options, stop, progress);
}

/// A run that is asked to stop in the middle of its third iteration, and leaves a checkpoint.
inline void drive_and_stop(const DriverOptions& options) {
  StopFlag stop;
  Scripted method;
  method.stop = &stop;
  method.stop_at = 2;
  CHECK_THROWS_WITH_TEXT(drive(method, options, stop), Interrupted, "stopped after iteration 3");
}

/// A run that is asked to stop before its first iteration, and leaves no checkpoint.
inline void drive_and_stop_preparing(const DriverOptions& options) {
  StopFlag stop;
  Scripted method;
  method.stop = &stop;
  method.stop_while_initializing = true;
  CHECK_THROWS_WITH_TEXT(drive(method, options, stop), Interrupted, "while preparing");
}

}  // namespace retort::methods::scripted
