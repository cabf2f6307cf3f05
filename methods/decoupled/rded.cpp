#include "methods/decoupled/rded.h"

#include <filesystem>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "methods/decoupled/predicted_work.h"
#include "methods/prediction.h"

namespace retort::methods::decoupled {
namespace {

std::string advice(const RunContext& run) {
  return str("Make them by `retort teachers --dataset ", run.dataset.info().name,
             " --nets ConvNet-3-BN --out teachers.h5`");
}

void expect_file(const RdedOptions& options, const RunContext& run) {
  if (options.teachers.empty()) {
    throw ConfigError("option 'teachers': which file of teachers shall look at the crops? " +
                      advice(run));
  }
  if (!std::filesystem::exists(options.teachers)) {
    throw ConfigError(
        str("option 'teachers': there is no file '", options.teachers, "'. ", advice(run)));
  }
}

/// @throws ConfigError unless options and file agree on one teacher
train::Member load_observer(const RdedOptions& options, const RunContext& run) {
  expect_file(options, run);
  auto committee = train::load_committee(options.teachers, options.teacher_names, run.dataset);
  if (committee.size() == 1) return std::move(committee.front());
  std::vector<std::string> found;
  for (const auto& member : committee) found.push_back(str(member.number, " (", member.name, ")"));
  throw ConfigError(str("option 'teacher-names': one teacher looks at the crops, '",
                        options.teachers, "' offers ", join(found), "; name one of them"));
}

/// Null where it is not known yet: a preset has no file, but may name the network. That a file
/// holds several is for the start to refuse.
std::shared_ptr<const nn::Network> observing_network(const RdedOptions& options,
                                                     const RunContext& run) {
  Networks networks;
  if (options.teachers.empty()) {
    networks = named_networks(options.teacher_names, run.dataset);
  } else {
    expect_file(options, run);
    networks = train::load_networks(options.teachers, options.teacher_names, run.dataset);
  }
  return networks.size() == 1 ? networks.front() : nullptr;
}

}  // namespace

void RdedOptions::describe(config::OptionTable& table) {
  const auto anything = [](const std::string&) { return true; };
  table.add("teachers", teachers,
            "file that holds the network that looks at crops, see `retort "
            "teachers`",
            {"a file of teachers", anything});
  table.add("teacher-names", teacher_names,
            "which of its teachers, by the name of its network or its number; none: the only one",
            config::any_text());
  crops.describe(table);
}

Work Rded::work(const RunContext& run) const {
  const auto observer = observing_network(options_, run);
  if (!observer) return {};
  const RealCropOptions& crops = options_.crops;
  Work work;
  work.per_iteration = forward_flops(*observer, crops.looked_at(run.dataset));
  const double at_once = double(crops_at_once(crops, run.dataset.shape()) * thread_count());
  const double made = double(run.dataset.num_classes() * run.ipc * run.dataset.shape().numel());
  work.memory_bytes = pixel_bytes(run.dataset) + activation_bytes(*observer, at_once) +
                      made * double(sizeof(float));
  return work;
}

void Rded::check(RunContext& run) {
  run_ = &run;
  observer_ = load_observer(options_, run);
  expect_possible(run.dataset, options_.crops, run.ipc);
}

void Rded::initialize(RunContext& run) {
  check(run);
  train::expect_knowing({*observer_}, options_.teachers, run.dataset, run.rng.child("teachers"));
}

UpdateReport Rded::update(std::int64_t) {
  images_ = realistic_images(run_->dataset, *observer_, options_.crops, run_->ipc,
                             run_->rng.child("crops"), run_->stop);
  return {};
}

data::SyntheticSet Rded::snapshot() const {
  const Tensor classes =
      at::arange(run_->dataset.num_classes(), at::kLong).repeat_interleave(run_->ipc);
  data::SyntheticSet set;
  set.images = images_;
  set.class_index = classes;
  set.from_bytes = true;
  set.labels = data::HardLabels{classes};
  return set;
}

std::vector<data::Asset> Rded::assets() const {
  if (!observer_) return {};
  return {train::asset_of({*observer_}, options_.teachers, "teachers")};
}

void Rded::save_state(storage::StateWriter& out) const {
  out.text("teachers/sha256", observer_->sha256);
  if (images_.defined()) out.tensor("images", images_);
}

void Rded::load_state(RunContext& run, const storage::StateReader& in) {
  check(run);
  if (const std::string begun = in.text("teachers/sha256"); begun != observer_->sha256) {
    throw ConfigError(str("teachers '", options_.teachers, "': this run began with one of SHA-256 ",
                          begun, ", found ", observer_->sha256));
  }
  if (in.has("images")) images_ = in.tensor("images");
}

MethodInfo rded_info() {
  return {"rded", "Realistic, diverse and efficient distillation", "Sun et al., CVPR 2024",
          "Crops of real images that a trained network finds realistic, joined to mosaics.",
          []() -> std::unique_ptr<MethodFactory> {
            return std::make_unique<SimpleFactory<RdedOptions, Rded>>();
          }};
}

}  // namespace retort::methods::decoupled
