#include "methods/decoupled/rded.h"

#include <algorithm>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "methods/decoupled/predicted_work.h"
#include "methods/decoupled/stored_pixels.h"
#include "methods/prediction.h"

namespace retort::methods::decoupled {
namespace {

/// @throws ConfigError unless options and file agree on one teacher
void expect_one(const TeachersOfRun& teachers) {
  if (teachers.members().size() == 1) return;
  std::vector<std::string> found;
  for (const auto& member : teachers.members()) {
    found.push_back(str(member.number, " (", member.name, ")"));
  }
  throw ConfigError(str("option 'teacher-names': one teacher looks at the crops, '",
                        teachers.file(), "' offers ", join(found), "; name one of them"));
}

constexpr char kFinished[] = "finished-classes";

std::string class_name(std::size_t c) { return str("classes/", c); }

std::int64_t count_of(const FinishedClasses& classes) {
  return std::count_if(classes.begin(), classes.end(),
                       [](const Tensor& images) { return images.defined(); });
}

}  // namespace

void RdedOptions::describe(config::OptionTable& table) {
  teachers.describe(table, "the one network that looks at crops");
  crops.describe(table);
  describe_store(table, store);
}

Work Rded::work(const RunContext& run) const {
  // A preset has no file. That a file holds several is for the start to refuse.
  const Networks networks = networks_of(options_.teachers, run);
  if (networks.size() != 1) return {};
  const nn::Network& observer = *networks.front();
  const RealCropOptions& crops = options_.crops;
  Work work;
  work.per_iteration = forward_flops(observer, crops.looked_at(run.dataset));
  const double at_once = double(crops_at_once(crops, run.dataset.shape()) * thread_count());
  const double made = double(run.dataset.num_classes() * run.ipc * run.dataset.shape().numel());
  work.memory_bytes =
      pixel_bytes(run.dataset) + activation_bytes(observer, at_once) + made * double(sizeof(float));
  return work;
}

Prerequisites Rded::prerequisites() const {
  auto needed = options_.teachers.needed();
  if (!needed) return {};
  const std::vector<std::string> chosen = options_.teachers.chosen();
  if (chosen.size() != 1) {
    throw ConfigError(str("one teacher looks at the crops, to be made are ", chosen.size(), ": ",
                          join(chosen), "; choose one by --teacher-names"));
  }
  return {.teachers = std::move(needed)};
}

void Rded::check(RunContext& run) {
  if (options_.teachers.to_be_made(run)) {
    expect_possible(run.dataset, options_.crops, run.ipc);
  } else {
    load_observer(run);
  }
}

void Rded::load_observer(RunContext& run) {
  run_ = &run;
  observer_.emplace(options_.teachers, run);
  expect_one(*observer_);
  expect_possible(run.dataset, options_.crops, run.ipc);
}

void Rded::initialize(RunContext& run) {
  load_observer(run);
  observer_->expect_knowing(run);
}

UpdateReport Rded::update(std::int64_t) {
  realistic_images(run_->dataset, observer_->members().front(), options_.crops, run_->ipc,
                   run_->rng.child("crops"),
                   {.stop = run_->stop, .progress = run_->progress, .finished = &finished_});
  return {};
}

data::SyntheticSet Rded::snapshot() const {
  const Tensor classes =
      at::arange(run_->dataset.num_classes(), at::kLong).repeat_interleave(run_->ipc);
  data::SyntheticSet set;
  const data::Preprocessing& preprocessing = run_->dataset.preprocessing();
  set.images = as_stored(preprocessing, at::cat(finished_), options_.store);
  set.class_index = classes;
  set.from_bytes = true;
  set.labels = data::HardLabels{classes};
  return set;
}

std::vector<data::Asset> Rded::assets() const {
  if (!observer_) return {};
  return {observer_->asset()};
}

void Rded::save_state(storage::StateWriter& out) const {
  observer_->save_state(out);
  out.integer(kFinished, count_of(finished_));
  for (std::size_t c = 0; c < finished_.size(); ++c) {
    if (finished_[c].defined()) out.tensor(class_name(c), finished_[c]);
  }
}

void Rded::load_state(RunContext& run, const storage::StateReader& in) {
  load_observer(run);
  observer_->expect_as_begun(in);
  finished_.resize(std::size_t(run.dataset.num_classes()));
  for (std::size_t c = 0; c < finished_.size(); ++c) {
    if (in.has(class_name(c))) finished_[c] = in.tensor(class_name(c));
  }
  const std::int64_t expected = in.integer(kFinished);
  if (count_of(finished_) == expected) return;
  throw StorageError(str("state of rded: expected images of ", expected,
                         " finished classes, found ", count_of(finished_)));
}

MethodInfo rded_info() {
  return {"rded", "Realistic, diverse and efficient distillation", "Sun et al., CVPR 2024",
          "Crops of real images that a trained network finds realistic, joined to mosaics.",
          []() -> std::unique_ptr<MethodFactory> {
            return std::make_unique<SimpleFactory<RdedOptions, Rded>>();
          }};
}

}  // namespace retort::methods::decoupled
