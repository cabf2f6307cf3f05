#pragma once
// What an evaluation that does not come to its end leaves for the next one.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "lib/core/error.h"
#include "lib/data/image_dataset.h"
#include "lib/data/synthetic_set.h"
#include "lib/eval/evaluator.h"

namespace retort::commands {

/// The file `<result>.part`, rewritten whenever a network is finished. Every entry carries a
/// SHA-256 of all that its numbers depend on, so entries of another evaluation are never taken.
class FinishedNetworks {
 public:
  /// @param result file of the whole evaluation; empty: nothing is kept
  explicit FinishedNetworks(const std::filesystem::path& result);
  ~FinishedNetworks();
  FinishedNetworks(const FinishedNetworks&) = delete;
  FinishedNetworks& operator=(const FinishedNetworks&) = delete;

  /// For the networks of one architecture on one training set, while this object lives.
  /// @param key from evaluation_key
  std::unique_ptr<eval::RunKeeper> keeper(const std::string& key);
  std::int64_t count() const;
  const std::filesystem::path& path() const { return path_; }
  /// Throws `e` again, saying also what was kept.
  [[noreturn]] void interrupted(const Interrupted& e) const;
  /// The evaluation is whole.
  void remove() const;

 private:
  class Keeper;
  void write() const;

  std::filesystem::path path_;
  std::unique_ptr<nlohmann::json> runs_;
};

/// SHA-256 of all that the accuracies of a network of a given seed depend on: images, labels and
/// teachers it is trained on, what it is tested on and under which attacks, protocol, architecture,
/// program, device and kernels.
std::string evaluation_key(const eval::Material& material, const data::ImageDataset& dataset,
                           const eval::Protocol& protocol, const std::string& network,
                           const std::vector<eval::Attack>& attacks);

}  // namespace retort::commands
