#include "apps/commands/nas_proxies.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "apps/commands/folder_kind.h"
#include "apps/commands/method_choice.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/storage/set_file.h"

namespace retort::commands {
namespace {

using experiments::nas::Proxy;

/// Method -> option and value.
using Changes = std::map<std::string, std::vector<std::pair<std::string, std::string>>>;

Changes changes_of(const std::vector<std::string>& texts) {
  Changes changes;
  std::string* last = nullptr;
  for (const std::string& text : texts) {
    const auto colon = text.find(':');
    const auto sign = text.find('=');
    if (sign == std::string::npos && last != nullptr) {
      *last += "," + text;  // a list goes on
      continue;
    }
    if (sign == std::string::npos || colon > sign) {
      throw ConfigError(
          str("option 'method-set': expected method:option=value, found '", text, "'"));
    }
    auto& own = changes[text.substr(0, colon)];
    own.emplace_back(text.substr(colon + 1, sign - colon - 1), text.substr(sign + 1));
    last = &own.back().second;
  }
  return changes;
}

void refuse_followers(const std::string& name, const config::OptionTable& options) {
  if (!options.contains("experts") && !options.contains("teachers")) return;
  throw ConfigError(str("option 'proxies': '", name,
                        "' follows networks that were trained before; condense a set with "
                        "`retort condense --method ",
                        name, "` and give it with --sets"));
}

Proxy method_proxy(const std::string& name, const Changes& changes, std::int64_t ipc) {
  const std::shared_ptr<methods::MethodFactory> factory = methods::find_method(name).factory();
  config::OptionTable table = factory->options();
  refuse_followers(name, table);
  if (const auto own = changes.find(name); own != changes.end()) {
    with_context(str("option 'method-set', ", name), [&] {
      for (const auto& [option, value] : own->second) {
        table.set(option, value, config::Origin::Flag);
      }
    });
  }
  factory->settle(ipc);
  make_method_paths_absolute(factory->options());
  Proxy proxy{.name = name, .make_method = [factory] { return factory->create(); }};
  proxy.config = str("method = ", name, "\n", config::config_text(factory->options()));
  if (table.contains("factor")) {
    const std::int64_t factor = std::stoll(table.find("factor").value());
    proxy.images_per_stored = factor * factor;
  }
  return proxy;
}

/// Whether a set was made without the images that networks are scored on, as its configuration
/// says.
bool kept_apart(const data::Provenance& provenance, const NasOptions& options) {
  std::map<std::string, std::string> made;
  for (const auto& entry : config::parse_config(provenance.config, "provenance of a set")) {
    made[entry.key] = entry.value;
  }
  return held_out_by(provenance.config) == options.hold_out &&
         made["images-per-class"] == str(options.dataset.images_per_class) &&
         provenance.seed == std::uint64_t(options.seed);
}

/// Scores are taken on images that a set should not have seen.
void warn_of_seen_images(const std::string& name, const data::Provenance& provenance,
                         const NasOptions& options) {
  if (kept_apart(provenance, options)) return;
  log::warn(str("the set '", name, "' may know training images that its networks are scored on; ",
                "`retort condense --hold-out ", config::number_text(options.hold_out), " --seed ",
                options.seed, " --eval-every N` keeps them apart"));
}

/// Called as its file, and the set.h5 of a run as its folder.
Proxy set_proxy(const std::string& word, const NasOptions& options) {
  const std::string file = set_file(word);
  const std::filesystem::path path = std::filesystem::absolute(file);
  const std::string name =
      (path.filename() == "set.h5" ? path.parent_path().filename() : path.stem()).string();
  Proxy proxy{.name = name, .kind = Proxy::Kind::Set};
  proxy.set = std::make_shared<const data::SyntheticSet>(storage::read_set(file));
  warn_of_seen_images(name, proxy.set->provenance, options);
  return proxy;
}

void expect_changes_used(const Changes& changes, const std::vector<std::string>& proxies) {
  for (const auto& [method, values] : changes) {
    if (std::find(proxies.begin(), proxies.end(), method) != proxies.end()) continue;
    throw ConfigError(
        str("option 'method-set': '", method, "' is none of the proxies, ", join(proxies)));
  }
}

void expect_own_names(const std::vector<Proxy>& proxies) {
  std::vector<std::string> names{experiments::nas::kReference};
  for (const Proxy& proxy : proxies) {
    if (std::find(names.begin(), names.end(), proxy.name) != names.end()) {
      throw ConfigError(
          str("two proxies cannot both be called '", proxy.name,
              "', and none 'reference'; a set is called as its file, and set.h5 as its folder"));
    }
    names.push_back(proxy.name);
  }
}

}  // namespace

std::vector<Proxy> proxies_of(const NasOptions& options) {
  const Changes changes = changes_of(options.method_changes);
  expect_changes_used(changes, options.proxies);
  std::vector<Proxy> proxies;
  for (const std::string& name : options.proxies) {
    if (name == experiments::nas::kEarlyStopping) {
      proxies.push_back({.name = name, .kind = Proxy::Kind::EarlyStopping});
    } else {
      proxies.push_back(method_proxy(name, changes, options.ipc));
    }
  }
  for (const std::string& file : options.sets) proxies.push_back(set_proxy(file, options));
  if (proxies.empty()) throw ConfigError("no proxy: give some with --proxies or --sets");
  expect_own_names(proxies);
  return proxies;
}

}  // namespace retort::commands
