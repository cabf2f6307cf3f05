#pragma once
// Everything around a method that is not mathematics: the loop, checkpoints, metrics, pictures,
// in-loop evaluation, interruption, resume, the result file.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "lib/core/progress.h"
#include "lib/core/stop.h"
#include "lib/eval/protocol.h"
#include "methods/method.h"

namespace retort::methods {

struct DriverOptions {
  std::filesystem::path run_dir;  ///< config.cfg, metrics.csv, log, checkpoint, grids, set.h5
  std::optional<std::filesystem::path> out;  ///< a copy of set.h5
  double time_budget_seconds = 0;            ///< 0: none. Counts initialisation
  std::int64_t checkpoint_every = 0;         ///< iterations; 0: by time, about once a minute
  std::int64_t eval_every = 0;               ///< iterations; 0: no in-loop evaluation
  std::int64_t grid_every = 0;               ///< iterations; 0: at the end only
  bool eval_on_test = false;                 ///< in-loop checks on the test split, and marked so
  std::string eval_protocol = "quick";
  bool resume = false;
  std::string config_text;      ///< resolved configuration, replays the run
  data::Provenance provenance;  ///< method, seed, dataset filled in by the caller
};

struct RunOutcome {
  data::SyntheticSet set;
  std::int64_t iterations = 0;
  bool already_finished = false;  ///< --resume on a finished run
  double wall_seconds = 0;
  double last_loss = 0;
};

/// Runs `method` to its end, its time budget or an interruption.
/// @throws Interrupted after saving a checkpoint when `stop` was requested
/// @throws NumericalError when the loss is not finite; the last good checkpoint is kept
RunOutcome run(DistillationMethod& method, RunContext& context, const DriverOptions& options,
               ProgressSink& progress, const StopFlag& stop);

}  // namespace retort::methods
