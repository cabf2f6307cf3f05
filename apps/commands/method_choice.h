#pragma once
// Which method a command line asks for, and the files that bring options with it: of commands that
// condense.

#include <memory>
#include <string>
#include <vector>

#include "lib/config/options.h"
#include "methods/method.h"

namespace retort::commands {

class MethodChoice {
 public:
  /// From --method, else from the files of --config and --preset; with --run-dir and --resume alone
  /// from the configuration that the run left.
  /// @throws ConfigError for an unknown name, files of another method, or nothing to resume
  explicit MethodChoice(const std::vector<std::string>& args);

  const std::string& name() const { return name_; }  ///< empty: none is asked for
  /// Of the method; none without a name. Whoever takes it owns it.
  std::unique_ptr<methods::MethodFactory> factory() const;

  /// @throws ConfigError for an option of another method, naming those that have it
  void check_names(const std::vector<std::string>& args, const config::OptionTable& flags,
                   const config::OptionTable& entries) const;
  /// Sets what the files say: default < preset < file.
  void apply_files(config::OptionTable& table) const;

 private:
  struct File {
    std::string source;
    std::vector<config::ConfigEntry> entries;
    config::Origin origin;
  };
  void add_own_file(const std::vector<std::string>& args);
  void check_agrees(const File& file) const;
  void refuse_other_methods(const std::string& option, const config::OptionTable& known) const;

  std::string name_;
  std::vector<File> files_;  ///< in the order of application
};

/// "dm, datadam, ..."
std::string known_methods();

/// Makes what names a file absolute in the options of a method: what is recorded must lead to the
/// same files from any folder.
void make_method_paths_absolute(config::OptionTable options);

/// The same of a protocol that is a file.
std::string absolute_protocol(const std::string& name_or_path);

/// Whether the words hold --help.
bool asks_for_help(const std::vector<std::string>& args);

}  // namespace retort::commands
