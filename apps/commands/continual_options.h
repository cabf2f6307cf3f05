#pragma once
// The options of `continual`: what a study is, what goes on around it, and the method's own.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "apps/cli/command.h"
#include "apps/commands/dataset_options.h"
#include "apps/commands/device_options.h"
#include "apps/commands/kernel_options.h"
#include "apps/commands/study_folder.h"
#include "lib/eval/protocol.h"
#include "methods/method.h"

namespace retort::commands {

/// One resolved command line. Not copyable: the tables are bound to its fields.
class ContinualOptions {
 public:
  /// Method and files as of `condense`. @throws ConfigError
  ContinualOptions(const cli::Command& command, const std::vector<std::string>& args);
  ContinualOptions(const ContinualOptions&) = delete;
  ContinualOptions& operator=(const ContinualOptions&) = delete;

  bool help = false;
  cli::CommonOptions common;
  DatasetOptions dataset;
  DeviceOptions device;
  KernelOptions kernels;

  // What the study is: recorded in config.cfg.
  std::string method;
  std::string variant = "gdumb";
  std::int64_t steps = 5;
  std::int64_t orders = 5;
  std::int64_t ipc = 20;
  std::int64_t runs = 3;
  std::string protocol = "dsa";
  std::vector<std::string> protocol_changes;
  double hold_out = 0;
  std::int64_t seed = 0;

  // What goes on around it: not recorded.
  StudySession session;
  std::string preset;

  std::unique_ptr<methods::MethodFactory> factory;  ///< none for --help without a method

  /// @throws ConfigError for an unknown one, and one that trains on labels of teachers
  eval::Protocol opened_protocol() const;
  /// `key = value` lines that repeat the study with --config.
  std::string replay_text();
  std::string help_text(const cli::Command& command);

 private:
  config::OptionTable recorded_options();
  config::OptionTable session_options();
  void refuse_method() const;
  /// What the variant of Kim et al. takes for options that nobody gave.
  void settle_variant(const config::OptionTable& files, const config::OptionTable& flags);
};

}  // namespace retort::commands
