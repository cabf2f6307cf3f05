#include "lib/sweep/grid.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::sweep {
namespace {

constexpr std::size_t kMostCells = 100'000;
constexpr std::size_t kLongestPart = 40;

void set_value(Options& options, const std::string& key, const std::string& value) {
  for (auto& [known, old] : options) {
    if (known != key) continue;
    old = value;
    return;
  }
  options.emplace_back(key, value);
}

/// Every one of `all` with every value of the setting; the first vary slowest.
std::vector<Options> spanned(const std::vector<Options>& all, const Setting& setting) {
  std::vector<Options> result;
  for (const auto& options : all) {
    for (const auto& value : setting.values) {
      result.push_back(options);
      set_value(result.back(), setting.key, value);
    }
    if (result.size() > kMostCells) {
      throw ConfigError(str("the grid has more than ", kMostCells, " cells"));
    }
  }
  return result;
}

/// The first of those that are the same but for the order of their keys.
std::vector<Options> different(const std::vector<Options>& all) {
  std::set<Options> seen;
  std::vector<Options> kept;
  for (const auto& options : all) {
    Options sorted = options;
    std::sort(sorted.begin(), sorted.end());
    if (seen.insert(std::move(sorted)).second) kept.push_back(options);
  }
  return kept;
}

bool holds(const Condition& condition, const Options& condense, const Options& own) {
  std::string value = value_of(own, condition.key);
  if (value.empty()) value = value_of(condense, condition.key);
  const auto& values = condition.values;
  return std::find(values.begin(), values.end(), value) != values.end();
}

/// Sections of one stage, applied one after the other.
class Expansion {
 public:
  Expansion(const SweepFile& file, Stage stage) : file_(file) {
    for (const auto& section : file.sections) {
      if (section.stage == stage) sections_.push_back(&section);
    }
    used_.resize(sections_.size());
  }

  /// @param keep leaves out what does not apply
  template <class Keep>
  std::vector<Options> of(const Options& condense, const Keep& keep) {
    std::vector<Options> all{{}};
    for (std::size_t i = 0; i < sections_.size(); ++i) {
      std::vector<Options> next;
      for (const auto& options : all) {
        const auto mine = applied(i, condense, options);
        next.insert(next.end(), mine.begin(), mine.end());
      }
      for (auto& options : next) keep(options);
      all = different(next);
    }
    return all;
  }

  void expect_used() const {
    for (std::size_t i = 0; i < sections_.size(); ++i) {
      if (used_[i]) continue;
      throw ConfigError(str(file_.source, ":", sections_[i]->line,
                            ": there is no cell that this section is for"));
    }
  }

 private:
  std::vector<Options> applied(std::size_t i, const Options& condense, const Options& options) {
    const Section& section = *sections_[i];
    for (const auto& condition : section.conditions) {
      if (!holds(condition, condense, options)) return {options};
    }
    used_[i] = true;
    std::vector<Options> all{options};
    for (const auto& setting : section.settings) all = spanned(all, setting);
    return all;
  }

  const SweepFile& file_;
  std::vector<const Section*> sections_;
  std::vector<bool> used_;
};

/// Names of things speak for themselves, numbers do not.
std::string part_of(const std::string& key, const std::string& value) {
  std::string text = name_part(value);
  if (text.size() > kLongestPart) text = text.substr(text.size() - kLongestPart);
  const bool plain = key == "method" || key == "preset" || key == "dataset";
  return plain ? text : key + text;
}

}  // namespace

std::string value_of(const Options& options, const std::string& key) {
  for (const auto& [known, value] : options) {
    if (known == key) return value;
  }
  return "";
}

Options without(const Options& options, const std::string& key) {
  Options rest = options;
  std::erase_if(rest, [&](const auto& option) { return option.first == key; });
  return rest;
}

std::string options_text(const Options& options) {
  std::vector<std::string> parts;
  for (const auto& [key, value] : options) {
    parts.push_back(key == "method" ? value : str(key, " ", value));
  }
  return join(parts);
}

std::vector<Cell> expand(const SweepFile& file, const Applies& applies) {
  Expansion runs(file, Stage::Condense);
  Expansion judged(file, Stage::Evaluate);
  std::vector<Cell> cells;
  const auto drop_useless = [&](Options& options) {
    const Options all = options;
    std::erase_if(options, [&](const auto& option) { return !applies(all, option.first); });
  };
  for (auto& condense : runs.of({}, drop_useless)) {
    Cell cell{std::move(condense), {}};
    if (file.has(Stage::Evaluate)) cell.evaluations = judged.of(cell.condense, [](Options&) {});
    cells.push_back(std::move(cell));
  }
  runs.expect_used();
  judged.expect_used();
  return cells;
}

std::vector<std::string> varying_keys(const std::vector<Options>& all,
                                      const std::vector<std::string>& classes) {
  std::vector<std::string> keys;
  for (const auto& options : all) {
    for (const auto& [key, value] : options) {
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
    }
  }
  std::erase_if(keys, [&](const std::string& key) {
    std::map<std::string, std::string> first;
    for (std::size_t i = 0; i < all.size(); ++i) {
      const std::string value = value_of(all[i], key);
      if (first.emplace(classes[i], value).first->second != value) return false;
    }
    return true;
  });
  return keys;
}

std::string name_part(const std::string& text) {
  std::string name;
  for (const char c : text) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_';
    if (plain) {
      name += c;
    } else if (!name.empty() && name.back() != '-') {
      name += '-';
    }
  }
  if (name.ends_with('-')) name.pop_back();
  return name;
}

std::vector<std::string> cell_names(const std::vector<Cell>& cells) {
  std::vector<Options> all;
  std::vector<std::string> methods;
  for (const auto& cell : cells) {
    all.push_back(cell.condense);
    methods.push_back(value_of(cell.condense, "method"));
  }
  std::vector<std::string> keys{"preset", "method", "dataset", "ipc", "seed"};
  for (const auto& key : varying_keys(all, methods)) {
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  }
  std::vector<std::string> names;
  std::set<std::string> taken;
  for (const auto& options : all) {
    std::vector<std::string> parts;
    for (const auto& key : keys) {
      const std::string value = value_of(options, key);
      if (!value.empty()) parts.push_back(part_of(key, value));
    }
    const std::string name = join(parts, "-");
    std::string free = name;
    for (int i = 2; !taken.insert(free).second; ++i) free = str(name, "-", i);
    names.push_back(free);
  }
  return names;
}

}  // namespace retort::sweep
