#pragma once
// From the files of a set and its run to what a report says of them.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "apps/commands/report_source.h"
#include "lib/core/stop.h"
#include "lib/data/image_dataset.h"
#include "lib/data/synthetic_set.h"
#include "lib/report/report_data.h"

namespace retort::commands {

/// How much is collected of every set.
struct ReportExtent {
  std::int64_t per_class = 10;  ///< images of a class; 0: all
  bool nearest = true;          ///< with the real images nearest to them
};

/// Opens the dataset that belongs to a set.
using DatasetOpener = std::function<data::ImageDataset(const data::SyntheticSet& set)>;

/// Everything but results of evaluations.
/// @param dataset_asked_for whether somebody named the dataset: then it must be there, else its
///        absence is a gap
/// @throws StorageError, DataError for files that are damaged; Interrupted
report::SetReport collect_set(const ReportSource& source, const ReportExtent& extent,
                              const DatasetOpener& open_dataset, bool dataset_asked_for,
                              const StopFlag& stop);

/// Adds results that are about this set, whose scores it has, and says what of them is missing.
/// @param evaluations of the set
void add_evaluations(report::SetReport& report, const ReportSource& source,
                     std::vector<report::Evaluation> evaluations);

/// The curves of a run, or why there are none.
void add_curves_of_run(report::SetReport& report, const ReportSource& source);

}  // namespace retort::commands
