#pragma once
// The teachers of a run that was given no file of them.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "apps/commands/run_prerequisite.h"
#include "apps/commands/teacher_session.h"
#include "apps/commands/teachers_options.h"
#include "lib/data/image_dataset.h"
#include "lib/storage/teacher_file.h"
#include "lib/train/teacher_parts.h"

namespace retort::commands {

class RunTeachers : public RunPrerequisite {
 public:
  /// @param go_on the command that continues an interrupted run
  /// @param dataset what the run sees; must outlive it
  /// @throws ConfigError for settings that the recipe does not have, and for a network that is not
  ///         known or lacks the BatchNorm that the method looks at
  RunTeachers(const methods::TeachersNeeded& needed, const NetworksOfRun& run,
              const data::ImageDataset& dataset, const std::string& go_on);

  std::string name() const override { return "teachers"; }
  /// Statistics of classes that the method needs are added to teachers of an earlier run. Waits for
  /// what another process makes of the same file.
  void provide(cli::Program& program, const std::string& go_on, methods::RunContext& run) override;

 private:
  Missing missing() const override;
  std::int64_t count() const override { return std::int64_t(options_.nets.size()); }
  std::string counted(std::int64_t networks) const override;
  /// Teachers of the file; none if it is not there yet.
  /// @throws StorageError for others under its name
  std::vector<storage::Teacher> stored() const;
  bool complete() const;
  void announce(const Missing& found, const std::string& go_on) const;
  /// Once no other process works on them. @throws Interrupted when a stop was requested
  train::TeacherParts parts_when_free(cli::Program& program) const;
  /// Trains what is missing, or takes statistics of what is there.
  void go_further(cli::Program& program);
  /// Removes what a killed process has left beside the finished file.
  void tidy_up() const;

  const data::ImageDataset& dataset_;
  TeachersOptions options_;
  std::string statistics_;  ///< of classes: "none", or one of train::class_averages()
  std::optional<TeacherSession> session_;
};

}  // namespace retort::commands
