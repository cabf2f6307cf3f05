// What the first lines of presets say.
#include <algorithm>
#include <map>
#include <optional>
#include <regex>
#include <string>
#include <vector>

#include "experiments/protocols.h"
#include "tests/experiments/resolved_presets.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;

namespace {

/// The protocol that a header names; none when it says that there is none.
std::optional<std::string> protocol_in(const std::string& header) {
  if (header.find("no protocol here") != std::string::npos) return std::nullopt;
  std::smatch found;
  REQUIRE(std::regex_search(header, found, std::regex("protocol ([a-z0-9-]+)")));
  return found[1].str();
}

/// "option=value" of "protocol rded with batch-size = 25, lr = 0.002, ...".
std::vector<std::string> protocol_changes_in(const std::string& header) {
  std::smatch found;
  if (!std::regex_search(header, found,
                         std::regex("protocol [a-z0-9-]+ with (([a-z-]+ = [0-9.]+(, )?)+)"))) {
    return {};
  }
  std::vector<std::string> changes;
  const std::string list = found[1].str();
  const std::regex one("([a-z-]+) = ([0-9.]+)");
  for (std::sregex_iterator it(list.begin(), list.end(), one), end; it != end; ++it) {
    changes.push_back((*it)[1].str() + "=" + (*it)[2].str());
  }
  return changes;
}

}  // namespace

TEST_CASE("every preset's header names a protocol that exists, or says that none fits",
          "[experiments][presets]") {
  const std::map<std::string, std::string> protocols{
      {"demo", "dsa-300"}, {"cpu", "dsa-300"},    {"dm", "dm"},       {"dc", "dc"},
      {"dsa", "dsa"},      {"dm-fyi", "fyi"},     {"dc-fyi", "dc"},   {"dsa-fyi", "fyi"},
      {"idc", "idc"},      {"idc-i", "idc"},      {"idc-fyi", "idc"}, {"datadam", "datadam"},
      {"mtt", "mtt"},      {"ftd", "mtt"},        {"tesla", "mtt"},   {"datm", "datm"},
      {"ast", "ast"},      {"ast/script", "ast"}, {"cda", "cda"},     {"sre2l/plus", "cv-dd"},
      {"cv-dd", "cv-dd"},  {"infer", "infer"},    {"rded", "rded"},   {"rded/convnet", "rded"}};
  const auto expected = [&](const Preset& preset) {
    if (preset.family != "sre2l") return protocols.at(preset.family);
    return std::string(preset.is_tiny() ? "fkd-100-tiny" : "fkd-400-cifar");
  };
  const auto known = experiments::protocol_names();
  for (const Preset& preset : presets()) {
    INFO(preset.name << ": " << preset.header);
    if (preset.family != "demo") {
      const std::string images = preset.ipc == 1 ? " image" : " images";
      CHECK_THAT(preset.header,
                 Contains(", " + std::to_string(preset.ipc) + images + " per class"));
    }
    const auto protocol = protocol_in(preset.header);
    // Values of a leaderboard and of a recipe that the paper states in part only; students of
    // labels that teachers without labels, or a fraction of the labels, gave.
    const bool benchmark = preset.header.find("DC-BENCH") != std::string::npos;
    const bool without = benchmark || preset.family == "datadam/paper" ||
                         preset.family == "sc-dd" || preset.family == "lpld";
    CHECK(protocol.has_value() == !without);
    if (!protocol) continue;
    CHECK(*protocol == expected(preset));
    CHECK(std::find(known.begin(), known.end(), *protocol) != known.end());
    const auto changes = protocol_changes_in(preset.header);
    if (!changes.empty()) {
      CHECK_NOTHROW(eval::changed(experiments::load_protocol(*protocol), changes));
    }
  }
}

TEST_CASE("presets say where their row has other numbers than their protocol",
          "[experiments][presets]") {
  const auto changes = [](const std::string& name) {
    for (const Preset& preset : presets()) {
      if (preset.name == name) return protocol_changes_in(preset.header);
    }
    return std::vector<std::string>{"no such preset"};
  };
  using List = std::vector<std::string>;
  CHECK(changes("rded/cifar10-ipc10").empty());
  CHECK(changes("rded/cifar100-ipc1") == List{"batch-size=20"});
  CHECK(changes("rded/cifar100-ipc10") == List{"batch-size=100"});
  CHECK(changes("rded/cifar100-ipc50") == List{"batch-size=200"});
  CHECK(changes("rded/convnet-cifar100-ipc10") == List{"batch-size=25", "lr=0.002"});
  for (const char* ipc : {"1", "10", "50"}) {
    CHECK(changes(std::string("rded/tiny-imagenet-ipc") + ipc) == List{"batch-size=100"});
  }
  for (const std::string family : {"cv-dd/", "sre2l/plus-"}) {
    CHECK(changes(family + "cifar100-ipc10") == List{"smoothing=2"});
    CHECK(changes(family + "cifar100-ipc50").empty());
    CHECK(changes(family + "tiny-imagenet-ipc1") == List{"smoothing=2"});
    CHECK(changes(family + "tiny-imagenet-ipc10").empty());
    CHECK(changes(family + "tiny-imagenet-ipc50") == List{"smoothing=2"});
  }
}

TEST_CASE("presets for few cores state what was measured, and on which images",
          "[experiments][presets]") {
  const auto count = for_each_of({"cpu"}, [](const Preset& preset) {
    CHECK(std::regex_search(preset.header, std::regex("[0-9]+\\.[0-9]+ \\+- [0-9]+\\.[0-9]+ %")));
    if (preset.is_cifar()) CHECK_THAT(preset.header, Contains("JPEG copy"));
    CHECK(preset.number("iterations") <= 1200);
  });
  CHECK(count == 9);
}

TEST_CASE("presets do not pass a best value for a last one", "[experiments][presets]") {
  for_each_of({"datadam", "datadam/paper"}, [](const Preset& preset) {
    CHECK_THAT(preset.header, Contains("best of checkpoints on the test set"));
  });
  for_each_of({"mtt", "ftd", "datm", "tesla"}, [](const Preset& preset) {
    CHECK_THAT(preset.header, Contains("best of evaluations on the test set"));
  });
  std::vector<std::string> leaderboard;
  for (const Preset& preset : presets()) {
    if (preset.header.find("DC-BENCH") == std::string::npos) continue;
    leaderboard.push_back(preset.name);
    CHECK_THAT(preset.header, Contains("the best over its augmentations"));
  }
  std::sort(leaderboard.begin(), leaderboard.end());
  CHECK(leaderboard == std::vector<std::string>{"dc/cifar100-ipc50", "dc/tiny-imagenet-ipc1",
                                                "dc/tiny-imagenet-ipc10", "dc/tiny-imagenet-ipc50",
                                                "dsa/tiny-imagenet-ipc1", "dsa/tiny-imagenet-ipc10",
                                                "dsa/tiny-imagenet-ipc50"});
}
