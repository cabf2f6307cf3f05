#pragma once

#include <string>

#include "lib/core/progress.h"

namespace retort::experiments {

/// Shows the phases of a long work one after another, each with the time until all of it is done:
/// what the phase says it has left, and what was predicted for those to come, corrected by how long
/// the finished ones took.
class Outlook : public ProgressSink {
 public:
  /// @param predicted seconds of all phases
  /// @param trusted whether predictions count before a phase was finished
  Outlook(ProgressSink& sink, double predicted, bool trusted);

  void begin(const std::string& title, double predicted);
  void end();
  /// A phase, or a part of one, that was done before.
  void skip(double predicted) { ahead_ -= predicted; }

  void update(const Progress& progress) override;
  void finish() override { sink_.finish(); }

 private:
  bool knows_pace() const { return trusted_ || predicted_done_ > 0; }
  double pace() const { return predicted_done_ > 0 ? taken_ / predicted_done_ : 1; }

  ProgressSink& sink_;
  bool trusted_;
  double ahead_;  ///< predicted for the phases after this one
  std::string title_;
  double predicted_ = 0;  ///< for this phase
  double start_ = 0;
  double predicted_done_ = 0;
  double taken_ = 0;
};

}  // namespace retort::experiments
