#pragma once
// The teachers of a run that was given no file of them.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "apps/commands/run_prerequisite.h"
#include "apps/commands/teacher_session.h"
#include "apps/commands/teachers_options.h"
#include "lib/data/image_dataset.h"

namespace retort::commands {

class RunTeachers : public RunPrerequisite {
 public:
  /// @param go_on the command that continues an interrupted run
  /// @param dataset what the run sees; must outlive it
  /// @throws ConfigError for settings that the recipe does not have, and for a network that is not
  ///         known or lacks the BatchNorm that the method looks at
  RunTeachers(const methods::TeachersNeeded& needed, const NetworksOfRun& run,
              const data::ImageDataset& dataset, const std::string& go_on);

  /// Named after what decides what teachers become, with the first letters of its hash.
  const std::filesystem::path& file() const { return file_; }

  std::string name() const override { return "teachers"; }
  nlohmann::json prediction() const override;
  std::string prediction_text() const override;
  void provide(cli::Program& program, const std::string& go_on, methods::RunContext& run) override;
  nlohmann::json outcome() const override;
  std::string outcome_text() const override;

 private:
  /// How many are missing, and what making them is predicted to take; nothing on a device.
  struct Found {
    std::int64_t missing = 0;
    std::optional<double> seconds;
  };
  /// @throws StorageError for other teachers under the name of the file
  Found look() const;
  void announce(const Found& found, const std::string& go_on) const;
  void make(cli::Program& program) const;
  std::int64_t count() const { return std::int64_t(options_.nets.size()); }

  const data::ImageDataset& dataset_;
  TeachersOptions options_;
  std::optional<TeacherSession> session_;
  std::filesystem::path file_;
  std::optional<Found> made_;  ///< the seconds are those that it took
};

}  // namespace retort::commands
