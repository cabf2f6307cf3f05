#include "apps/commands/result_place.h"

#include <algorithm>
#include <cctype>

#include <nlohmann/json.hpp>

#include "lib/core/files.h"
#include "lib/core/hash.h"
#include "lib/core/log.h"
#include "lib/core/str.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLongestName = 120;

/// Of any result; 0 where it does not say.
std::size_t seeds_in(const fs::path& path) {
  const auto document = nlohmann::json::parse(read_text(path), nullptr, /*allow_exceptions=*/false);
  return document.is_object() ? document.value("seeds", nlohmann::json::array()).size() : 0;
}

/// Of the document at `path`; nothing in it if it is no such document.
MeasuredBy measured_by(const fs::path& path) {
  const nlohmann::json document =
      nlohmann::json::parse(read_text(path), nullptr, /*allow_exceptions=*/false);
  MeasuredBy found;
  try {
    found.protocol = document.at("protocol").get<std::string>();
    found.tested_on = document.at("tested_on").get<std::string>();
    found.seeds = document.at("seeds").get<std::vector<std::uint64_t>>();
    for (const auto& baseline : document.value("baselines", nlohmann::json::array())) {
      found.baselines.push_back(baseline.at("method").get<std::string>());
    }
    for (const auto& result : document.at("results")) {
      const auto network = result.at("network").get<std::string>();
      const auto augmentation = result.value("augmentation", "");
      found.nets.push_back(augmentation.empty() ? network
                                                : under_augmentation(network, augmentation));
    }
  } catch (const nlohmann::json::exception&) {
    return {};
  }
  return found;
}

/// "evaluation-dsa.json": of the text what a file's name may hold.
fs::path named(const fs::path& folder, const std::string& kind, const std::string& text) {
  std::string name;
  for (const char c : text) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_';
    if (plain || c == '/')
      name += plain ? c : '_';
    else if (!name.empty() && name.back() != '-')
      name += '-';
  }
  if (name.ends_with('-')) name.pop_back();
  // Names of many networks would be longer than file systems take.
  if (name.size() > kLongestName) {
    name = str(name.substr(0, kLongestName), "-", sha256_hex(text).substr(0, 8));
  }
  return folder / str(kind, "-", name, ".json");
}

/// With the networks behind the protocol where that is taken by others.
fs::path name_beside(const fs::path& folder, const MeasuredBy& mine) {
  const std::string how =
      mine.tested_on == "test" ? mine.protocol : str(mine.protocol, "-", mine.tested_on);
  const std::string whole = str(how, "-", join(mine.nets, "-"));
  for (int i = 0;; ++i) {
    const std::string name = i == 0 ? how : i == 1 ? whole : str(whole, "-", i);
    const fs::path path = named(folder, "evaluation", name);
    if (!fs::exists(path) || mine.covers(measured_by(path))) return path;
  }
}

template <class Value>
bool holds_all(const std::vector<Value>& values, const std::vector<Value>& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const Value& value) {
    return std::find(values.begin(), values.end(), value) != values.end();
  });
}

const char* what_differs(const MeasuredBy& theirs, const MeasuredBy& mine) {
  if (theirs.protocol != mine.protocol) return "another protocol";
  if (theirs.tested_on != mine.tested_on) return "other tested images";
  if (theirs.nets != mine.nets) return "other networks or augmentations";
  if (holds_all(theirs.seeds, mine.seeds)) {
    return theirs.seeds.size() > mine.seeds.size() ? "more networks" : "more baselines";
  }
  return "networks of other seeds";
}

/// Whether the set lies in the folder of a run.
bool in_run_folder(const std::string& set) {
  return fs::exists(fs::path(set).parent_path() / "config.cfg");
}

}  // namespace

bool MeasuredBy::covers(const MeasuredBy& other) const {
  return protocol == other.protocol && tested_on == other.tested_on && nets == other.nets &&
         holds_all(seeds, other.seeds) && holds_all(baselines, other.baselines);
}

std::string under_augmentation(const std::string& network, const std::string& augmentation) {
  return str(network, ", ", augmentation);
}

fs::path evaluation_in_run_folder(const std::string& set, const MeasuredBy& mine) {
  if (!in_run_folder(set)) return {};
  const fs::path folder = fs::path(set).parent_path();
  const fs::path usual = folder / "evaluation.json";
  if (!fs::exists(usual)) return usual;
  const MeasuredBy theirs = measured_by(usual);
  if (mine.covers(theirs)) return usual;
  log::info(str(usual.string(), " holds a result of ", what_differs(theirs, mine), " and is kept"));
  return name_beside(folder, mine);
}

fs::path ranking_in_run_folder(const std::string& set, const std::string& protocol,
                               const std::string& network, std::size_t repetitions) {
  if (!in_run_folder(set)) return {};
  const std::string name = str(protocol, "-", network);
  const fs::path usual = named(fs::path(set).parent_path(), "ranking", name);
  if (!fs::exists(usual) || seeds_in(usual) <= repetitions) return usual;
  log::info(str(usual.string(), " holds a score of more repetitions and is kept"));
  return named(fs::path(set).parent_path(), "ranking", str(name, "-", repetitions, "-seeds"));
}

}  // namespace retort::commands
