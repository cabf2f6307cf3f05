#pragma once
// The options of `relabel`: how images are labelled, by which teachers, and what goes on around it.

#include <string>
#include <vector>

#include "apps/cli/command.h"
#include "apps/commands/dataset_options.h"
#include "apps/commands/device_options.h"
#include "apps/commands/kernel_options.h"
#include "apps/commands/output_file.h"
#include "lib/train/relabel.h"

namespace retort::commands {

/// One command line. Not copyable: the table is bound to its fields.
class RelabelOptions {
 public:
  /// Takes the defaults of the recipe that `args` name and declares its options.
  /// @throws ConfigError for an unknown recipe
  explicit RelabelOptions(const std::vector<std::string>& args);
  RelabelOptions(const RelabelOptions&) = delete;
  RelabelOptions& operator=(const RelabelOptions&) = delete;

  cli::CommonOptions common;
  DatasetOptions dataset;
  DeviceOptions device;
  KernelOptions kernels;
  train::RelabelRecipe recipe;
  OutputFile out;
  std::string teachers;
  std::vector<std::string> teacher_names;
  bool dry_run = false;

  config::OptionTable table;

  /// What the options alone can say wrongly. @param set the file that is read @throws ConfigError
  void check(const std::string& set) const;
  /// Mirror images of digits and letters are not labelled unless that was asked for.
  void settle_flip(const data::ImageDataset& dataset);

 private:
  void check_out(const std::string& set) const;
};

}  // namespace retort::commands
