#include "methods/run_folder.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <fstream>
#include <iomanip>
#include <memory>
#include <sstream>
#include <sys/file.h>
#include <system_error>
#include <unistd.h>

#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/str.h"

namespace retort::methods {
namespace {

void append(std::ofstream& file, log::Level level, const std::string& message) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  file << std::put_time(&local, "%F %T ")
       << (level == log::Level::Info   ? ""
           : level == log::Level::Warn ? "warning: "
                                       : "error: ")
       << message << std::endl;
}

/// @throws StorageError "`where`: expected a whole number, found ..."
std::int64_t stored_count(const std::string& text, const std::string& where) {
  std::int64_t value = 0;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value);
  if (error != std::errc() || end != last) {
    throw StorageError(str(where, ": expected a whole number, found '", text, "'"));
  }
  return value;
}

}  // namespace

std::filesystem::path RunFolder::grid(std::int64_t iteration) const {
  std::ostringstream name;
  name << "grid-" << std::setw(6) << std::setfill('0') << iteration << ".png";
  return root / name.str();
}

bool RunFolder::owns(const std::string& file_name) const {
  const auto own = {config(), session(),    metrics(), evaluations(),
                    log(),    checkpoint(), set(),     grid()};
  return std::find(own.begin(), own.end(), root / file_name) != own.end() ||
         (file_name.starts_with("grid-") && file_name.ends_with(".png"));
}

void remove_temporaries(const RunFolder& folder) {
  std::vector<std::filesystem::path> left;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder.root, ignored)) {
    const auto target = target_of_temporary(entry.path());
    if (target && folder.owns(target->filename().string())) left.push_back(entry.path());
  }
  for (const auto& path : left) std::filesystem::remove(path, ignored);
}

CsvLog::CsvLog(std::filesystem::path path, std::int64_t next_iteration) : path_(std::move(path)) {
  if (!std::filesystem::exists(path_)) return;
  if (next_iteration == 0) {
    std::filesystem::remove(path_);
    return;
  }
  std::istringstream lines(read_text(path_));
  std::string kept;
  std::int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (!has_header_) {
      has_header_ = true;
    } else {
      // A kill can leave half a line at the end; it belongs to an iteration that is made again.
      const auto comma = line.find(',');
      if (comma == std::string::npos) continue;
      const std::string where = str("'", path_.string(), "':", number);
      if (stored_count(line.substr(0, comma), where) >= next_iteration) continue;
    }
    kept += line + "\n";
  }
  write_text(path_, kept);
}

void CsvLog::row(const std::vector<std::pair<std::string, std::string>>& columns) {
  errno = 0;
  std::ofstream out(path_, std::ios::app);
  std::vector<std::string> names;
  std::vector<std::string> values;
  for (const auto& [name, value] : columns) {
    names.push_back(name);
    values.push_back(value);
  }
  if (!has_header_) out << join(names, ",") << "\n";
  has_header_ = true;
  out << join(values, ",") << "\n";
  out.flush();
  if (!out) {
    throw StorageError(str("'", path_.string(), "': cannot be written",
                           errno == 0 ? "" : str(": ", std::strerror(errno))));
  }
}

MadeFolder::MadeFolder(std::filesystem::path root) : root_(std::move(root)) {
  namespace fs = std::filesystem;
  for (fs::path path = root_; !path.empty() && !fs::exists(path); path = path.parent_path()) {
    made_.push_back(path);
  }
  std::error_code error;
  fs::create_directories(root_, error);
  if (!fs::is_directory(root_)) {
    throw StorageError(str("'", root_.string(), "': cannot be created: ", error.message()));
  }
  was_empty_ = fs::is_empty(root_);
}

void MadeFolder::take_back() const {
  if (!was_empty_) return;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(root_, ignored)) {
    std::filesystem::remove_all(entry.path(), ignored);
  }
  // Parents that somebody else began to use meanwhile are not empty and stay.
  for (const auto& folder : made_) std::filesystem::remove(folder, ignored);
}

RunLock::RunLock(const std::filesystem::path& root) {
  // The kernel drops the lock with the process, however that ends; the file itself may stay.
  const std::filesystem::path path = root / ".lock";
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file_ < 0) {
    throw StorageError(str("'", path.string(), "': cannot be opened: ", std::strerror(errno)));
  }
  if (::flock(file_, LOCK_EX | LOCK_NB) != 0) {
    ::close(file_);
    throw ConfigError(str("run folder '", root.string(), "' is in use by another process"));
  }
}

RunLock::~RunLock() { ::close(file_); }

LogFile::LogFile(const std::filesystem::path& path)
    : file_(std::make_shared<std::ofstream>(path, std::ios::app)) {
  if (!*file_) throw StorageError(str("'", path.string(), "': cannot be opened for appending"));
  // The sink in place so far keeps receiving everything.
  previous_ = log::set_sink({});
  log::set_sink([file = file_, before = previous_](log::Level level, const std::string& message) {
    append(*file, level, message);
    if (before) before(level, message);
  });
}

LogFile::~LogFile() { log::set_sink(previous_); }

void LogFile::write(log::Level level, const std::string& message) const {
  append(*file_, level, message);
}

void Session::describe(config::OptionTable& table) {
  table.add("out", out, "copy of the set", config::any_text());
  table.add("time-budget", time_budget_seconds, "seconds; 0: none", config::non_negative());
  table.add("tensorboard", tensorboard, "event files for TensorBoard");
}

Session read_session(const std::filesystem::path& path) {
  Session session;
  config::OptionTable table;
  session.describe(table);
  config::apply_config(table, config::parse_config(read_text(path), path.string()), path.string(),
                       config::Origin::File);
  return session;
}

void write_session(const std::filesystem::path& path, Session session) {
  config::OptionTable table;
  session.describe(table);
  write_text(path, config::config_text(table));
}

std::optional<StoredConfig> stored_config(const std::filesystem::path& run_dir) {
  const RunFolder folder{run_dir};
  if (std::filesystem::exists(folder.checkpoint())) {
    try {
      return StoredConfig{folder.checkpoint().string(),
                          storage::StateReader(folder.checkpoint()).text("driver/config")};
    } catch (const StorageError&) {
      // Whoever needs it says what is wrong with it.
    }
  }
  if (!std::filesystem::exists(folder.config())) return std::nullopt;
  return StoredConfig{folder.config().string(), read_text(folder.config())};
}

std::string resume_command(const std::filesystem::path& run_dir) {
  return str("retort condense --run-dir ", run_dir.string(), " --resume");
}

std::string with_iterations(const std::string& config, std::int64_t iterations) {
  std::istringstream lines(config);
  std::string out;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("iterations =")) line = str("iterations = ", iterations);
    out += line + "\n";
  }
  return out;
}

}  // namespace retort::methods
