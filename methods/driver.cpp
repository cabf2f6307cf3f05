#include "methods/driver.h"

#include <algorithm>
#include <cmath>

#include <c10/util/Exception.h>

#include "lib/config/differences.h"
#include "lib/config/options.h"
#include "lib/core/clock.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/log.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/eval/evaluator.h"
#include "lib/nn/network.h"
#include "lib/storage/event_file.h"
#include "lib/storage/set_file.h"
#include "lib/synth/parametrization.h"
#include "lib/synth/picture.h"
#include "lib/vision/vision.h"
#include "methods/divergence.h"
#include "methods/prediction.h"
#include "methods/run_folder.h"

namespace retort::methods {
namespace {

using config::number_text;

constexpr double kSecondsBetweenCheckpoints = 60;
constexpr std::int64_t kPictures = 10;  // of a run that is not told how often

/// What the sessions that led to a checkpoint spent before they condensed: 0 in a file from before
/// it was counted.
double opening_seconds(const storage::StateReader& state) {
  const char* const name = "driver/opening_seconds";
  return state.has(name) ? state.number(name) : 0;
}

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
        folder_{options.run_dir},
        began_(options.began.value_or(wall_seconds())),
        limit_(divergence_limit(context.dataset.preprocessing())) {
    context_.stop = &stop;
    context_.progress = &progress;
  }

  RunOutcome execute() {
    choose_session();
    if (!session_.out.empty()) expect_writable(copy_path());
    const MadeFolder made(folder_.root);
    const RunLock lock(folder_.root);
    remove_temporaries(folder_);
    if (options_.resume && std::filesystem::exists(folder_.set()) && !goes_on()) {
      return finished_before();
    }
    const std::optional<storage::StateReader> saved = saved_state();
    // Before anything else: a run killed from here on can be resumed by its folder alone.
    keep_session();
    write_text(folder_.config(), options_.config_text);
    const LogFile log_file(folder_.log());
    const auto ended = [&](log::Level level, const std::string& why) {
      progress_.finish();
      log_file.write(level, why);
    };
    try {
      return condense(saved);
    } catch (const ConfigError& e) {
      ended(log::Level::Error, e.what());
      // A run that could not even start is not in the way of the next try.
      if (saved_at_ < 0 && next_ == 0) made.take_back();
      throw;
    } catch (const Interrupted& e) {
      ended(log::Level::Warn, e.what());
      throw;
    } catch (const c10::Error& e) {
      ended(log::Level::Error, e.what_without_backtrace());
      throw;
    } catch (const std::exception& e) {
      ended(log::Level::Error, e.what());
      throw;
    }
  }

 private:
  /// What every check during the run uses.
  struct Check {
    eval::Evaluator evaluator;
    std::string network;
    std::vector<std::uint64_t> seeds;
  };

  /// While it lives, time counts neither as condensing nor against the budget.
  class Aside {
   public:
    explicit Aside(Run& run) : run_(run), wall_(wall_seconds()), cpu_(cpu_seconds()) {}
    ~Aside() {
      run_.start_ += wall_seconds() - wall_;
      run_.cpu_start_ += cpu_seconds() - cpu_;
    }
    Aside(const Aside&) = delete;
    Aside& operator=(const Aside&) = delete;

   private:
    Run& run_;
    double wall_;
    double cpu_;
  };

  /// What was asked for now, else what an earlier session was asked for.
  void choose_session() {
    if (options_.resume && std::filesystem::exists(folder_.session())) {
      session_ = read_session(folder_.session());
    }
    if (options_.out) session_.out = std::filesystem::absolute(*options_.out).lexically_normal();
    if (options_.time_budget_seconds) session_.time_budget_seconds = *options_.time_budget_seconds;
    if (options_.tensorboard) session_.tensorboard = true;
  }

  void keep_session() const {
    if (!session_.empty() || std::filesystem::exists(folder_.session())) {
      write_session(folder_.session(), session_);
    }
  }

  /// As it was given, for messages.
  std::filesystem::path copy_path() const {
    return options_.out ? *options_.out : std::filesystem::path(session_.out);
  }

  void write_copy(RunOutcome& outcome) const {
    if (session_.out.empty()) return;
    outcome.out = copy_path();
    storage::write_set(*outcome.out, outcome.set);
  }

