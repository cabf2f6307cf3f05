// What an evaluation will take, measured in some of its own steps: in small networks views, lessons
// and all that comes between operations take longer than these.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "lib/core/parallel.h"
#include "lib/core/speed.h"
#include "lib/eval/evaluator.h"
#include "lib/train/supervised.h"

namespace retort::eval {
namespace {

constexpr std::int64_t kTestImages = 64;

/// One lesson, cut off to some images, again and again.
class SameLesson final : public train::Lessons {
 public:
  explicit SameLesson(train::Lesson lesson) : lesson_(std::move(lesson)) {}
  std::int64_t steps_per_epoch() const override { return 1; }
  Epoch epoch(std::int64_t, const Rng&) const override {
    return [this](std::int64_t) { return lesson_; };
  }

 private:
  train::Lesson lesson_;
};

train::Lesson first_of(const train::Lesson& lesson, std::int64_t images) {
  const auto rows = [&](const Tensor& x) { return x.defined() ? x.slice(0, 0, images) : x; };
  return {rows(lesson.images), lesson.targets.rows(0, images), rows(lesson.classes),
          rows(lesson.plain)};
}

/// Steps that leave the parameters almost as they are, so that no loss runs away.
train::TrainOptions harmless(train::TrainOptions options) {
  options.lr = 1e-9;
  options.drops.clear();
  return options;
}

/// Networks that train side by side, each on a thread of its own.
class Trial {
 public:
  Trial(const nn::Network& network, const train::Lessons& lessons, train::TrainOptions options,
        std::int64_t networks, const Clock& clock)
      : network_(network), lessons_(lessons), options_(std::move(options)), clock_(clock) {
    for (std::int64_t i = 0; i < networks; ++i) states_.push_back(network.initialize(Rng(0)));
  }

  /// Wall seconds of an image in training, its lesson included.
  double training() {
    const auto lesson_of = lessons_.epoch(0, Rng(0));
    const train::Lesson lesson = lesson_of(0);
    const std::int64_t batch = lesson.images.size(0);
    const double lessons =
        seconds_of([&] { side_by_side([&](nn::NetworkState&) { lesson_of(0); }); }, clock_);
    const std::int64_t unit = std::max<std::int64_t>(1, options_.batch_norm_group);
    const double steps = seconds_per_item(
        batch, unit,
        [&](std::int64_t images) {
          const SameLesson same(first_of(lesson, images));
          side_by_side([&](nn::NetworkState& state) {
            train::Training(network_, same, options_, Rng(0)).epoch(state);
          });
        },
        clock_);
    return lessons / double(batch) + steps;
  }

  /// Wall seconds of an image that is tested.
  double test(const data::ImageDataset& dataset) {
    const std::int64_t most = std::min(kTestImages, dataset.size(data::Split::Test));
    return seconds_per_item(
        most, 1,
        [&](std::int64_t images) {
          side_by_side([&](nn::NetworkState& state) {
            const Tensor batch = dataset.batch(data::Split::Test, at::arange(images, at::kLong));
            network_.forward(state, batch);
          });
        },
        clock_);
  }

 private:
  template <class Work>
  void side_by_side(const Work& work) {
    parallel_tasks(std::int64_t(states_.size()),
                   [&](std::int64_t i) { work(states_[std::size_t(i)]); });
  }

  const nn::Network& network_;
  const train::Lessons& lessons_;
  train::TrainOptions options_;
  const Clock& clock_;
  std::vector<nn::NetworkState> states_;
};

}  // namespace

Pace Evaluator::measured_pace(const Material& material, const nn::Network& network,
                              std::int64_t networks, const Clock& clock) const {
  const at::NoGradGuard no_grad;
  const auto lessons = make_lessons(protocol_, material, dataset_);
  const auto options = train_options(protocol_, material, dataset_.info().mirror_changes_class);
  Trial trial(network, *lessons, harmless(options), networks, clock);
  return {.training = trial.training(), .test = trial.test(dataset_)};
}

double Evaluator::predicted_seconds(const Material& material, const nn::Network& network,
                                    std::int64_t runs, const Clock& clock) const {
  const std::int64_t images = material.size(dataset_);
  const std::int64_t batch = std::min(protocol_.batch_size, images);
  const std::int64_t at_once = runs_side_by_side(runs, network, batch);
  const std::int64_t threads = thread_count();
  const Pace pace =
      measured_pace(material, network, std::clamp<std::int64_t>(at_once, 1, threads), clock);
  const Work run = work(material, network);
  const double seconds = double(run.epochs * images) * pace.training + run.test * pace.test;
  const auto rounds = double((at_once + threads - 1) / threads);
  return seconds *
         (rounds + double(runs - at_once) / chunk_gain(threads, train::gradient_chunks(batch)));
}

}  // namespace retort::eval
