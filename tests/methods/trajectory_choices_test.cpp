// What trajectory matching chooses: batches, experts and their epochs, points on the way, first
// images and labels.
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "lib/core/error.h"
#include "methods/trajectory_matching/expert_choice.h"
#include "methods/trajectory_matching/flat.h"
#include "methods/trajectory_matching/labels.h"
#include "methods/trajectory_matching/schedule.h"
#include "tests/methods/small.h"
#include "tests/support/catch.h"
#include "tests/support/distribution.h"

using namespace retort;
using namespace retort::methods::trajectory_matching;
using retort::testing::shapes;

namespace {

struct Answers {
  std::function<bool(std::int64_t expert, std::int64_t c, std::int64_t index)> right;
  std::map<std::int64_t, std::set<std::int64_t>> asked;  ///< by class: experts

  Tensor choose(std::int64_t per_class, std::int64_t experts) {
    return choose_right(
        shapes(), per_class, experts,
        [&](std::int64_t expert, std::int64_t c, const Tensor& indices) {
          asked[c].insert(expert);
          std::vector<int> found;
          for (std::int64_t i = 0; i < indices.numel(); ++i) {
            found.push_back(right(expert, c, indices[i].item<std::int64_t>()) ? 1 : 0);
          }
          return at::tensor(found).to(at::kBool);
        },
        Rng(1));
  }
};

void check_class_major(const Tensor& chosen, std::int64_t per_class) {
  const std::int64_t classes = shapes().num_classes();
  REQUIRE(chosen.numel() == classes * per_class);
  const Tensor labels = shapes().labels(data::Split::Train).index_select(0, chosen);
  CHECK(at::equal(labels, at::arange(classes).repeat_interleave(per_class)));
  CHECK(std::get<0>(at::_unique(chosen)).numel() == chosen.numel());
}

}  // namespace

TEST_CASE("chunks come from the end of a permutation, the short one first",
          "[methods][trajectory]") {
  const auto sizes = [](const std::vector<Tensor>& rows) {
    std::vector<std::int64_t> found;
    for (const Tensor& r : rows) found.push_back(r.numel());
    return found;
  };
  const auto rows = chunk_rows(10, 4, 7, Rng(1));
  CHECK(sizes(rows) == std::vector<std::int64_t>{2, 4, 4, 2, 4, 4, 2});
  for (const std::size_t pass : {0, 3}) {
    const Tensor all = at::cat({rows[pass], rows[pass + 1], rows[pass + 2]});
    CHECK(at::equal(std::get<0>(all.sort()), at::arange(10)));
  }
  // What a split of the same permutation gives.
  Rng order = Rng(1).child("order", 0);
  CHECK(at::equal(at::cat({rows[2], rows[1], rows[0]}), order.permutation_tensor(10)));
  CHECK_FALSE(at::equal(rows[0], rows[3]));
  CHECK(sizes(chunk_rows(10, 0, 2, Rng(1))) == std::vector<std::int64_t>{10, 10});
  CHECK(sizes(chunk_rows(10, 1000, 2, Rng(1))) == std::vector<std::int64_t>{10, 10});
}

TEST_CASE("start epochs lie below a bound that grows to its end", "[methods][trajectory]") {
  const StartEpochs growing{.lowest = 2, .bound = 20, .first_bound = 10, .expansion_end = 1000};
  CHECK(growing.bound_at(0) == 10);
  CHECK(growing.bound_at(99) == 10);
  CHECK(growing.bound_at(100) == 11);
  CHECK(growing.bound_at(999) == 19);
  CHECK(growing.bound_at(1000) == 20);
  CHECK(growing.bound_at(1'000'000) == 20);
  const StartEpochs fixed{.lowest = 2, .bound = 20, .first_bound = 0, .expansion_end = 1000};
  CHECK(fixed.bound_at(0) == 20);
  std::vector<std::int64_t> counts(18);
  for (std::int64_t i = 0; i < 100'000; ++i) {
    const std::int64_t epoch = fixed.draw(0, Rng(std::uint64_t(i)));
    REQUIRE(epoch >= 2);
    REQUIRE(epoch < 20);
    ++counts[std::size_t(epoch - 2)];
  }
  retort::testing::check_uniform(counts);
}

TEST_CASE("every expert is followed once per pass, each pass in its own order",
          "[methods][trajectory]") {
  std::vector<std::vector<std::int64_t>> passes;
  for (std::int64_t pass = 0; pass < 6; ++pass) {
    std::vector<std::int64_t> order;
    for (std::int64_t i = 0; i < 7; ++i) order.push_back(expert_of(7 * pass + i, 7, Rng(4)));
    passes.push_back(order);
    std::sort(order.begin(), order.end());
    CHECK(order == std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6});
  }
  CHECK(std::set<std::vector<std::int64_t>>(passes.begin(), passes.end()).size() == 6);
}

