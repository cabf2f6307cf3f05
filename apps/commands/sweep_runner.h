#pragma once
// Runs the cells of a sweep, several at a time, each in processes of its own.

#include <cstddef>
#include <filesystem>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apps/cli/child_process.h"
#include "apps/cli/command.h"
#include "apps/commands/sweep_folder.h"
#include "apps/commands/sweep_prediction.h"
#include "lib/core/file_lock.h"
#include "lib/sweep/schedule.h"

namespace retort::commands {

/// A cell that did not come to its end.
struct SweepFailure {
  std::string cell;
  std::string stage;          ///< "condense", "evaluate", "files"
  std::string why;            ///< "exit code 1"
  std::filesystem::path log;  ///< all that its processes said
  std::string last_lines;     ///< of it, those of the process that failed
};

/// Starts cells in their order as long as they fit the budget. A cell that another process works on
/// is taken up when that ends, if there is still something to do for it.
class SweepRunner {
 public:
  /// @param cells those to finish; they, the folder and the program must outlive it
  SweepRunner(const SweepFolder& folder, std::vector<const SweepCell*> cells,
              const std::map<std::size_t, SweepPrediction>& predictions,
              const sweep::Budget& budget, cli::Program& program);

  /// @return cells that failed  @throws Interrupted once all that ran has saved
  std::vector<SweepFailure> run();

 private:
  /// A cell with what is known of it.
  struct Task {
    const SweepCell* cell;
    sweep::Demand demand;
    sweep::Left left;
    double retry_at = 0;  ///< not before this moment: somebody else had it
  };
  struct Active {
    Task task;
    FileLock lock;
    SweepStep step;
    std::optional<cli::ChildProcess> child;
    std::uintmax_t log_begins = 0;
    double since = 0;
  };

  void pass_on_stop();
  void look_after_children();
  /// @return whether the cell is at work still
  bool go_on(Active& active, const cli::Ended& ended);
  void start_what_fits();
  void begin(Task task);
  void start(Active& active, SweepStep step);
  void fail(const Active& active, const std::string& why);
  void record_failure(SweepFailure failure);
  /// What is wrong with the files of a cell is a failure of this cell alone.
  /// @return whether `work` came to its end
  template <class Work>
  bool unless_broken(const SweepCell& cell, const Work& work);
  void demand_memory(Task& task) const;
  void count_finished(const SweepCell& cell);
  void update_left(Task& task) const;
  std::vector<sweep::Demand> running() const;
  bool waits_only_for_others() const;
  void show();

  const SweepFolder& folder_;
  const std::map<std::size_t, SweepPrediction>& predictions_;
  const sweep::Budget& budget_;
  cli::Program& program_;
  std::list<Task> waiting_;
  std::list<Active> active_;
  std::vector<SweepFailure> failures_;
  sweep::Pace pace_;
  std::size_t total_ = 0;
  std::size_t finished_ = 0;
  bool stopping_ = false;
  bool said_waiting_ = false;
};

}  // namespace retort::commands
