#include "lib/config/differences.h"

#include <algorithm>

#include "lib/config/options.h"
#include "lib/core/str.h"

namespace retort::config {

std::vector<Difference> differences(const std::string& theirs, const std::string& mine) {
  std::vector<Difference> all;
  for (const auto& entry : parse_config(mine, "this run's configuration")) {
    all.push_back({entry.key, "", entry.value});
  }
  for (const auto& entry : parse_config(theirs, "the stored configuration")) {
    const auto same_key = [&](const Difference& d) { return d.key == entry.key; };
    const auto found = std::find_if(all.begin(), all.end(), same_key);
    if (found == all.end()) {
      all.push_back({entry.key, entry.value, ""});
    } else {
      found->theirs = entry.value;
    }
  }
  std::erase_if(all, [](const Difference& d) { return d.theirs == d.mine; });
  return all;
}

std::string differences_text(const std::vector<Difference>& differences) {
  const auto shown = [](const std::string& value) { return value.empty() ? "(none)" : value; };
  std::vector<std::string> texts;
  for (const auto& d : differences) {
    texts.push_back(str(d.key, ": ", shown(d.theirs), " / ", shown(d.mine)));
  }
  return join(texts, ", ");
}

}  // namespace retort::config
