#pragma once
// The options of `teachers`: how they are trained, and what goes on around it.

#include <cstdint>
#include <string>
#include <vector>

#include "apps/cli/command.h"
#include "apps/commands/dataset_options.h"
#include "apps/commands/device_options.h"
#include "apps/commands/kernel_options.h"
#include "lib/train/teachers.h"

namespace retort::commands {

/// One command line. Not copyable: the table is bound to its fields.
class TeachersOptions {
 public:
  /// Takes the defaults of the recipe that `args` name and declares its options.
  /// @throws ConfigError for an unknown recipe
  explicit TeachersOptions(const std::vector<std::string>& args);
  TeachersOptions(const TeachersOptions&) = delete;
  TeachersOptions& operator=(const TeachersOptions&) = delete;

  cli::CommonOptions common;
  DatasetOptions dataset;
  DeviceOptions device;
  KernelOptions kernels;
  train::TeacherRecipe recipe;
  std::vector<std::string> nets = {"ConvNet-3-BN"};
  std::int64_t seed = 0;
  double hold_out = 0;

  std::string class_statistics = "none";  ///< or one of train::class_averages()

  std::string out;
  std::string import_file;
  bool statistics_only = false;
  bool add = false;
  bool dry_run = false;

  config::OptionTable table;

  /// What the options alone can say wrongly. @throws ConfigError
  void check();
  /// @throws ConfigError if --out exists and --add was not asked for
  void expect_wanted() const;
  /// `key = value` lines of all that decides what a teacher becomes, but for dataset and network.
  std::string recorded_text();

 private:
  void describe_recorded(config::OptionTable& into);
  void check_import();
  void check_statistics_only();
  /// @throws ConfigError for a flag that says how to train
  void refuse_training_flags(const std::string& because);
};

}  // namespace retort::commands
