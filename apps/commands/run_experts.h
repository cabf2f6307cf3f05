#pragma once
// The experts of a run that was given no file of them: found where earlier runs left theirs, or
// made there.

#include <cstdint>
#include <optional>
#include <string>

#include "apps/cli/command.h"
#include "apps/commands/expert_session.h"
#include "apps/commands/experts_options.h"
#include "apps/commands/run_prerequisite.h"
#include "lib/data/image_dataset.h"
#include "lib/train/expert_parts.h"
#include "methods/method.h"

namespace retort::commands {

class RunExperts : public RunPrerequisite {
 public:
  /// @param dataset what the run sees; must outlive it
  /// @throws ConfigError for settings that the recipe does not have
  RunExperts(const methods::ExpertsNeeded& needed, const NetworksOfRun& run,
             const data::ImageDataset& dataset);

  std::string name() const override { return "experts"; }
  /// Until the file has them all, whoever makes them. Says so first, with the time it will take.
  /// What else an earlier session has planned there is left to it.
  /// @param go_on the command that continues after an interruption
  /// @throws Interrupted when a stop was requested; all that was done is saved
  void provide(cli::Program& program, const std::string& go_on, methods::RunContext& run) override;

 private:
  /// How many there are, and what making the others is predicted to take; nothing on a device.
  struct Found {
    train::ExpertParts::Stock stock;
    std::optional<double> seconds;
  };
  Missing missing() const override;
  std::int64_t count() const override { return needed_.count; }
  std::string counted(std::int64_t networks) const override;
  /// @throws StorageError for other experts under the name of the file
  Found look() const;
  void announce(const Found& found, const std::string& go_on) const;

  methods::ExpertsNeeded needed_;
  bool on_cpu_;
  ExpertsOptions options_;
  std::optional<ExpertSession> session_;
  std::string id_;
};

}  // namespace retort::commands
