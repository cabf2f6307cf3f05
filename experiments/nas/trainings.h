#pragma once
// Trains every architecture in every course: one network per thread, side by side on all of them.

#include <vector>

#include "experiments/nas/course.h"
#include "experiments/nas/grid.h"
#include "experiments/nas/records.h"
#include "lib/core/progress.h"
#include "lib/core/stop.h"

namespace retort::experiments::nas {

/// Of a course: [architecture][place of the seed].
using Trainings = std::vector<std::vector<Trained>>;

/// Those that were trained before are taken from the records. The longest of the others begin
/// first. Each sees LibTorch single-threaded, so the results depend neither on the number of
/// threads nor on which others run beside it.
/// @param progress called from several threads, one at a time
/// @return per course
/// @throws Interrupted when `stop` was requested: what was finished is in the records;
///         StorageError when a record cannot be written; else as train::train, but for a
///         NumericalError, which is a result
std::vector<Trainings> train_all(const std::vector<Course>& courses, const Networks& networks,
                                 const Records& records, ProgressSink& progress,
                                 const StopFlag& stop);

/// Seconds that one training is predicted to take on one thread, beside one on every other.
double training_seconds(const Course& course, const nn::Network& network);

}  // namespace retort::experiments::nas
