#include "methods/run_folder.h"

#include <ctime>
#include <fstream>
#include <iomanip>
#include <memory>
#include <sstream>

#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/str.h"

namespace retort::methods {

std::filesystem::path RunFolder::grid(std::int64_t iteration) const {
  std::ostringstream name;
  name << "grid-" << std::setw(6) << std::setfill('0') << iteration << ".png";
  return root / name.str();
}

CsvLog::CsvLog(std::filesystem::path path, std::int64_t next_iteration) : path_(std::move(path)) {
  if (!std::filesystem::exists(path_)) return;
  if (next_iteration == 0) {
    std::filesystem::remove(path_);
    return;
  }
  std::istringstream lines(read_text(path_));
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    if (!has_header_) {
      has_header_ = true;
    } else {
      // A kill can leave half a line at the end; it belongs to an iteration that is made again.
      const auto comma = line.find(',');
      if (comma == std::string::npos || std::stoll(line) >= next_iteration) continue;
    }
    kept += line + "\n";
  }
  write_text(path_, kept);
}

void CsvLog::row(const std::vector<std::pair<std::string, std::string>>& columns) {
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
  if (!out) throw StorageError(str("'", path_.string(), "': cannot be written"));
}

LogFile::LogFile(const std::filesystem::path& path) {
  const auto file = std::make_shared<std::ofstream>(path, std::ios::app);
  // The sink in place so far keeps receiving everything.
  previous_ = log::set_sink({});
  log::set_sink([file, before = previous_](log::Level level, const std::string& message) {
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    localtime_r(&now, &local);
    *file << std::put_time(&local, "%F %T ")
          << (level == log::Level::Info   ? ""
              : level == log::Level::Warn ? "warning: "
                                          : "error: ")
          << message << std::endl;
    if (before) before(level, message);
  });
}

LogFile::~LogFile() { log::set_sink(previous_); }

std::string with_entry(const std::string& config, const std::string& key,
                       const std::string& value) {
  std::istringstream lines(config);
  std::string out;
  bool found = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(key + " =")) {
      found = true;
      if (value.empty()) continue;
      line = str(key, " = ", value);
    }
    out += line + "\n";
  }
  if (!found && !value.empty()) out += str(key, " = ", value, "\n");
  return out;
}

}  // namespace retort::methods
