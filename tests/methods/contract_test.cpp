// What every method in the registry promises, on the generated dataset.
#include <cstdlib>
#include <set>

#include "lib/core/error.h"
#include "lib/data/pixels.h"
#include "lib/storage/set_file.h"
#include "lib/synth/parametrization.h"
#include "tests/methods/small.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::methods;
using retort::testing::shapes;
using retort::testing::small_method;

namespace {

constexpr std::int64_t kIpc = 2;

RunContext context(std::uint64_t seed) {
  return {.dataset = shapes(), .ipc = kIpc, .rng = Rng(seed)};
}

data::SyntheticSet run_whole(const std::string& name, std::uint64_t seed) {
  auto method = small_method(name);
  RunContext run = context(seed);
  method->initialize(run);
  for (std::int64_t i = 0; i < method->iterations(); ++i) method->update(i);
  return method->snapshot();
}

/// All that a set is made of: what is stored, what a decoder needs beside it, what is decoded.
Tensor bits(data::SyntheticSet set) {
  set.preprocessing = shapes().preprocessing();
  Tensors all{set.images.flatten(), synth::decode(set).images.flatten()};
  for (const auto& [name, values] : set.parameters) all.push_back(values.flatten());
  return at::cat(all);
}

}  // namespace

TEST_CASE("every method gives finite, class-major images and a label per decoded image",
          "[methods][contract]") {
  for (const MethodInfo& info : all_methods()) {
    DYNAMIC_SECTION(info.name) {
      data::SyntheticSet set = run_whole(info.name, 1);
      set.preprocessing = shapes().preprocessing();
      const std::int64_t classes = shapes().num_classes();
      // What a decoder needs beside the images counts as images.
      std::int64_t stored = set.images.size(0);
      for (const auto& [name, values] : set.parameters) stored += values.size(0);
      CHECK((set.parameters.empty() ? stored == classes * kIpc : stored <= classes * kIpc));
      CHECK(set.images.size(1) == shapes().shape().channels);
      CHECK(set.images.scalar_type() == at::kFloat);
      CHECK(set.images.isfinite().all().item<bool>());
      CHECK_FALSE(set.images.requires_grad());
      CHECK(at::equal(set.class_index,
                      at::arange(classes).repeat_interleave(set.images.size(0) / classes)));
      const auto decoded = synth::decode(set);
      CHECK(decoded.images.size(0) == data::hard_classes(decoded.labels).numel());
      CHECK(decoded.images.sizes().slice(1) == set.images.sizes().slice(1));
    }
  }
}

TEST_CASE("one seed gives the same bits, another seed others", "[methods][contract]") {
  for (const MethodInfo& info : all_methods()) {
    DYNAMIC_SECTION(info.name) {
      CHECK(at::equal(bits(run_whole(info.name, 1)), bits(run_whole(info.name, 1))));
      CHECK_FALSE(at::equal(bits(run_whole(info.name, 1)), bits(run_whole(info.name, 2))));
    }
  }
}

TEST_CASE("save, load and continue equals never having stopped", "[methods][contract][resume]") {
  for (const MethodInfo& info : all_methods()) {
    DYNAMIC_SECTION(info.name) {
      const Tensor expected = bits(run_whole(info.name, 5));
      auto first = small_method(info.name);
      RunContext run = context(5);
      first->initialize(run);
      const std::int64_t half = first->iterations() / 2;
      for (std::int64_t i = 0; i < half; ++i) first->update(i);
      storage::StateWriter state;
      first->save_state(state);
      auto second = small_method(info.name);
      RunContext again = context(5);
      second->load_state(again, storage::StateReader(state));
      for (std::int64_t i = half; i < second->iterations(); ++i) second->update(i);
      CHECK(at::equal(bits(second->snapshot()), expected));
    }
  }
}

namespace {

bool is_number(const std::string& text) {
  char* end = nullptr;
  std::strtod(text.c_str(), &end);
  return !text.empty() && *end == '\0';
}

bool refused(config::OptionTable& table, const std::string& name, const std::string& value) {
  try {
    table.set(name, value, config::Origin::Flag);
    return false;
  } catch (const ConfigError&) {
    return true;
  }
}

}  // namespace

TEST_CASE("every option has a help text and a range, and values outside it are refused",
          "[methods][contract]") {
  for (const MethodInfo& info : all_methods()) {
    DYNAMIC_SECTION(info.name) {
      CHECK_FALSE(info.paper.empty());
      CHECK_FALSE(info.summary.empty());
      const auto factory = info.factory();
      config::OptionTable table = factory->options();
      for (const auto& option : table.options()) {
        INFO(option.name);
        CHECK_FALSE(option.help.empty());
        CHECK_FALSE(option.range.empty());
        // What an option prints as its value must be accepted by it again.
        CHECK_NOTHROW(table.set(option.name, option.value(), config::Origin::Flag));
      }
      const config::OptionTable names = factory->options();
      for (const auto& option : names.options()) {
        // Paths and what they hold, looked at when they are read.
        const std::set<std::string> free{"init-set", "experts",       "experts-dir",
                                         "teachers", "teacher-names", "teachers-dir"};
        if (free.count(option.name) > 0) continue;
        INFO(option.name << ", range " << option.range);
        const std::string before = option.value();
        if (is_number(before)) {
          // Numbers both, so that it is the range that refuses.
          CHECK((refused(table, option.name, "-1000000000000") ||
                 refused(table, option.name, "1000000000000")));
        }
        CHECK(refused(table, option.name, "no-such-value"));
        CHECK(table.find(option.name).value() == before);
      }
      CHECK_THROWS_AS(table.set("no-such-option", "1", config::Origin::Flag), ConfigError);
    }
  }
}

TEST_CASE("chosen images that nothing changed are stored as 8-bit pixels", "[methods][coresets]") {
  const auto chosen = [](const std::string& name, const std::string& factor,
                         const data::ImageDataset& dataset) {
    const auto method = small_method(name, "1", {{"factor", factor}});
    RunContext run{.dataset = dataset, .ipc = kIpc, .rng = Rng(3)};
    method->initialize(run);
    method->update(0);
    return method->snapshot();
  };
  for (const char* name : {"random", "herding", "k-center", "k-means"}) {
    INFO(name);
    const data::SyntheticSet set = chosen(name, "1", shapes());
    CHECK(set.from_bytes);
    CHECK_NOTHROW(data::exact_bytes(shapes().preprocessing(), set.images));
    const auto bytes = std::uint64_t(set.images.numel());
    CHECK(storage::stored_bytes(set).images == bytes);
    CHECK(storage::stored_bytes(chosen(name, "2", shapes())).images == 4 * bytes);
  }
  const auto whitened = shapes().with_preprocessing(data::Preprocessing::zca(
      data::fit_zca(shapes().pixels(data::Split::Train, at::arange(64)).to(at::kFloat).div_(255))));
  CHECK_FALSE(chosen("random", "1", whitened).from_bytes);
}

TEST_CASE("too few images of a class are named with the class", "[methods][contract]") {
  auto method = small_method("random");
  RunContext run{.dataset = shapes(), .ipc = 1'000'000, .rng = Rng(0)};
  method->initialize(run);
  CHECK_THROWS_WITH_TEXT(method->update(0), ConfigError, shapes().info().class_names[0]);
}

TEST_CASE("an unknown method is answered with the known ones", "[methods][registry]") {
  CHECK_THROWS_WITH_TEXT(find_method("dn"), ConfigError, "did you mean 'dm'");
  CHECK_THROWS_WITH_TEXT(find_method("dn"), ConfigError, "herding");
}
