#pragma once
// From the options of experts to their file: what `experts` does, and `condense` for a run that
// was given none.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "apps/cli/command.h"
#include "apps/commands/experts_options.h"
#include "lib/data/image_dataset.h"
#include "lib/nn/network.h"
#include "lib/storage/expert_file.h"
#include "lib/train/expert_parts.h"

namespace retort::commands {

/// What experts cost on this machine.
struct ExpertCost {
  double epoch_seconds = 0;  ///< of one expert, over all threads
  double total_seconds = 0;
  double memory_bytes = 0;
  double file_bytes = 0;
};

/// "1 expert", "5 experts"
std::string experts_text(std::int64_t count);

class ExpertMaker;

/// Experts of one file.
class ExpertSession {
 public:
  /// Both must outlive it. @throws ConfigError for a network that no trajectory can describe
  ExpertSession(ExpertsOptions& options, const data::ImageDataset& dataset);

  /// What the file says of all its experts.
  const storage::ExpertInfo& info() const { return info_; }
  /// Of as many experts.
  ExpertCost cost(std::int64_t experts) const;
  /// Plans `options.count` experts for `options.out`, with `options.add` beside those that it
  /// holds, or takes up the plan that is there; trains them, and merges when no other process works
  /// on any of them.
  /// @param go_on how an interrupted session is continued, for the message
  /// @throws Interrupted when a stop was requested; all that was done is saved
  train::ExpertParts::Merge make(cli::Program& program, const std::string& go_on);
  /// Trains and merges what `options.out` lacks of `total` experts, whatever else is planned for
  /// it, and waits for those of them that other processes work on.
  /// @throws Interrupted as above
  void make_up_to(std::int64_t total, cli::Program& program, const std::string& go_on);

 private:
  using Merge = train::ExpertParts::Merge;

  void announce(const train::ExpertParts& parts) const;
  /// @param merge once all are made that nobody else works on
  Merge train_and(const std::function<Merge(ExpertMaker&)>& merge, train::ExpertParts& parts,
                  cli::Program& program, const std::string& go_on) const;
  Merge wait_for_others(ExpertMaker& maker, train::ExpertParts& parts, cli::Program& program) const;

  ExpertsOptions& options_;
  const data::ImageDataset& dataset_;
  std::unique_ptr<nn::Network> network_;
  storage::ExpertInfo info_;
};

}  // namespace retort::commands
