#pragma once
// From the options of teachers to their file: what `teachers` does, and `condense` for a run that
// was given none.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "apps/cli/command.h"
#include "apps/commands/teachers_options.h"
#include "lib/data/image_dataset.h"
#include "lib/nn/network.h"
#include "lib/storage/teacher_file.h"
#include "lib/train/teacher_parts.h"

namespace retort::commands {

/// "93.10 %"; "-" for a teacher that was not tested
std::string percent(double accuracy);

/// Teachers of one file.
class TeacherSession {
 public:
  struct Manner {
    bool tested = true;  ///< on the test split, or on what is held out
    std::string go_on = "the same command goes on";
  };

  /// Both must outlive it. @throws ConfigError for an unknown network
  TeacherSession(TeachersOptions& options, const data::ImageDataset& dataset, Manner manner);

  /// To be trained; none where there are only statistics to take.
  const std::vector<std::unique_ptr<nn::Network>>& networks() const { return networks_; }
  /// Of all steps, as some of them take here: what comes beside the operations of a small network
  /// costs more than these. At no step size to speak of, so that no loss runs away.
  double predicted_seconds(const nn::Network& network) const;
  /// All that decides what becomes of the teachers, the networks by name among it.
  /// @param existing teachers in the file before these
  std::string plan_text(std::size_t existing) const;

  /// Trains what the plan asks for, behind those that the file holds, and writes the file.
  /// @param teachers of the file; the new ones are put behind
  /// @throws Interrupted when a stop was requested; all that was done is saved
  void make(const train::TeacherParts& parts, std::vector<storage::Teacher>& teachers,
            cli::Program& program) const;
  /// Statistics of classes for the teachers that the file holds, and writes it again.
  /// @throws Interrupted as above
  void take_statistics(const train::TeacherParts& parts, std::vector<storage::Teacher>& teachers,
                       cli::Program& program) const;
  /// Runs `work`; whoever interrupts it is told where what is done lies, and how it goes on.
  void saying_where_it_is(const std::function<void()>& work) const;

 private:
  storage::Teacher train_one(const nn::Network& network, std::int64_t number,
                             const train::TeacherParts& parts, cli::Program& program) const;
  train::TeacherHooks hooks(const std::string& name, cli::Program& program) const;

  TeachersOptions& options_;
  const data::ImageDataset& dataset_;
  Manner manner_;
  std::vector<std::unique_ptr<nn::Network>> networks_;
};

}  // namespace retort::commands