  bool has_budget() const { return session_.time_budget_seconds > 0; }

  RunOutcome condense(const std::optional<storage::StateReader>& saved) {
    prepare_check();
    if (options_.provide && !saved) method_.check(context_);
    announce();
    provide();
    start_ = wall_seconds();
    cpu_start_ = cpu_seconds();
    opening_ = start_ - began_;
    start_or_resume(saved);
    iterate();
    return finish();
  }

  /// A kill may have come between the parts of finish(): what is missing of them is made up for.
  RunOutcome finished_before() {
    RunOutcome outcome;
    outcome.set = storage::read_set(folder_.set());
    const data::Provenance& provenance = outcome.set.provenance;
    const std::optional<std::string> plan = plan_cut_short(provenance.config);
    if (!same_config(provenance.config)) {
      refuse(differences_from(plan.value_or(provenance.config)), folder_.set());
    }
    log::info(plan ? cut_text(provenance.iterations)
                   : "this run is finished; nothing to do but write its result");
    outcome.already_finished = true;
    outcome.iterations = provenance.iterations;
    outcome.wall_seconds = provenance.wall_seconds;
    keep_session();
    write_copy(outcome);
    if (!std::filesystem::exists(folder_.grid())) {
      vision::write_image(folder_.grid(), synth::draw_set(outcome.set).pixels);
    }
    write_text(folder_.config(), provenance.config);
    if (!plan) std::filesystem::remove(folder_.checkpoint());
    return outcome;
  }

  /// Files that the state of the run knows by what they hold may lie elsewhere now.
  std::vector<config::Difference> differences_from(const std::string& theirs) const {
    auto found = config::differences(theirs, options_.config_text);
    const std::vector<std::string> files = method_.files_by_content();
    std::erase_if(found, [&](const config::Difference& difference) {
      return std::find(files.begin(), files.end(), difference.key) != files.end();
    });
    return found;
  }

  bool same_config(const std::string& theirs) const { return differences_from(theirs).empty(); }

  /// The configuration with the planned iterations, of a run that its time budget ended: only that
  /// leaves a checkpoint of more than was `done`.
  std::optional<std::string> plan_cut_short(const std::string& done) const {
    if (!std::filesystem::exists(folder_.checkpoint())) return {};
    try {
      const std::string plan = storage::StateReader(folder_.checkpoint()).text("driver/config");
      if (config::differences(plan, done).empty()) return {};
      return plan;
    } catch (const StorageError&) {
      return {};
    }
  }

  /// Whether a run that its time budget ended is given more.
  bool goes_on() const {
    const std::string done = storage::read_set(folder_.set()).provenance.config;
    if (same_config(done)) return false;
    const std::optional<std::string> plan = plan_cut_short(done);
    if (!plan || !differences_from(*plan).empty()) return false;
    const storage::StateReader state(folder_.checkpoint());
    const double spent = state.number("driver/wall_seconds") + opening_seconds(state);
    return !has_budget() || spent < session_.time_budget_seconds;
  }

  std::string cut_text(std::int64_t done) const {
    return str("its time budget ended this run after ", done,
               " iterations; --resume with a larger --time-budget goes on, with 0 to the end");
  }

  static void refuse(const std::vector<config::Difference>& differing,
                     const std::filesystem::path& file) {
    if (differing.empty()) return;
    throw ConfigError(str("'", file.string(), "' was made with other options (theirs / yours): ",
                          config::differences_text(differing),
                          "; repeat theirs, or choose another --run-dir"));
  }

  /// Before any work: what does not fit the data must not come out at the first check.
  void prepare_check() {
    if (options_.eval_every == 0) return;
    const data::ImageDataset& dataset = context_.dataset;
    const eval::Protocol& protocol = options_.eval_protocol;
    const std::string network = protocol.network_for(dataset.shape());
    with_context("protocol " + protocol.name,
                 [&] { nn::make_network(network, dataset.shape(), dataset.num_classes()); });
    check_.emplace(Check{eval::Evaluator(dataset, protocol), network, {}});
    for (std::int64_t i = 0; i < protocol.networks; ++i) {
      check_->seeds.push_back(std::uint64_t(i));
    }
  }

