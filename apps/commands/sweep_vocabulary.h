#pragma once
// Which options a sweep may set.

#include <memory>
#include <string>
#include <vector>

#include "apps/commands/condense_options.h"
#include "apps/commands/evaluate_words.h"
#include "lib/sweep/grid.h"
#include "lib/sweep/sweep_file.h"

namespace retort::commands {

class SweepVocabulary {
 public:
  SweepVocabulary();

  /// Replaces aliases of options and datasets by names everywhere.
  /// @throws ConfigError with the line of an option that neither command has or that the sweep
  ///         itself sets, and of a value that no option of this name takes
  void check(sweep::SweepFile& file);
  /// Whether the option takes a comma-separated list.
  bool takes_list(sweep::Stage stage, const std::string& key);
  /// Whether `condense` has the option under the method of a cell.
  bool applies(const sweep::Options& condense, const std::string& key);
  /// Of all methods those that have it.
  std::vector<std::string> methods_with(const std::string& key) const;

 private:
  struct Method {
    std::string name;
    std::unique_ptr<methods::MethodFactory> factory;
    config::OptionTable table;
  };
  std::vector<config::OptionTable*> tables_with(sweep::Stage stage, const std::string& key);
  std::string canonical(sweep::Stage stage, const std::string& key);
  void name_keys(sweep::Section& section);
  void check_values(sweep::Stage stage, const sweep::Setting& setting);
  std::string method_of(const sweep::Options& condense) const;
  [[noreturn]] void refuse_unknown(sweep::Stage stage, const std::string& key) const;

  CondenseOptions condense_;
  config::OptionTable common_;
  std::vector<Method> methods_;
  EvaluateWords evaluate_;
};

/// "--key=value", without those that say nothing.
std::vector<std::string> flags_of(const sweep::Options& options);

}  // namespace retort::commands
