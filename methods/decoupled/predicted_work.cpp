#include "methods/decoupled/predicted_work.h"

#include <algorithm>
#include <cmath>

#include "lib/core/parallel.h"
#include "lib/train/voting.h"
#include "methods/decoupled/recover.h"
#include "methods/prediction.h"

namespace retort::methods::decoupled {
namespace {

/// Teachers that an image passes through per iteration, of so many.
double teachers_at_once(const RecoverOptions& options, double teachers) {
  if (options.compensators) return teachers;  // each on images of its own
  if (options.committee == "pairs") return std::min(2.0, teachers);
  return options.committee == "all" ? teachers : 1;
}

/// Images that pass through a teacher, all and of one batch, batches of all teachers, images that
/// move, and those that stay.
struct Passing {
  double images = 0;
  double batch = 0;
  double batches = 0;
  double moved = 0;
  double kept = 0;
};

Passing passing(const RecoverOptions& options, std::int64_t teachers, const RunContext& run) {
  const std::int64_t classes = run.dataset.num_classes();
  const double places = options.compensators
                            ? double(places_beside_compensators(run.ipc, teachers, classes))
                            : double(run.ipc);
  const double copies = options.flip == "both" ? 2 : 1;
  const bool within = options.layout == "within-class" && !options.compensators;
  const double largest = within ? places : double(classes);
  const double batch =
      options.compensators ? largest : std::min(double(options.batch_images), largest);
  const double batches = options.compensators ? double(teachers) * places
                         : within             ? double(classes) * std::ceil(places / batch)
                                              : places * std::ceil(double(classes) / batch);
  const double moved = (options.compensators ? double(teachers) : double(classes)) * places;
  return {copies * double(classes) * places, copies * batch, batches, moved,
          options.compensators ? double(classes) * places : 0};
}

/// Of what moves, its two moments and its gradient; of images under compensators; and of the
/// batches that teachers are asked about at once, their view and what each teacher says of it.
double image_bytes(const Passing& pass, std::int64_t teachers, const RecoverOptions& options,
                   const RunContext& run) {
  constexpr double kCopies = 4;
  const double voters = options.compensators ? 1 : teachers_at_once(options, double(teachers));
  const double seen = std::min(pass.batches, std::ceil(double(questions_at_once()) / voters));
  const double images = kCopies * pass.moved + pass.kept + seen * pass.batch * (2 + voters);
  return images * double(run.dataset.shape().numel()) * double(sizeof(float));
}

bool votes(const RecoverOptions& options) {
  return !options.compensators && (options.committee == "pairs" || options.committee == "all");
}

bool asks_for_priors(const RecoverOptions& options) {
  return votes(options) && options.priors.empty();
}

/// Who looks for realistic crops; the costliest where it is not known who that will be.
const nn::Network& observer(const RecoverOptions& options, const Networks& networks) {
  const std::vector<double>& priors = options.priors;
  if (asks_for_priors(options)) {
    return **std::max_element(networks.begin(), networks.end(),
                              [](const auto& a, const auto& b) { return a->macs() < b->macs(); });
  }
  if (!votes(options) || priors.size() != networks.size()) return *networks.front();
  const auto best = std::max_element(priors.begin(), priors.end()) - priors.begin();
  return *networks[std::size_t(best)];
}

Flops setup_flops(const RecoverOptions& options, const Networks& networks, const RunContext& run) {
  Flops flops;
  if (asks_for_priors(options)) {
    const std::int64_t images = std::min(train::kVoteSample, run.dataset.size(data::Split::Train));
    for (const auto& network : networks) flops = flops + forward_flops(*network, double(images));
  }
  if (!options.compensators && options.init == "mosaic") {
    flops =
        flops + forward_flops(observer(options, networks), options.crops.looked_at(run.dataset));
  }
  return flops;
}

}  // namespace

Work predicted_work(const RecoverOptions& options, const Networks& networks,
                    const RunContext& run) {
  if (networks.empty()) return {};
  const auto teachers = std::int64_t(networks.size());
  const Passing pass = passing(options, teachers, run);
  if (pass.images == 0) return {};  // no room for compensators, which the start refuses
  const double at_once = teachers_at_once(options, double(teachers));
  const double share = at_once / double(teachers);
  // What one teacher says of a batch is the work of one thread; rates are those of all.
  const double voters = options.compensators ? 1 : at_once;
  const double threads = std::min(double(thread_count()), pass.batches * voters);
  const double idle = double(thread_count()) / threads;
  // Forward, and back to the images: parameters have no gradient.
  constexpr double kPasses = 2;
  Work work;
  double activations = 0;
  for (const auto& network : networks) {
    work.per_iteration =
        work.per_iteration + forward_flops(*network, idle * kPasses * share * pass.images);
    activations = std::max(activations, activation_bytes(*network, pass.batch * threads));
  }
  work.memory_bytes =
      pixel_bytes(run.dataset) + activations + image_bytes(pass, teachers, options, run);
  work.setup = setup_flops(options, networks, run);
  return work;
}

}  // namespace retort::methods::decoupled