  /// The prediction is for the processor.
  void announce() {
    if (!context_.dataset.device().is_cpu()) return;
    const Prediction prediction = predict(method_, context_);
    const double budget = session_.time_budget_seconds;
    if (has_budget() && prediction.setup_seconds > budget) {
      log::warn(str("preparation alone is predicted to take ",
                    duration_text(prediction.setup_seconds), ", the time budget is ",
                    duration_text(budget), "; it ends iterations only, so one is made after that"));
    }
    if (prediction.total_seconds < 1) return;
    log::info(str("predicted: ", duration_text(prediction.total_seconds), " for ",
                  method_.iterations(), " iterations (", duration_text(prediction.setup_seconds),
                  " of preparation, then ", duration_text(prediction.iteration_seconds), " each)",
                  has_budget() ? str(", cut at ", duration_text(budget)) : ""));
  }

  void provide() {
    if (!options_.provide) return;
    const double before = wall_seconds();
    options_.provide(context_);
    began_ += wall_seconds() - before;
  }

  /// The checkpoint to go on from, if there is one.
  std::optional<storage::StateReader> saved_state() const {
    if (!options_.resume) return {};
    if (std::filesystem::exists(folder_.checkpoint())) {
      const storage::StateReader state(folder_.checkpoint());
      refuse(differences_from(state.text("driver/config")), folder_.checkpoint());
      return state;
    }
    if (std::filesystem::exists(folder_.config())) {
      refuse(config::differences(read_text(folder_.config()), options_.config_text),
             folder_.config());
    }
    return {};
  }

  void start_or_resume(const std::optional<storage::StateReader>& saved) {
    try {
      if (saved) {
        load(*saved);
        log::info(str("resumed at iteration ", next_, " of ", method_.iterations()));
        return;
      }
      if (options_.resume) log::info("no checkpoint yet: starting at iteration 0");
      method_.initialize(context_);
    } catch (const Interrupted&) {
      throw Interrupted(
          str("stopped while preparing, nothing new was saved; start again with ", go_on()));
    }
  }

  std::string go_on() const {
    return options_.go_on.empty() ? resume_command(folder_.root) : options_.go_on;
  }

  void load(const storage::StateReader& state) {
    next_ = state.integer("driver/next_iteration");
    earlier_wall_ = state.number("driver/wall_seconds");
    earlier_cpu_ = state.number("driver/cpu_seconds");
    opening_ += opening_seconds(state);
    last_loss_ = state.number("driver/last_loss");
    owes_evaluation_ = check_ && state.integer("driver/owes_evaluation") != 0;
    saved_at_ = next_;
    method_.load_state(context_, state);
  }

  double wall() const { return earlier_wall_ + wall_seconds() - start_; }
  /// What counts against the time budget.
  double spent() const { return opening_ + wall(); }
  double cpu() const { return earlier_cpu_ + cpu_seconds() - cpu_start_; }

  void iterate() {
    CsvLog metrics(folder_.metrics(), next_);
    CsvLog evaluations(folder_.evaluations(), next_ + 1);
    if (session_.tensorboard) events_.emplace(folder_.root, next_ + 1);
    double last_save = wall_seconds();
    if (owes_evaluation_) evaluate(evaluations);
    while (next_ < method_.iterations() && !out_of_time()) {
      if (stop_.requested()) interrupt();
      const double before = wall_seconds();
      const UpdateReport report = update();
      const double seconds = wall_seconds() - before;
      check_finite(report);
      write_metrics(metrics, report, seconds);
      last_loss_ = report.loss;
      ++next_;
      show_progress(report.loss, seconds);
      if (picture_due()) draw(folder_.grid(next_), method_.snapshot(), kPictureColumns);
      if (due(options_.eval_every)) evaluate(evaluations);
      const bool by_count = due(options_.checkpoint_every);
      const bool by_time =
          options_.checkpoint_every == 0 && wall_seconds() - last_save > kSecondsBetweenCheckpoints;
      if (by_count || by_time) {
        save_checkpoint();
        last_save = wall_seconds();
      }
    }
    progress_.finish();
  }

  /// Without one iteration there may be no set.
  bool out_of_time() const {
    return next_ > 0 && has_budget() && spent() >= session_.time_budget_seconds;
  }

