#pragma once
// Everything around a method that is not mathematics: the loop, checkpoints, metrics, pictures,
// in-loop evaluation, interruption, resume, the result file.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "lib/core/progress.h"
#include "lib/core/stop.h"
#include "lib/eval/protocol.h"
#include "methods/method.h"

namespace retort::methods {

struct DriverOptions {
  std::filesystem::path run_dir;  ///< config.cfg, metrics.csv, log, checkpoint, grids, set.h5
  /// A copy of set.h5. A resumed run that is not told where writes the one it was asked for before.
  std::optional<std::filesystem::path> out;
  /// 0: none; not given: none or, in a resumed run, the one before. Everything since `began`
  /// counts, over all sessions of a run, initialisation and iterations among it; checks and
  /// pictures do not. It ends iterations only: initialisation is never cut short, and one iteration
  /// is always made.
  std::optional<double> time_budget_seconds;
  /// wall_seconds() when the caller began to work for this run, say to open its dataset; not given:
  /// at the call.
  std::optional<double> began;
  /// Finds or makes what the method needs first and names it in the context; empty: nothing is
  /// needed. Called once the run folder is there and the run can be resumed by it, of a new run
  /// after the method's check. Its time counts neither as condensing nor against the budget.
  std::function<void(RunContext& context)> provide;
  std::int64_t checkpoint_every = 0;  ///< iterations; 0: by time, about once a minute
  std::int64_t eval_every = 0;        ///< iterations; 0: no in-loop evaluation
  /// Iterations between pictures of the first ten images of every class; 0: a tenth of the run's,
  /// none in a run of fewer than ten. What there is in the end is in grid.png alone.
  std::int64_t grid_every = 0;
  /// Metrics, checks and pictures also as TensorBoard's event files in the run folder, by
  /// iterations done; a resumed run goes on with them.
  bool tensorboard = false;
  bool eval_on_test = false;     ///< in-loop checks on the test split, and marked so
  eval::Protocol eval_protocol;  ///< how in-loop checks train; needed when there are any
  bool resume = false;
  /// The command that continues an interrupted run, for messages; empty: `retort condense` with its
  /// folder.
  std::string go_on;
  /// `key = value` lines that replay the run; a method that iterates has `iterations` among them.
  std::string config_text;
  data::Provenance provenance;  ///< method, seed, dataset filled in by the caller
};

struct RunOutcome {
  data::SyntheticSet set;
  std::int64_t iterations = 0;
  std::optional<std::filesystem::path> out;  ///< the copy that was written
  bool already_finished = false;             ///< --resume on a finished run
  double wall_seconds = 0;                   ///< of initialisation and iterations
  std::optional<double> last_loss;           ///< none when the run was finished before
};

/// Runs `method` to its end, its time budget or an interruption.
/// `stop` is handed to the method as `context.stop`. A resumed run must have the options of the one
/// it continues. A run that its time budget ended is finished, its configuration then holds the
/// iterations reached; its checkpoint stays, and resumed with a larger budget it goes on.
/// @throws Interrupted when `stop` was requested, after saving a checkpoint; during initialisation
///         there is nothing to save yet
/// @throws NumericalError when loss, metrics or images are not finite, or when stored images at a
///         checkpoint or at the end are beyond divergence_limit(); the last good checkpoint, and an
///         earlier result, are kept. A check whose own training diverges is a warning and a row
///         without a result
/// @throws ConfigError when options differ from those of the run to be resumed, or do not fit the
///         data, or the protocol of the checks does not. A folder that this call made or found
///         empty is then removed or emptied again, unless an iteration was made
RunOutcome run(DistillationMethod& method, RunContext& context, const DriverOptions& options,
               ProgressSink& progress, const StopFlag& stop);

}  // namespace retort::methods
