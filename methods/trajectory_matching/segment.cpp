#include "methods/trajectory_matching/segment.h"

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::methods::trajectory_matching {

SegmentReader::SegmentReader(std::shared_ptr<const storage::ExpertReader> experts,
                             SegmentOptions options, const Rng& rng)
    : experts_(std::move(experts)), options_(options), rng_(rng) {
  const auto& epochs = experts_->info().epochs;
  for (std::size_t i = 0; i < epochs.size(); ++i) snapshots_[epochs[i]] = std::int64_t(i);
  expect_epochs();
}

void SegmentReader::expect_epochs() const {
  const StartEpochs& starts = options_.starts;
  const std::int64_t first_bound = starts.bound_at(0);
  if (starts.lowest >= first_bound) {
    throw ConfigError(str("min-start-epoch ", starts.lowest, ": it must be below the bound of ",
                          "the start epochs, which is ", first_bound, " in the first iteration"));
  }
  const auto need = [&](std::int64_t epoch) {
    if (snapshots_.count(epoch) > 0) return;
    throw ConfigError(str("experts '", experts_->path().string(), "': start epochs ", starts.lowest,
                          " .. ", starts.bound - 1, " and targets ", options_.epochs,
                          " later need epoch ", epoch, "; the file has ", snapshots_.size(),
                          " epochs, ", snapshots_.begin()->first, " .. ",
                          snapshots_.rbegin()->first));
  };
  for (std::int64_t start = starts.lowest; start < starts.bound; ++start) {
    need(start);
    for (std::int64_t j = options_.between ? 1 : options_.epochs; j <= options_.epochs; ++j) {
      need(start + j);
    }
  }
}

Tensor SegmentReader::at_epoch(std::int64_t expert, std::int64_t epoch) const {
  return experts_->snapshot(expert, snapshots_.at(epoch));
}

Segment SegmentReader::read(std::int64_t iteration) const {
  Segment segment{.iteration = iteration,
                  .expert = expert_of(iteration, experts_->experts(), rng_.child("experts")),
                  .start_epoch = options_.starts.draw(iteration, rng_.child("start", iteration)),
                  .start = {},
                  .target = {},
                  .between = {}};
  segment.start = at_epoch(segment.expert, segment.start_epoch);
  segment.target = at_epoch(segment.expert, segment.start_epoch + options_.epochs);
  for (std::int64_t j = 1; options_.between && j < options_.epochs; ++j) {
    segment.between.push_back(at_epoch(segment.expert, segment.start_epoch + j));
  }
  return segment;
}

}  // namespace retort::methods::trajectory_matching
