#include "lib/report/csv.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/str.h"

namespace retort::report {
namespace {

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> fields;
  for (std::size_t begin = 0;;) {
    const std::size_t comma = line.find(',', begin);
    fields.push_back(line.substr(begin, comma - begin));
    if (comma == std::string::npos) return fields;
    begin = comma + 1;
  }
}

}  // namespace

std::size_t CsvTable::column(const std::string& name) const {
  const auto found = std::find(header.begin(), header.end(), name);
  if (found != header.end()) return std::size_t(found - header.begin());
  throw StorageError(str("'", path.string(), "': expected a column '", name, "', found ",
                         header.empty() ? "nothing" : join(header)));
}

std::vector<double> CsvTable::numbers(std::size_t index) const {
  std::vector<double> values;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const std::string& text = rows[r][index];
    double value = std::numeric_limits<double>::quiet_NaN();
    const char* const last = text.data() + text.size();
    if (!text.empty()) {
      const auto [end, error] = std::from_chars(text.data(), last, value);
      if (error != std::errc() || end != last) {
        throw StorageError(str("'", path.string(), "':", r + 2, ": expected a number in column '",
                               header[index], "', found '", text, "'"));
      }
    }
    values.push_back(value);
  }
  return values;
}

CsvTable read_csv(const std::filesystem::path& path) {
  CsvTable table;
  table.path = path;
  const std::string text = read_text(path);
  std::size_t line = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;  // cut short
    ++line;
    std::vector<std::string> fields = split(text.substr(begin, end - begin));
    begin = end + 1;
    if (line == 1) {
      table.header = std::move(fields);
      continue;
    }
    if (fields.size() != table.header.size()) {
      throw StorageError(str("'", path.string(), "':", line, ": expected ", table.header.size(),
                             " columns, found ", fields.size()));
    }
    table.rows.push_back(std::move(fields));
  }
  return table;
}

}  // namespace retort::report
