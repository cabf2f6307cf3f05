#pragma once
// The options of `nas`: what is searched and by what, and what goes on around it.

#include <cstdint>
#include <string>
#include <vector>

#include "apps/cli/command.h"
#include "apps/commands/dataset_options.h"
#include "apps/commands/device_options.h"
#include "apps/commands/kernel_options.h"
#include "apps/commands/study_folder.h"
#include "experiments/nas/grid.h"
#include "lib/eval/protocol.h"

namespace retort::commands {

/// One resolved command line. Not copyable: the tables are bound to its fields.
class NasOptions {
 public:
  /// Flags, in front of what --config says; with --resume alone of what the folder's config.cfg
  /// says. @throws ConfigError
  NasOptions(const cli::Command& command, const std::vector<std::string>& args);
  NasOptions(const NasOptions&) = delete;
  NasOptions& operator=(const NasOptions&) = delete;

  bool help = false;
  cli::CommonOptions common;
  DatasetOptions dataset;
  DeviceOptions device;
  KernelOptions kernels;

  // What the search is: recorded in config.cfg.
  experiments::nas::Filter grid;
  std::vector<std::string> proxies{"random", "herding", "dm", "early-stopping"};
  std::vector<std::string> sets;
  std::vector<std::string> method_changes;
  std::int64_t ipc = 10;
  std::int64_t epochs = 200;
  std::int64_t seeds = 1;
  std::string protocol = "dsa";
  std::vector<std::string> protocol_changes;
  double hold_out = 0.1;
  std::int64_t reference_images_per_class = 0;
  std::int64_t reference_epochs = 200;
  std::int64_t reference_seeds = 2;
  std::vector<std::int64_t> top;
  std::int64_t seed = 0;

  // What goes on around it: not recorded.
  StudySession session;

  /// With so many epochs. @throws ConfigError for an unknown one, one that trains on labels of
  /// teachers, and changes of the epochs, which have options of their own
  eval::Protocol opened_protocol(std::int64_t with_epochs) const;
  /// `key = value` lines that repeat the search with --config.
  std::string replay_text();
  std::string help_text(const cli::Command& command);

 private:
  config::OptionTable recorded_options();
  void describe_grid(config::OptionTable& table);
  void describe_proxies(config::OptionTable& table);
  void describe_reference(config::OptionTable& table);
  config::OptionTable session_options();
  void apply_file(config::OptionTable& table, const std::vector<std::string>& args) const;
};

}  // namespace retort::commands
