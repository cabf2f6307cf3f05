#include "methods/decoupled/predicted_work.h"

#include <algorithm>
#include <cmath>

#include "lib/core/parallel.h"
#include "methods/decoupled/recover.h"
#include "methods/prediction.h"

namespace retort::methods::decoupled {
namespace {

/// Networks that an image passes through per iteration, of all.
double networks_at_once(const RecoverOptions& options, double teachers) {
  if (options.compensators) return teachers;  // each on images of its own
  if (options.committee == "pairs") return std::min(2.0, teachers);
  return options.committee == "all" ? teachers : 1;
}

}  // namespace

Work predicted_work(const RecoverOptions& options, const std::vector<train::Member>& teachers,
                    const RunContext& run) {
  const auto count = double(teachers.size());
  const auto classes = double(run.dataset.num_classes());
  const double places =
      options.compensators ? double(places_beside_compensators(
                                 run.ipc, std::int64_t(teachers.size()), run.dataset.num_classes()))
                           : double(run.ipc);
  const double images = classes * places * (options.flip == "both" ? 2 : 1);
  const bool within = options.layout == "within-class" && !options.compensators;
  const double batch = std::min({options.compensators ? classes : double(options.batch_images),
                                 within ? places : classes}) *
                       (options.flip == "both" ? 2 : 1);
  // Forward, and back to the images: parameters have no gradient.
  constexpr double kPasses = 2;
  Work work;
  work.memory_bytes = pixel_bytes(run.dataset);
  for (const auto& teacher : teachers) {
    const double share = networks_at_once(options, count) / count;
    work.per_iteration =
        work.per_iteration + forward_flops(*teacher.network, kPasses * share * images,
                                           options.r_bn == 0 ? Pass::Fused : Pass::Layered);
    const double at_once = std::min(double(thread_count()), std::ceil(images / batch)) * batch;
    work.memory_bytes = std::max(
        work.memory_bytes, pixel_bytes(run.dataset) + activation_bytes(*teacher.network, at_once));
  }
  if (!options.compensators && options.init == "mosaic") {
    const auto looked_at =
        double(std::min(options.crops.images_per_class, run.dataset.smallest_class()) *
               options.crops.crops);
    work.setup = forward_flops(*teachers.front().network, classes * looked_at);
  }
  return work;
}

}  // namespace retort::methods::decoupled
