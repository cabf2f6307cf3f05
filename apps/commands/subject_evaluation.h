#pragma once
// Everything that trains and tests in one `retort evaluate`.

#include <string>
#include <vector>

#include "apps/cli/command.h"
#include "apps/commands/evaluate_options.h"
#include "apps/commands/finished_networks.h"
#include "apps/commands/student_teachers.h"
#include "lib/data/image_dataset.h"
#include "lib/data/synthetic_set.h"
#include "lib/eval/evaluator.h"
#include "lib/eval/report.h"

namespace retort::commands {

/// Images and labels that networks are trained on.
struct Subject {
  std::string name;
  const data::SyntheticSet& set;
  std::string path;  ///< of its file; empty: there is none
  bool hard_labels = false;
};

/// Protocol, augmentations and attacks are those of the report, which must outlive it, as all else.
class SubjectEvaluation {
 public:
  SubjectEvaluation(const data::ImageDataset& dataset, const eval::EvaluationReport& report,
                    const std::vector<NetworkRuns>& nets, const StudentTeachers& teachers,
                    FinishedNetworks& finished, cli::Program& program)
      : dataset_(dataset),
        report_(report),
        nets_(nets),
        teachers_(teachers),
        finished_(finished),
        program_(program) {}

  /// @throws Interrupted saying what was kept; else as eval::Evaluator::evaluate
  eval::SubjectResult operator()(const Subject& subject) const;

 private:
  void announce(const std::string& name, const eval::Evaluator& evaluator,
                const eval::Material& material, const NetworkRuns& runs,
                eval::RunKeeper& keeper) const;
  /// Under the protocol, or under every augmentation of the report.
  std::vector<eval::NetworkResult> judged(const std::string& name, const eval::Material& material,
                                          const eval::Protocol& protocol,
                                          const NetworkRuns& runs) const;
  eval::NetworkResult train_and_test(const std::string& name, const eval::Material& material,
                                     const eval::Protocol& protocol, const NetworkRuns& runs) const;

  const data::ImageDataset& dataset_;
  const eval::EvaluationReport& report_;
  const std::vector<NetworkRuns>& nets_;
  const StudentTeachers& teachers_;
  FinishedNetworks& finished_;
  cli::Program& program_;
};

}  // namespace retort::commands
