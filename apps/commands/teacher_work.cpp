#include "apps/commands/teacher_work.h"

#include <limits>
#include <memory>

#include "apps/cli/command.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/eval/evaluator.h"
#include "lib/train/class_statistics.h"
#include "lib/train/committee.h"
#include "lib/train/weights.h"

namespace retort::commands {
namespace {

using storage::Teacher;

bool wants_statistics(const TeachersOptions& options) { return options.class_statistics != "none"; }

/// Weights that are right in form may be of another dataset, or of classes in another order.
void warn_unless_knowing(const Teacher& teacher, const nn::Network& network,
                         const TeachersOptions& options, const data::ImageDataset& dataset) {
  train::Member member;
  member.name = teacher.network;
  member.accuracy = std::numeric_limits<double>::quiet_NaN();  // the file says none
  // Not owned: the caller keeps it.
  member.network = std::shared_ptr<const nn::Network>(std::shared_ptr<void>(), &network);
  member.state = train::state_of(teacher, network, dataset.device());
  try {
    train::expect_knowing({member}, options.import_file, dataset,
                          Rng(std::uint64_t(options.seed)).child("import"));
  } catch (const DataError& e) {
    log::warn(e.what());
  }
}

}  // namespace

void test_teacher(Teacher& teacher, const nn::Network& network, const TeachersOptions& options,
                  const data::ImageDataset& dataset) {
  const auto state = train::state_of(teacher, network, dataset.device());
  teacher.accuracy = eval::test(network, state, dataset, data::Split::Test).accuracy;
  teacher.tested_on = options.hold_out > 0 ? "held-out" : "test";
  teacher.program_version = cli::program_version();
  log::info(str(network.name(), ": ", fixed(teacher.accuracy, 2), " % on ",
                options.hold_out > 0 ? "held-out training images" : "the test split",
                "; nothing is chosen by it"));
}

void expect_batch_norm(const nn::Network& network, const TeachersOptions& options) {
  if (!wants_statistics(options) || network.has_batch_norm()) return;
  throw ConfigError(
      str("option 'class-statistics': they are those of BatchNorm, ", network.name(), " has none"));
}

void take_class_statistics(Teacher& teacher, const nn::Network& network,
                           const TeachersOptions& options, const data::ImageDataset& dataset,
                           const StopFlag* stop) {
  if (!wants_statistics(options)) return;
  log::info(str(network.name(), ": statistics of ", dataset.num_classes(), " classes (",
                options.class_statistics, ")"));
  const auto state = train::state_of(teacher, network, dataset.device());
  teacher.class_statistics = train::class_statistics(
      network, state, dataset, options.class_statistics, options.recipe.batch_size,
      Rng(teacher.seed).child("class-statistics"), stop);
  teacher.class_average = options.class_statistics;
}

Teacher imported_teacher(const nn::Network& network, const TeachersOptions& options,
                         const data::ImageDataset& dataset) {
  const std::string source = str("'", options.import_file, "'");
  Teacher teacher =
      train::teacher_of_weights(network, train::read_weights(options.import_file), source);
  log::info(str(network.name(), ": weights of ", source));
  test_teacher(teacher, network, options, dataset);
  warn_unless_knowing(teacher, network, options, dataset);
  return teacher;
}

}  // namespace retort::commands
