#pragma once
// The teachers of a run: which they are, how they are loaded, and whether a resumed run has the
// same.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/config/options.h"
#include "lib/core/rng.h"
#include "lib/nn/network.h"
#include "lib/storage/state_file.h"
#include "lib/train/committee.h"
#include "methods/method.h"

namespace retort::methods::decoupled {

using Networks = std::vector<std::shared_ptr<const nn::Network>>;

/// Whether a teacher is named by its number in a file.
bool is_number(const std::string& teacher);

/// A teacher of a file, by network or number.
config::Rule<std::string> teacher_rule();

/// Which teachers a run has, as it is told: those of a file, or those that are made for it.
struct TeacherOptions {
  std::string file;                ///< `teachers`
  std::vector<std::string> names;  ///< `teacher-names`, of its teachers; empty: all

  // Where no file is given.
  std::vector<std::string> make;  ///< networks; empty: those that are named, or the usual ones
  std::string recipe = "sgd";     ///< train::TeacherRecipe by name
  std::int64_t make_epochs = 0;   ///< 0: the recipe's
  std::vector<std::string> make_settings;
  std::string folder;  ///< where they are kept; empty: beside the run

  std::vector<std::string> usual = {"ConvNet-3-BN"};  ///< made where nobody names any
  bool can_be_made = true;                            ///< false: no recipe here trains such ones

  /// @param purpose "networks to recover from"
  void describe(config::OptionTable& table, const std::string& purpose);
  /// Fills in what will be made.
  void settle();
  /// Networks of the file that is made.
  std::vector<std::string> networks() const;
  /// Those of them that are asked.
  /// @throws ConfigError for a name that is none of them, and for one that is named twice
  std::vector<std::string> chosen() const;
  /// The same by their numbers in the file.
  std::vector<std::size_t> chosen_numbers() const;
  /// Whether whoever runs the method has to make them and has not yet.
  bool to_be_made(const RunContext& run) const;
  /// What that takes; nothing if a file is given.  @throws ConfigError for wrong settings
  std::optional<TeachersNeeded> needed() const;

 private:
  void describe_making(config::OptionTable& table);
};

/// Those of the options, loaded.
class TeachersOfRun {
 public:
  /// @throws ConfigError unless there is a file, with the command that makes one; as load_committee
  TeachersOfRun(const TeacherOptions& options, const RunContext& run);

  const std::vector<train::Member>& members() const { return members_; }
  const std::string& file() const { return file_; }
  /// @throws DataError as train::expect_knowing
  void expect_knowing(const RunContext& run) const;
  data::Asset asset() const { return train::asset_of(members_, file_, "teachers"); }

  /// Which networks they are, by their parameters and buffers. Where their file lies is no part of
  /// it.
  void save_state(storage::StateWriter& out) const;
  /// @throws ConfigError for others than those of the state
  void expect_as_begun(const storage::StateReader& in) const;

 private:
  std::string file_;
  std::vector<train::Member> members_;
};

/// Their networks alone, for whoever predicts what they will cost; where no file is given those
/// that would be made.
/// @throws ConfigError for a file that is not there; as load_networks
Networks networks_of(const TeacherOptions& options, const RunContext& run);

/// Those that would be made and asked, without what they learn.  @throws ConfigError as chosen
std::vector<train::Member> unmade_teachers(const TeacherOptions& options, const RunContext& run);

/// @throws ConfigError naming both if what a run began with has another SHA-256 now
void expect_sha256(const std::string& file, const std::string& what, const std::string& before,
                   const std::string& now);

}  // namespace retort::methods::decoupled
