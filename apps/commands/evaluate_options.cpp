#include "apps/commands/evaluate_options.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <set>

#include "apps/commands/dataset_options.h"
#include "experiments/cross_arch/pools.h"
#include "lib/core/error.h"
#include "lib/core/names.h"
#include "lib/core/str.h"
#include "lib/nn/naming.h"

namespace retort::commands {
namespace {

/// A seed or a baseline that is named twice would count twice.
template <class T>
void expect_different(const std::string& option, const std::vector<T>& values) {
  if (std::set<T>(values.begin(), values.end()).size() == values.size()) return;
  throw ConfigError(str("option '", option, "': each may be named once, found ", join(values)));
}

/// Names of networks differ by more than case and separators.
bool same_name(const std::string& one, const std::string& other) {
  const auto letters = [](const std::string& name) {
    std::string kept;
    for (const char c : name) {
      if (c != '-' && c != '_') kept += char(std::tolower(static_cast<unsigned char>(c)));
    }
    return kept;
  };
  return letters(one) == letters(other);
}

/// "ResNet-18=1"
struct RunsOf {
  std::string network;
  std::size_t count = 0;
};

RunsOf parse_runs_of(const std::string& text) {
  const auto sign = text.find('=');
  RunsOf parsed{.network = text.substr(0, sign)};
  const std::string digits = sign == std::string::npos ? "" : text.substr(sign + 1);
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), parsed.count);
  if (error == std::errc() && end == digits.data() + digits.size() && parsed.count > 0) {
    return parsed;
  }
  throw ConfigError(str(
      "option 'runs-of': expected a network and a number, as in ResNet-18=1, found '", text, "'"));
}

/// The first so many of `seeds`.
void limit(NetworkRuns& runs, std::size_t count) {
  if (count > runs.seeds.size()) {
    throw ConfigError(str("option 'runs-of': of ", runs.network, " expected at most ",
                          runs.seeds.size(), ", the number of seeds, found ", count));
  }
  runs.seeds.resize(count);
}

}  // namespace

