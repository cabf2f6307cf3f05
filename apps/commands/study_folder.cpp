#include "apps/commands/study_folder.h"

#include <exception>
#include <system_error>
#include <vector>

#include <c10/util/Exception.h>

#include "apps/commands/run_checks.h"
#include "lib/config/options.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "methods/run_folder.h"

namespace retort::commands {

namespace fs = std::filesystem;

fs::path StudySession::folder(const std::string& name) const {
  return run_dir.empty() ? new_run_dir(name) : fs::path(run_dir);
}

namespace {

/// What killed writes left anywhere below, and what else is unneeded.
void remove_leftovers(const fs::path& root, const std::function<bool(const fs::path&)>& unneeded) {
  std::vector<fs::path> left;
  std::error_code ignored;
  for (const auto& entry : fs::recursive_directory_iterator(root, ignored)) {
    const fs::path& path = entry.path();
    if (target_of_temporary(path) || (unneeded && unneeded(path))) left.push_back(path);
  }
  for (const auto& path : left) fs::remove(path, ignored);
}

}  // namespace

void StudySession::describe(config::OptionTable& table, const std::string& study) {
  table.add("run-dir", run_dir,
            str("folder for everything the ", study, " leaves; else a new one in runs/"),
            config::any_text());
  table.add("config", config,
            str("a file of `option = value` lines; config.cfg of a ", study, " repeats it"),
            config::any_text());
  table.add("resume", resume, str("go on with the ", study, " in --run-dir"));
  table.add("dry-run", dry_run, str("say what the ", study, " would cost, and stop"));
}

void work_in(const StudyFolder& folder, const StudyWork& work, cli::Program& program) {
  const methods::MadeFolder made(folder.root);
  const methods::RunLock lock(folder.root);
  expect_same_config(folder.config(), work.config);
  if (fs::exists(folder.results())) {
    work.check_finished();
    remove_leftovers(folder.root, work.unneeded);
    log::info(str("this ", work.noun, " is finished; nothing to do but show its result"));
    return;
  }
  remove_leftovers(folder.root, {});
  write_text(folder.config(), work.config);
  const methods::LogFile log_file(folder.log());
  const auto ended = [&](log::Level level, const std::string& why) {
    program.terminal.finish();
    log_file.write(level, why);
  };
  try {
    work.make();
    remove_leftovers(folder.root, work.unneeded);
  } catch (const ConfigError& e) {
    ended(log::Level::Error, e.what());
    if (!work.begun()) made.take_back();
    throw;
  } catch (const Interrupted& e) {
    ended(log::Level::Warn, e.what());
    throw;
  } catch (const c10::Error& e) {
    ended(log::Level::Error, e.what_without_backtrace());
    throw;
  } catch (const std::exception& e) {
    ended(log::Level::Error, e.what());
    throw;
  }
}

}  // namespace retort::commands
