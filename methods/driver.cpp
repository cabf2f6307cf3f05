#include "methods/driver.h"

#include <cmath>

#include "lib/config/options.h"
#include "lib/core/clock.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/hash.h"
#include "lib/core/log.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/eval/evaluator.h"
#include "lib/storage/set_file.h"
#include "lib/synth/parametrization.h"
#include "lib/synth/picture.h"
#include "lib/vision/vision.h"
#include "methods/prediction.h"
#include "methods/run_folder.h"

namespace retort::methods {
namespace {

using config::number_text;

constexpr double kSecondsBetweenCheckpoints = 60;

/// One run: the state that its phases share.
class Run {
 public:
  Run(DistillationMethod& method, RunContext& context, const DriverOptions& options,
      ProgressSink& progress, const StopFlag& stop)
      : method_(method),
        context_(context),
        options_(options),
        progress_(progress),
        stop_(stop),
        folder_{options.run_dir} {}

  RunOutcome execute() {
    if (options_.resume && std::filesystem::exists(folder_.set())) return finished_before();
    std::filesystem::create_directories(folder_.root);
    const LogFile log_file(folder_.log());
    start_ = wall_seconds();
    cpu_start_ = cpu_seconds();
    announce();
    start_or_resume();
    write_text(folder_.config(), options_.config_text);
    iterate();
    return finish();
  }

 private:
  RunOutcome finished_before() {
    log::info(str("this run is finished; nothing to do but write its result"));
    RunOutcome outcome;
    outcome.set = storage::read_set(folder_.set());
    outcome.already_finished = true;
    outcome.iterations = outcome.set.provenance.iterations;
    outcome.wall_seconds = outcome.set.provenance.wall_seconds;
    if (options_.out) storage::write_set(*options_.out, outcome.set);
    return outcome;
  }

  void announce() {
    const Prediction prediction = predict(method_, context_);
    if (prediction.total_seconds < 1) return;
    log::info(str("predicted: ", duration_text(prediction.total_seconds), " for ",
                  method_.iterations(), " iterations (", duration_text(prediction.setup_seconds),
                  " of preparation, then ", duration_text(prediction.iteration_seconds), " each)",
                  options_.time_budget_seconds > 0
                      ? str(", cut at ", duration_text(options_.time_budget_seconds))
                      : ""));
  }

  std::string config_digest() const {
    // The clock's budget may differ between a run and its continuation; nothing else may.
    return sha256_hex(with_entry(options_.config_text, "time-budget", ""));
  }

  void start_or_resume() {
    if (options_.resume && std::filesystem::exists(folder_.checkpoint())) {
      const storage::StateReader state(folder_.checkpoint());
      if (state.text("driver/config_digest") != config_digest()) {
        throw ConfigError(str("'", folder_.checkpoint().string(),
                              "' was made with other options than this run's; repeat them, or "
                              "start from ",
                              folder_.config().string(), " with --config"));
      }
      next_ = state.integer("driver/next_iteration");
      earlier_wall_ = state.number("driver/wall_seconds");
      earlier_cpu_ = state.number("driver/cpu_seconds");
      last_loss_ = state.number("driver/last_loss");
      saved_at_ = next_;
      method_.load_state(context_, state);
      log::info(str("resumed at iteration ", next_, " of ", method_.iterations()));
      return;
    }
    if (options_.resume) log::info("no checkpoint yet: starting at iteration 0");
    method_.initialize(context_);
  }

  double wall() const { return earlier_wall_ + wall_seconds() - start_; }
  double cpu() const { return earlier_cpu_ + cpu_seconds() - cpu_start_; }

  void iterate() {
    CsvLog metrics(folder_.metrics(), next_);
    CsvLog evaluations(folder_.evaluations(), next_ + 1);
    double last_save = wall_seconds();
    while (next_ < method_.iterations()) {
      const double before = wall_seconds();
      const UpdateReport report = method_.update(next_);
      const double seconds = wall_seconds() - before;
      check_finite(report.loss);
      write_metrics(metrics, report, seconds);
      last_loss_ = report.loss;
      ++next_;
      show_progress(report.loss, seconds);
      if (due(options_.eval_every)) evaluate(evaluations);
      if (due(options_.grid_every)) draw(folder_.grid(next_), method_.snapshot());
      const bool by_count = due(options_.checkpoint_every);
      const bool by_time =
          options_.checkpoint_every == 0 && wall_seconds() - last_save > kSecondsBetweenCheckpoints;
      if (by_count || by_time) {
        save_checkpoint();
        last_save = wall_seconds();
      }
      if (stop_.requested() && next_ < method_.iterations()) interrupt();
      if (options_.time_budget_seconds > 0 && wall() >= options_.time_budget_seconds) break;
    }
    progress_.finish();
  }

  bool due(std::int64_t every) const { return every > 0 && next_ % every == 0; }

  void check_finite(double loss) {
    if (std::isfinite(loss)) return;
    progress_.finish();
    throw NumericalError(str("the loss is ", loss, " at iteration ", next_, "; ",
                             saved_at_ >= 0 ? str("the checkpoint of iteration ", saved_at_,
                                                  " is kept in ", folder_.root.string())
                                            : "no checkpoint had been made",
                             ". A smaller --lr-images is the usual remedy"));
  }

