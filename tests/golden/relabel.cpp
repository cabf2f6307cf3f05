// Labels by a committee on the statistics of half batches: relabel/relabel.py (Jiacheng8/CV-DD).

#include "lib/train/relabel.h"

#include <sstream>

#include "lib/augment/mix.h"
#include "lib/core/str.h"
#include "lib/train/voting.h"
#include "tests/golden/golden.h"
#include "tests/support/catch.h"

namespace retort::testing::golden {
namespace {

using data::Mix;
using train::RelabelRecipe;

std::vector<double> numbers(const std::string& text) {
  std::vector<double> values;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) values.push_back(std::stod(part));
  return values;
}

std::vector<std::int64_t> integers(const Tensor& values) {
  const Tensor wide = values.to(at::kLong).contiguous();
  const auto* begin = wide.const_data_ptr<std::int64_t>();
  return {begin, begin + wide.numel()};
}

std::vector<train::Member> stored_committee(const GoldenFile& file, std::size_t teachers,
                                            const Tensor& images) {
  std::vector<train::Member> committee;
  for (std::size_t m = 0; m < teachers; ++m) {
    const std::string net = str("net", m);
    train::Member member;
    member.name = net;
    member.network = make_stored_convnet(file, "", net, image_shape(images));
    member.state = read_network(file, net, images.scalar_type());
    committee.push_back(std::move(member));
  }
  return committee;
}

Tensor mixed(const GoldenFile& file, const Tensor& images) {
  Mix mix;
  mix.kind = Mix::Kind::CutMix;
  mix.lambda = file.number("bssl/lam");
  mix.partner = integers(file.stored("bssl/mix_index"));
  const auto box = integers(file.stored("bssl/box"));
  mix.box = {box[0], box[1], box[2] - box[0], box[3] - box[1]};
  return augment::apply_mix(mix, images);
}

RelabelRecipe recipe_of(const GoldenFile& file, std::int64_t batch) {
  RelabelRecipe recipe = RelabelRecipe::defaults("cv-dd");
  recipe.batch_size = batch;
  recipe.batch_norm = "halves";
  recipe.priors = numbers(file.text("bssl", "priors"));
  recipe.vote_temperature = file.number_or("bssl", "temperature", 10);
  return recipe;
}

/// The code's teachers move their running statistics while they label.
void check_running(const GoldenFile& file, const train::Member& member, const Tensor& seen,
                   const Precision& precision) {
  const nn::NetworkState moved = member.state.detached_clone();
  member.network->forward(
      moved, seen, {.mode = nn::Mode::Train, .batch_norm_group = file.integer("bssl", "split")});
  const std::string group = "bssl/running_after" + member.name.substr(3);
  const Tensors expected = read_buffers(file, group, precision.dtype);
  REQUIRE(moved.buffers.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK_CLOSE(moved.buffers[i], expected[i], precision.tolerance);
  }
}

void check_bssl(const GoldenFile& file, const Precision& precision) {
  INFO("bssl, " << precision.name);
  const at::NoGradGuard no_grad;
  const Tensor images = file.tensor("bssl/images", precision.dtype);
  const Tensor seen = mixed(file, images);
  CHECK(seen.equal(file.tensor("bssl/mixed", precision.dtype)));

  RelabelRecipe recipe = recipe_of(file, images.size(0));
  const auto weights = train::voting_weights(recipe.priors, recipe.vote_temperature);
  CHECK_CLOSE(at::tensor(weights, at::kDouble), file.stored("bssl/weights"), 1e-12);

  const auto committee = stored_committee(file, weights.size(), images);
  std::vector<nn::NetworkState> before;
  for (const auto& member : committee) before.push_back(member.state.detached_clone());
  const auto labels = [&] {
    return train::labels_of_views(recipe, train::labeler_of(recipe, committee, images.size(0)),
                                  seen);
  };
  CHECK_CLOSE(labels(), file.tensor("bssl/labels", precision.dtype), precision.tolerance);
  // Here teachers stay as they are.
  for (std::size_t m = 0; m < committee.size(); ++m) {
    for (std::size_t i = 0; i < before[m].buffers.size(); ++i) {
      CHECK(committee[m].state.buffers[i].equal(before[m].buffers[i]));
    }
    check_running(file, committee[m], seen, precision);
  }
  recipe.batch_norm = "batch";
  recipe.batch_norm_group = file.integer("bssl", "split");
  CHECK_CLOSE(labels(), file.tensor("bssl/labels", precision.dtype), precision.tolerance);
  recipe.batch_norm = "eval";
  CHECK_CLOSE(labels(), file.tensor("bssl/labels_eval_mode", precision.dtype), precision.tolerance);
}

}  // namespace

void check_bssl(const GoldenFile& file) {
  for (const auto& precision : precisions()) check_bssl(file, precision);
}

}  // namespace retort::testing::golden
