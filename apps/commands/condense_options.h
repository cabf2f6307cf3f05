#pragma once
// The options of `condense`: what a run is, what merely goes on around it, and the method's own.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "apps/cli/command.h"
#include "apps/commands/dataset_options.h"
#include "apps/commands/device_options.h"
#include "apps/commands/kernel_options.h"
#include "methods/driver.h"
#include "methods/method.h"

namespace retort::commands {

/// One resolved command line. Not copyable: the tables are bound to its fields.
class CondenseOptions {
 public:
  /// Finds the method in flags, --config and --preset, then applies default < preset < file < flag.
  /// @throws ConfigError
  CondenseOptions(const cli::Command& command, const std::vector<std::string>& args);
  CondenseOptions(const CondenseOptions&) = delete;
  CondenseOptions& operator=(const CondenseOptions&) = delete;

  bool help = false;
  cli::CommonOptions common;
  DatasetOptions dataset;
  DeviceOptions device;
  KernelOptions kernels;

  // What a run is: recorded in config.cfg.
  std::string method;
  std::int64_t ipc = 1;
  std::int64_t seed = 0;
  std::int64_t checkpoint_every = 0;
  std::int64_t eval_every = 0;
  std::string eval_on = "held-out";
  std::string eval_protocol = "quick";
  double hold_out = 0.1;
  std::int64_t grid_every = 0;

  // What goes on around it: not recorded.
  std::string run_dir;
  std::string out;
  std::string time_budget;
  std::string preset;
  std::string config;
  bool tensorboard = false;
  bool resume = false;
  bool force = false;
  bool dry_run = false;

  std::unique_ptr<methods::MethodFactory> factory;  ///< none for --help without a method

  /// Everything that may stand on the command line, bound to this object.
  config::OptionTable options();
  /// `key = value` lines that repeat this run with --config.
  std::string replay_text();
  std::string help_text(const cli::Command& command);

 private:
  config::OptionTable recorded_options();  ///< what a run is
  config::OptionTable session_options();   ///< around it, also allowed in files
  config::OptionTable flag_options();      ///< around it, flags only
  config::OptionTable file_options();      ///< everything that may stand in a file
  /// What is recorded must lead to the same files from any folder.
  void make_paths_absolute();
};

}  // namespace retort::commands
