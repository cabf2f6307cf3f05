#pragma once
// Teachers of an evaluation: who is asked while students train, and who labels baselines as they
// labelled the set.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "apps/cli/command.h"
#include "apps/commands/kept_views.h"
#include "lib/data/image_dataset.h"
#include "lib/data/synthetic_set.h"
#include "lib/eval/material.h"
#include "lib/eval/protocol.h"
#include "lib/train/committee.h"

namespace retort::commands {

class StudentTeachers {
 public:
  /// None.
  StudentTeachers() = default;
  /// @throws as train::load_committee and train::expect_knowing
  StudentTeachers(const std::filesystem::path& file, const std::vector<std::string>& names,
                  const data::ImageDataset& dataset);

  bool empty() const { return members_.empty(); }
  /// As an asset with the role data::kLabelers.
  data::Asset asset() const;
  /// Of their parameters and buffers as float32.
  std::uint64_t bytes() const;

  /// For a protocol of labels that the set holds: that they are those that gave them, as far as it
  /// says.
  /// @throws ConfigError naming both, and what to do
  void expect_labelers_of(const data::SyntheticSet& set, const eval::Protocol& protocol) const;
  /// A baseline that is to be labelled.
  struct Unlabelled {
    std::string name;
    data::SyntheticSet& set;
    std::filesystem::path kept;  ///< labels of its views go to KEPT.parts/; empty: to memory
  };
  /// Gives a baseline the labels that `protocol` trains on, made as those of `set`.
  /// @throws ConfigError if the set does not say how; Interrupted
  void label(const Unlabelled& baseline, const data::SyntheticSet& set,
             const eval::Protocol& protocol, const data::ImageDataset& dataset,
             cli::Program& program);
  /// The evaluation is whole: removes what lies in KEPT.parts/.
  void remove_kept() const;
  /// What networks on `set` are trained on.
  eval::Material material(const data::SyntheticSet& set, const eval::Protocol& protocol) const;

 private:
  /// Who is asked while students train on so many images: all, with equal votes. Null: nobody.
  std::shared_ptr<const train::Labeler> asked(const eval::Protocol& protocol,
                                              std::int64_t images) const;

  std::vector<train::Member> members_;
  std::filesystem::path file_;
  std::vector<std::shared_ptr<const KeptViews>> kept_;
};

/// Warns where views were labelled by BatchNorm statistics of groups, and students of the protocol
/// go by others, or the other way round.
void warn_of_other_groups(const data::SyntheticSet& set, const eval::Protocol& protocol);

/// What can be said before anything is read. @throws ConfigError for a protocol that needs teachers
/// and got none, or has no use for them
void expect_teachers_for(const eval::Protocol& protocol, bool given, bool baselines);

}  // namespace retort::commands