  UpdateReport update() {
    try {
      return method_.update(next_);
    } catch (const Interrupted&) {
      interrupt();
    }
  }

  bool due(std::int64_t every) const { return every > 0 && next_ % every == 0; }

  /// Not after the last iteration, which grid.png is for.
  bool picture_due() const { return next_ < method_.iterations() && due(picture_period()); }

  std::int64_t picture_period() const {
    if (options_.grid_every > 0) return options_.grid_every;
    const std::int64_t all = method_.iterations();
    return all < kPictures ? 0 : (all + kPictures - 1) / kPictures;
  }

  void check_finite(const UpdateReport& report) {
    expect_finite(report.loss, "the loss");
    for (const auto& [name, value] : report.columns) expect_finite(value, name);
  }

  void expect_finite(double value, const std::string& what) {
    if (!std::isfinite(value)) diverged(str(what, " is ", value, " at iteration ", next_));
  }

  [[noreturn]] void diverged(const std::string& what) {
    progress_.finish();
    throw NumericalError(str(what, "; ",
                             saved_at_ >= 0 ? str("the checkpoint of iteration ", saved_at_,
                                                  " is kept in ", folder_.checkpoint().string())
                                            : "no checkpoint had been made",
                             ". A step size that is too large is the usual cause", remedy()));
  }

  /// For methods that have a step size on the images.
  std::string remedy() const {
    for (const auto& entry : config::parse_config(options_.config_text, "the configuration")) {
      if (entry.key != "lr-images") continue;
      return str(": try a new run with a smaller --lr-images, it was ", entry.value);
    }
    return "";
  }

  void check_set(const data::SyntheticSet& set) {
    const std::string wrong = divergence(set, limit_, next_);
    if (!wrong.empty()) diverged(wrong);
  }

  void write_metrics(CsvLog& metrics, const UpdateReport& report, double seconds) {
    std::vector<std::pair<std::string, std::string>> row{{"iteration", std::to_string(next_)},
                                                         {"loss", number_text(report.loss)},
                                                         {"seconds", number_text(seconds)}};
    for (const auto& [name, value] : report.columns) row.emplace_back(name, number_text(value));
    metrics.row(row);
    if (!events_) return;
    events_->scalar("loss", next_ + 1, report.loss);
    events_->scalar("seconds", next_ + 1, seconds);
    for (const auto& [name, value] : report.columns) events_->scalar(name, next_ + 1, value);
  }

  void show_progress(double loss, double seconds) {
    smoothed_seconds_ =
        smoothed_seconds_ == 0 ? seconds : 0.95 * smoothed_seconds_ + 0.05 * seconds;
    double left = smoothed_seconds_ * double(method_.iterations() - next_);
    if (has_budget()) {
      left = std::min(left, std::max(0.0, session_.time_budget_seconds - spent()));
    }
    progress_.update({.phase = "condensing",
                      .done = next_,
                      .total = method_.iterations(),
                      .loss = loss,
                      .seconds_left = left});
  }

  /// Stopped on the way, it is owed: a resumed run begins with it. A check that fails, as a step
  /// size too large for the set makes it, says nothing against the run.
  void evaluate(CsvLog& evaluations) {
    owes_evaluation_ = true;
    try {
      const Aside aside(*this);
      evaluate_set(evaluations);
    } catch (const Interrupted&) {
      interrupt();
    } catch (const NumericalError& e) {
      log::warn(str("the check after ", next_, " iterations has no result: ", e.what()));
      write_check(evaluations, "", "");
    }
    owes_evaluation_ = false;
  }

  void evaluate_set(CsvLog& evaluations) {
    data::SyntheticSet set = method_.snapshot();
    set.preprocessing = context_.dataset.preprocessing();
    const std::vector<std::uint64_t>& seeds = check_->seeds;
    const auto result = check_->evaluator.evaluate(synth::decode(set), check_->network, seeds,
                                                   no_progress(), &stop_);
    log::info(str("after ", next_, " iterations: ", fixed(result.mean, 1), " ± ",
                  fixed(result.std, 1), " % on ", check_split(), " (protocol ",
                  check_->evaluator.protocol().name, seeds.size() == 1 ? ", seed " : ", seeds ",
                  join(seeds), ")"));
    write_check(evaluations, number_text(result.mean), number_text(result.std));
    if (events_) events_->scalar("accuracy on " + check_split(), next_, result.mean);
  }

