#pragma once
// The options of `experts`: how experts are trained, and what goes on around it.

#include <cstdint>
#include <string>
#include <vector>

#include "apps/cli/command.h"
#include "apps/commands/dataset_options.h"
#include "apps/commands/device_options.h"
#include "apps/commands/kernel_options.h"
#include "lib/train/experts.h"

namespace retort::commands {

/// One command line. Not copyable: the table is bound to its fields.
class ExpertsOptions {
 public:
  /// Takes the defaults of the recipe that `args` name and declares its options.
  /// @throws ConfigError for an unknown recipe, and for options of another one
  explicit ExpertsOptions(const std::vector<std::string>& args);
  ExpertsOptions(const ExpertsOptions&) = delete;
  ExpertsOptions& operator=(const ExpertsOptions&) = delete;

  cli::CommonOptions common;
  DatasetOptions dataset;
  DeviceOptions device;
  KernelOptions kernels;
  train::ExpertRecipe recipe;
  std::string net = "ConvNet";
  std::int64_t count = 10;
  std::int64_t seed = 0;
  double hold_out = 0;

  std::string out;
  bool add = false;
  bool merge = false;
  bool dry_run = false;
  std::int64_t parallel = 0;
  std::int64_t test_every = 1;

  config::OptionTable table;

  /// What the options alone can say wrongly. @throws ConfigError
  void check();
  /// The same once the number of threads is known. @throws ConfigError
  void check_threads() const;
  /// `key = value` lines of all that decides what experts become, but for dataset and network.
  std::string recorded_text();

 private:
  void describe_recorded(config::OptionTable& into);
  void refuse_other_recipes(const std::vector<std::string>& args) const;
  /// --merge reads no other option. @throws ConfigError
  void expect_merge_alone() const;
};

}  // namespace retort::commands
