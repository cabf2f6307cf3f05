#pragma once
// Networks that a run needs before it condenses: found where earlier runs left theirs, or made
// there.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "apps/cli/command.h"
#include "apps/commands/dataset_options.h"
#include "apps/commands/device_options.h"
#include "apps/commands/kernel_options.h"
#include "methods/method.h"

namespace retort::commands {

/// What of a run its networks share.
struct NetworksOfRun {
  std::filesystem::path folder;  ///< where their file is looked for, and made
  DatasetOptions dataset;
  DeviceOptions device;
  KernelOptions kernels;
  std::int64_t seed = 0;
  double hold_out = 0;  ///< part of every class that the run does not see; 0: none
  std::int64_t threads = 0;

  /// One seed serves runs of all seeds, unless theirs decides which images there are.
  std::int64_t seed_of_networks() const;
};

/// A folder of this name beside the folder of a run.
std::filesystem::path folder_beside(const std::filesystem::path& run_dir, const std::string& name);

/// The first letters of what decides what networks become, for the name of their file.
std::string short_id(const std::string& id);

class RunPrerequisite {
 public:
  virtual ~RunPrerequisite() = default;
  /// As documents and tables call it: "experts".
  virtual std::string name() const = 0;
  /// What would have to be made, and how long that would take.
  nlohmann::json prediction() const;
  std::string prediction_text() const;
  /// Makes what is missing, after saying so, and names the file in the context.
  /// @param go_on the command that continues after an interruption
  /// @throws Interrupted when a stop was requested; all that was done is saved
  virtual void provide(cli::Program& program, const std::string& go_on,
                       methods::RunContext& run) = 0;
  /// What was made and found; null before provide.
  nlohmann::json outcome() const;
  std::string outcome_text() const;
  /// Named after what decides what the networks become.
  const std::filesystem::path& file() const { return file_; }

 protected:
  /// How many networks are not there, and what making them is predicted to take; nothing on a
  /// device.
  struct Missing {
    std::int64_t networks = 0;
    std::optional<double> seconds = {};
  };
  /// How many `provide` found missing, and the seconds until they were there.
  struct Made {
    std::int64_t networks = 0;
    double seconds = 0;
  };
  /// @throws StorageError for other networks under the name of the file
  virtual Missing missing() const = 0;
  virtual std::int64_t count() const = 0;
  /// "1 expert", "5 experts"
  virtual std::string counted(std::int64_t networks) const = 0;

  std::filesystem::path file_;
  std::optional<Made> made_;  ///< nothing before `provide`
};

}  // namespace retort::commands
