#include "experiments/outlook.h"

#include <algorithm>

#include "lib/core/clock.h"

namespace retort::experiments {

Outlook::Outlook(ProgressSink& sink, double predicted, bool trusted)
    : sink_(sink), trusted_(trusted), ahead_(predicted) {}

void Outlook::begin(const std::string& title, double predicted) {
  title_ = title;
  predicted_ = predicted;
  ahead_ -= predicted;
  start_ = wall_seconds();
}

void Outlook::end() {
  predicted_done_ += predicted_;
  taken_ += wall_seconds() - start_;
}

void Outlook::update(const Progress& progress) {
  Progress whole = progress;
  whole.phase = title_ + progress.phase;
  if (progress.seconds_left >= 0) {
    whole.seconds_left = knows_pace() ? progress.seconds_left + std::max(0.0, ahead_) * pace() : -1;
  }
  sink_.update(whole);
}

}  // namespace retort::experiments
