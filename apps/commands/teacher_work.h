#pragma once
// What `teachers` does with a network besides training it.

#include "apps/commands/teachers_options.h"
#include "lib/core/stop.h"
#include "lib/data/image_dataset.h"
#include "lib/nn/network.h"
#include "lib/storage/teacher_file.h"

namespace retort::commands {

/// Fills in what the teacher gets right on the test split, or on what is held out, and says so.
void test_teacher(storage::Teacher& teacher, const nn::Network& network,
                  const TeachersOptions& options, const data::ImageDataset& dataset);

/// @throws ConfigError if statistics of classes are asked for and one of these has no BatchNorm
void expect_batch_norm(const nn::Network& network, const TeachersOptions& options);

/// Replaces the statistics of classes, if any are asked for.
/// @throws Interrupted when `stop` was requested
void take_class_statistics(storage::Teacher& teacher, const nn::Network& network,
                           const TeachersOptions& options, const data::ImageDataset& dataset,
                           const StopFlag* stop);

/// The network with the weights of --import, tested. Warns if it does not know the dataset.
/// @throws StorageError, DataError as train::read_weights and teacher_of_weights
storage::Teacher imported_teacher(const nn::Network& network, const TeachersOptions& options,
                                  const data::ImageDataset& dataset);

}  // namespace retort::commands