  std::string check_split() const {
    return options_.eval_on_test ? "test" : "held-out training images";
  }

  void write_check(CsvLog& evaluations, const std::string& mean, const std::string& spread) const {
    evaluations.row({{"iterations_done", std::to_string(next_)},
                     {"protocol", check_->evaluator.protocol().name},
                     {"split", check_split()},
                     {"mean", mean},
                     {"std", spread},
                     {"networks", std::to_string(check_->seeds.size())},
                     {"seeds", join(check_->seeds, " ")}});
  }

  /// @param columns at most so many images of a class; 0: all
  void draw(const std::filesystem::path& path, data::SyntheticSet set, std::int64_t columns) {
    const Aside aside(*this);
    set.preprocessing = context_.dataset.preprocessing();
    set.provenance.class_names = context_.dataset.info().class_names;
    const Tensor pixels = synth::draw_set(set, {.per_class = columns}).pixels;
    vision::write_image(path, pixels);
    if (!events_) return;
    const std::vector<std::byte> png = vision::encode_png(pixels);
    events_->image("set", next_, {reinterpret_cast<const char*>(png.data()), png.size()},
                   pixels.size(2), pixels.size(1));
  }

  void save_checkpoint() {
    // Methods that choose real images have none to show before their first update.
    if (next_ > 0) check_set(method_.snapshot());
    storage::StateWriter state;
    state.integer("driver/next_iteration", next_);
    state.number("driver/wall_seconds", wall());
    state.number("driver/cpu_seconds", cpu());
    state.number("driver/opening_seconds", opening_);
    state.number("driver/last_loss", last_loss_);
    state.integer("driver/owes_evaluation", owes_evaluation_ ? 1 : 0);
    state.text("driver/config", options_.config_text);
    method_.save_state(state);
    state.save(folder_.checkpoint());
    saved_at_ = next_;
  }

  [[noreturn]] void interrupt() {
    progress_.finish();
    save_checkpoint();
    throw Interrupted(str("stopped after iteration ", next_, " of ", method_.iterations(),
                          "; saved, go on with ", go_on()));
  }

  RunOutcome finish() {
    const bool cut = next_ < method_.iterations();
    if (cut) save_checkpoint();  // to go on from when there is more time
    RunOutcome outcome;
    outcome.iterations = next_;
    outcome.wall_seconds = wall();
    outcome.last_loss = last_loss_;
    outcome.set = method_.snapshot();
    data::SyntheticSet& set = outcome.set;
    check_set(set);
    set.preprocessing = context_.dataset.preprocessing();
    set.assets = method_.assets();
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
    // The set first: whatever a kill leaves undone of the rest, finished_before() does.
    storage::write_set(folder_.set(), set);
    write_copy(outcome);
    draw(folder_.grid(), set, 0);
    write_text(folder_.config(), set.provenance.config);
    if (cut) {
      log::info(cut_text(next_));
    } else {
      std::filesystem::remove(folder_.checkpoint());
    }
    return outcome;
  }

  /// A run cut by the clock is repeated by its number of iterations.
  std::string replay_config() const {
    if (next_ >= method_.iterations()) return options_.config_text;
    return with_iterations(options_.config_text, next_);
  }

  DistillationMethod& method_;
  RunContext& context_;
  const DriverOptions& options_;
  ProgressSink& progress_;
  const StopFlag& stop_;
  RunFolder folder_;
  double began_;  // the work of this session
  double limit_;  // of the magnitude of stored images

  Session session_;
  std::optional<storage::EventFile> events_;  // none: TensorBoard is not told
  std::optional<Check> check_;                // none: no checks are asked for
  std::int64_t next_ = 0;                     // iterations done
  std::int64_t saved_at_ = -1;                // iterations done at the last checkpoint
  bool owes_evaluation_ = false;              // the one of `next_` was stopped on the way
  double start_ = 0;
  double cpu_start_ = 0;
  double opening_ = 0;       // spent before condensing, in all sessions
  double earlier_wall_ = 0;  // spent condensing before a resume
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
