#include "methods/decoupled/predicted_work.h"

#include <algorithm>
#include <cmath>

#include "lib/core/parallel.h"
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

/// Images that pass through a teacher, all and of one batch, and batches of all teachers.
struct Passing {
  double images = 0;
  double batch = 0;
  double batches = 0;
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
  return {copies * double(classes) * places, copies * batch, batches};
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
  work.memory_bytes = pixel_bytes(run.dataset) + activations;
  if (!options.compensators && options.init == "mosaic") {
    work.setup = forward_flops(*networks.front(), options.crops.looked_at(run.dataset));
  }
  return work;
}

}  // namespace retort::methods::decoupled