  void write_metrics(CsvLog& metrics, const UpdateReport& report, double seconds) {
    std::vector<std::pair<std::string, std::string>> row{{"iteration", std::to_string(next_)},
                                                         {"loss", number_text(report.loss)},
                                                         {"seconds", number_text(seconds)}};
    for (const auto& [name, value] : report.columns) row.emplace_back(name, number_text(value));
    metrics.row(row);
  }

  void show_progress(double loss, double seconds) {
    smoothed_seconds_ =
        smoothed_seconds_ == 0 ? seconds : 0.95 * smoothed_seconds_ + 0.05 * seconds;
    double left = smoothed_seconds_ * double(method_.iterations() - next_);
    if (options_.time_budget_seconds > 0) {
      left = std::min(left, std::max(0.0, options_.time_budget_seconds - wall()));
    }
    progress_.update({.phase = "condensing",
                      .done = next_,
                      .total = method_.iterations(),
                      .loss = loss,
                      .seconds_left = left});
  }

  void evaluate(CsvLog& evaluations) {
    data::SyntheticSet set = method_.snapshot();
    set.preprocessing = context_.dataset.preprocessing();
    const eval::Protocol protocol = eval::load_protocol(options_.eval_protocol);
    const eval::Evaluator evaluator(context_.dataset, protocol);
    std::vector<std::uint64_t> seeds;
    for (std::int64_t i = 0; i < protocol.networks; ++i) seeds.push_back(std::uint64_t(i));
    const auto result = evaluator.evaluate(synth::decode(set), protocol.net, seeds);
    const std::string split = options_.eval_on_test ? "test" : "held-out training images";
    log::info(str("iteration ", next_, ": ", std::round(result.mean * 10) / 10, " % on ", split,
                  " (protocol ", protocol.name, ", ", seeds.size(),
                  seeds.size() == 1 ? " network)" : " networks)"));
    evaluations.row({{"iteration", std::to_string(next_)},
                     {"protocol", protocol.name},
                     {"split", split},
                     {"mean", number_text(result.mean)},
                     {"std", number_text(result.std)},
                     {"networks", std::to_string(seeds.size())}});
  }

  void draw(const std::filesystem::path& path, data::SyntheticSet set) {
    set.preprocessing = context_.dataset.preprocessing();
    set.provenance.class_names = context_.dataset.info().class_names;
    vision::write_image(path, synth::draw_set(set).pixels);
  }

  void save_checkpoint() {
    storage::StateWriter state;
    state.integer("driver/next_iteration", next_);
    state.number("driver/wall_seconds", wall());
    state.number("driver/cpu_seconds", cpu());
    state.number("driver/last_loss", last_loss_);
    state.text("driver/config_digest", config_digest());
    method_.save_state(state);
    state.save(folder_.checkpoint());
    saved_at_ = next_;
  }

  [[noreturn]] void interrupt() {
    progress_.finish();
    save_checkpoint();
    throw Interrupted(str("stopped after iteration ", next_, " of ", method_.iterations(),
                          "; saved in ", folder_.root.string(), ", continue with --resume"));
  }

  RunOutcome finish() {
    RunOutcome outcome;
    outcome.iterations = next_;
    outcome.wall_seconds = wall();
    outcome.last_loss = last_loss_;
    outcome.set = method_.snapshot();
    data::SyntheticSet& set = outcome.set;
    set.preprocessing = context_.dataset.preprocessing();
    set.provenance = options_.provenance;
    set.provenance.dataset_sha256 = context_.dataset.info().sha256;
    set.provenance.class_names = context_.dataset.info().class_names;
    set.provenance.iterations = next_;
    set.provenance.wall_seconds = outcome.wall_seconds;
    set.provenance.cpu_seconds = cpu();
    set.provenance.peak_memory_bytes = peak_memory_bytes();
    set.provenance.processor = processor_name();
    set.provenance.threads = thread_count();
    set.provenance.config = replay_config();
    write_text(folder_.config(), set.provenance.config);
    draw(folder_.grid(), set);
    storage::write_set(folder_.set(), set);
    if (options_.out) storage::write_set(*options_.out, set);
    std::filesystem::remove(folder_.checkpoint());
    return outcome;
  }

  /// A run cut by the clock is repeated by its number of iterations.
  std::string replay_config() const {
    if (next_ >= method_.iterations()) return with_entry(options_.config_text, "time-budget", "");
    return with_entry(with_entry(options_.config_text, "time-budget", ""), "iterations",
                      std::to_string(next_));
  }

  DistillationMethod& method_;
  RunContext& context_;
  const DriverOptions& options_;
  ProgressSink& progress_;
  const StopFlag& stop_;
  RunFolder folder_;

  std::int64_t next_ = 0;       // iterations done
  std::int64_t saved_at_ = -1;  // iterations done at the last checkpoint
  double start_ = 0;
  double cpu_start_ = 0;
  double earlier_wall_ = 0;  // spent before a resume
  double earlier_cpu_ = 0;
  double last_loss_ = 0;
  double smoothed_seconds_ = 0;
};

}  // namespace

RunOutcome run(DistillationMethod& method, RunContext& context, const DriverOptions& options,
               ProgressSink& progress, const StopFlag& stop) {
  return Run(method, context, options, progress, stop).execute();
}

}  // namespace retort::methods