void EvaluateOptions::describe(config::OptionTable& table) {
  table.add("protocol", protocol,
            "how networks are trained and tested: a name or a file, see "
            "`retort list protocols`",
            config::any_text());
  table.add("protocol-set", protocol_changes,
            "change options of the protocol, as in epochs=200,batch-size=16; its name says so",
            config::any_text());
  table.add("teachers", teachers,
            "file of teachers, for protocols that ask them while students train, and for "
            "baselines under labels of teachers",
            config::any_text());
  table
      .add("teacher-names", teacher_names, "these of the file, by network or number",
           config::any_text())
      .not_with("teachers", {""});
  table.add("no-hard", no_hard,
            "under labels of teachers do not also train on the classes of the set alone");
  attacks.describe(table);
  table.add("nets", nets, "networks to train; else the protocol's", config::any_text()).aliases = {
      "net"};
  table.add("cross-arch", cross_arch,
            "train the networks of this pool, beside those of --nets, and give the mean over "
            "those that the set was not condensed in; see `retort list pools`",
            config::any_text());
  table.add("runs", runs,
            "networks of each kind, or repetitions of a score, with seeds 0, 1, ...; 0: the "
            "protocol's number",
            config::in_range(std::int64_t(0), 10'000));
  table
      .add("without", without, "networks of the pool to leave out, as in VGG-11",
           config::any_text())
      .not_with("cross-arch", {""});
  table.add("runs-of", runs_of, "fewer of these, with the first seeds, as in ResNet-18=1,VGG-11=2",
            config::any_text());
  table.add("seeds", seeds, "these seeds instead of --runs", config::at_least(0));
  table.add("augment", augment,
            str("train under each of these in the place of the protocol's augmentation: ",
                join(eval::augmentation_names())),
            config::any_text());
  table.add("baselines", baselines,
            "real images of the same size beside: random, k-means, herding, k-center; with "
            "-packed shrunk and packed like a multi-formation set",
            config::any_text());
  table.add("baseline-seed", baseline_seed, "of the choice of these images", config::at_least(0))
      .not_with("baselines", {""});
  table.add("hold-out", hold_out,
            "test on this part of every class's training images, which the set was condensed "
            "without, instead of the test images: for choosing settings",
            share_or_none());
  table.add(
      "real-accuracy", real_accuracy,
      "percent, as 84.8, of a network trained on all real images, for protocol ddranking-lrs; -1: "
      "one is trained, which takes long",
      config::in_range(-1.0, 100.0));
  out.describe(table,
               "also write the JSON document here; else into the run folder of a set "
               "that lies in one");
}

std::vector<Baseline> EvaluateOptions::parsed_baselines() const {
  expect_different("baselines", baselines);
  std::vector<Baseline> parsed;
  for (const auto& text : baselines) parsed.push_back(parse_baseline(text));
  return parsed;
}

std::vector<std::uint64_t> EvaluateOptions::seeds_under(const eval::Protocol& under) const {
  if (!seeds.empty()) {
    if (runs > 0) throw ConfigError("give --runs or --seeds, not both");
    expect_different("seeds", seeds);
    return {seeds.begin(), seeds.end()};
  }
  const std::int64_t count = runs > 0 ? runs : under.networks;
  std::vector<std::uint64_t> counted;
  for (std::int64_t i = 0; i < count; ++i) counted.push_back(std::uint64_t(i));
  return counted;
}

void EvaluateOptions::check_networks() const {
  if (!cross_arch.empty()) experiments::find_pool(cross_arch);
  expect_different("without", without);
  for (const auto& text : runs_of) parse_runs_of(text);
}

void EvaluateOptions::check_augmentations(const eval::Protocol& under) const {
  expect_different("augment", augment);
  for (const auto& name : augment) eval::with_augmentation(under, name);
  if (augment.size() < 2 || cross_arch.empty()) return;
  throw ConfigError(
      str("option 'augment': with --cross-arch expected one augmentation, found ", join(augment)));
}

void EvaluateOptions::check_ranking(const eval::Protocol& under) const {
  if (real_accuracy >= 0 && under.score != "lrs") {
    throw ConfigError(str("option 'real-accuracy' changes nothing: protocol '", under.name,
                          "' has no label robust score"));
  }
  if (real_accuracy >= 0 && hold_out > 0) {
    throw ConfigError(
        "options 'real-accuracy' and 'hold-out': the one is measured on test images, the others "
        "would be on held-out ones; leave real-accuracy away, and one is trained without them");
  }
  if (!under.ranks()) return;
  const auto refuse = [&](bool given, const std::string& option, const std::string& why) {
    if (!given) return;
    throw ConfigError(
        str("option '", option, "': protocol '", under.name, "' ends in a score, ", why));
  };
  refuse(!baselines.empty(), "baselines", "which compares with random images by itself");
  refuse(!attacks.attacks.empty(), "attack", "and tests under none");
  refuse(no_hard, "no-hard", "which compares with hard labels");
  refuse(!cross_arch.empty() || nets.size() > 1, cross_arch.empty() ? "nets" : "cross-arch",
         "of one network; run it once for each");
  refuse(!augment.empty(), "augment", "and has its own augmentation");
  refuse(!runs_of.empty(), "runs-of", "of one network; --runs is the number of repetitions");
}

std::vector<std::string> EvaluateOptions::pool_networks(nn::ImageShape shape) const {
  if (cross_arch.empty()) return {};
  std::vector<std::string> names =
      experiments::networks_of(experiments::find_pool(cross_arch), shape);
  for (const auto& name : without) {
    const auto place = std::find_if(names.begin(), names.end(), [&](const std::string& other) {
      return same_name(other, nn::with_depth(name, nn::default_convnet_depth(shape)));
    });
    if (place == names.end()) {
      throw ConfigError("option 'without': " + unknown_name_message("network", name, names));
    }
    names.erase(place);
  }
  if (names.empty() && nets.empty()) {
    throw ConfigError(str("option 'without': leaves no network of pool '", cross_arch, "'"));
  }
  return names;
}

std::string EvaluateOptions::pool_text() const {
  return without.empty() ? cross_arch : str(cross_arch, " without ", join(without));
}

std::vector<NetworkRuns> EvaluateOptions::networks_under(const eval::Protocol& under,
                                                         nn::ImageShape shape,
                                                         std::int64_t classes) const {
  std::vector<std::string> names = pool_networks(shape);
  names.insert(names.end(), nets.begin(), nets.end());
  if (names.empty()) names.push_back(under.network_for(shape));

  std::vector<NetworkRuns> all;
  std::vector<std::string> canonical;
  const auto place_of = [&](const std::string& name) {
    return std::find(canonical.begin(), canonical.end(), name) - canonical.begin();
  };
  for (const auto& text : names) {
    const std::string name = nn::make_network(text, shape, classes)->name();
    if (place_of(name) < std::ssize(canonical)) continue;
    canonical.push_back(name);
    all.push_back({name, seeds_under(under)});
  }
  for (const auto& text : runs_of) {
    const RunsOf fewer = parse_runs_of(text);
    const auto place = place_of(nn::make_network(fewer.network, shape, classes)->name());
    if (place == std::ssize(canonical)) {
      throw ConfigError("option 'runs-of': " +
                        unknown_name_message("network", fewer.network, canonical));
    }
    limit(all[std::size_t(place)], fewer.count);
  }
  return all;
}

}  // namespace retort::commands