TEST_CASE("the balanced loss jumps at the middle of the start epochs", "[methods][trajectory]") {
  CHECK(balanced_loss_factor(10, 20) == Approx(std::log(8) / std::log(5)));
  CHECK(balanced_loss_factor(9, 20) == Approx(std::log(5) / std::log(9)));
  CHECK(balanced_loss_factor(19, 20) == Approx(std::log(17) / std::log(5)));
  CHECK(balanced_loss_factor(0, 21) == Approx(std::log(5) / std::log(18)));
}

TEST_CASE("epochs between start and target are compared after even parts of the steps",
          "[methods][trajectory]") {
  const auto equal = checkpoints_between(3, 20, false);
  REQUIRE(equal.size() == 2);
  CHECK(equal[0].step == 6);
  CHECK(equal[1].step == 12);
  CHECK(equal[1].epoch == 2);
  CHECK(equal[1].weight == 1);
  const auto growing = checkpoints_between(4, 4, true);
  REQUIRE(growing.size() == 3);
  CHECK(growing[2].step == 3);
  CHECK(growing[2].weight == 0.75);
  CHECK(checkpoints_between(1, 1, false).empty());
  CHECK_THROWS_WITH_TEXT(checkpoints_between(3, 2, false), ConfigError, "syn-steps 2");
}

TEST_CASE("perturbed weights move by a unit direction times themselves", "[methods][trajectory]") {
  const auto network = nn::make_convnet({.width = 4, .depth = 2}, {3, 8, 8}, 3);
  const Tensor flat_start = nn::flatten(network->initialize(Rng(1)).parameters);
  const Tensor moved = with_perturbed_convolutions(flat_start, network->parameters(), Rng(2));
  const Tensors before = nn::unflatten(flat_start, network->parameters());
  const Tensors after = nn::unflatten(moved, network->parameters());
  for (std::size_t i = 0; i < before.size(); ++i) {
    INFO(network->parameters()[i].name);
    if (before[i].dim() != 4) {
      CHECK(at::equal(after[i], before[i]));
      continue;
    }
    const Tensor direction = (after[i] - before[i]) / before[i];
    CHECK(direction.norm().item<double>() == Approx(1).epsilon(1e-4));
    CHECK(std::abs(direction.mean().item<double>()) < 0.3 / std::sqrt(double(direction.numel())));
  }
  CHECK(at::equal(moved, with_perturbed_convolutions(flat_start, network->parameters(), Rng(2))));
}

TEST_CASE("initial labels average the networks that are right, or all if none is",
          "[methods][trajectory]") {
  LogitMean mean(at::tensor({0, 1}, at::kLong));
  const auto logits = [](const std::vector<double>& values) {
    return at::tensor(values, at::kFloat).view({2, 2});
  };
  mean.add(logits({3, 1, 2, 1}));
  mean.add(logits({0, 1, 4, 0}));
  mean.add(logits({5, 3, 3, 2}));
  CHECK_CLOSE(mean.result(), logits({4, 2, 3, 1}), 1e-7);
  CHECK(mean.result().scalar_type() == at::kFloat);
}

TEST_CASE("images that an expert classifies correctly are chosen in random order",
          "[methods][trajectory]") {
  Answers answers{[](std::int64_t, std::int64_t, std::int64_t index) { return index / 8 % 2 == 0; },
                  {}};
  const Tensor chosen = answers.choose(5, 3);
  check_class_major(chosen, 5);
  CHECK(chosen.floor_divide(8).remainder(2).eq(0).all().item<bool>());
  for (const auto& [c, experts] : answers.asked) CHECK(experts == std::set<std::int64_t>{0});
  // Not simply the first ones.
  CHECK_FALSE(at::equal(chosen.slice(0, 0, 5), std::get<0>(chosen.slice(0, 0, 5).sort())));
}

TEST_CASE("when a class is exhausted the next expert goes on and begins with the next class",
          "[methods][trajectory]") {
  const Tensor members = shapes().class_indices(1);
  const auto first = members[0].item<std::int64_t>();
  Answers answers{[&](std::int64_t expert, std::int64_t c, std::int64_t index) {
                    return c != 1 || expert == 2 || (expert == 0 && index == first);
                  },
                  {}};
  const Tensor chosen = answers.choose(4, 3);
  check_class_major(chosen, 4);
  CHECK(chosen[4].item<std::int64_t>() == first);
  CHECK(answers.asked[0] == std::set<std::int64_t>{0});
  CHECK(answers.asked[1] == std::set<std::int64_t>{0, 1, 2});
  CHECK(answers.asked[2] == std::set<std::int64_t>{2});
}

TEST_CASE("where no expert is right others are taken, and a small class is named",
          "[methods][trajectory]") {
  Answers answers{[](std::int64_t, std::int64_t, std::int64_t) { return false; }, {}};
  check_class_major(answers.choose(3, 2), 3);
  CHECK_THROWS_WITH_TEXT(answers.choose(1'000'000, 2), ConfigError, shapes().info().class_names[0]);
}
