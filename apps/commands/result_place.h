#pragma once
// Where results about a set go that nobody named a file for.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace retort::commands {

/// "ConvNet-3, dsa": how a result names a network that was trained under an augmentation.
std::string under_augmentation(const std::string& network, const std::string& augmentation);

/// What a result is of: one that is measured in the same way and holds all of it takes its place.
struct MeasuredBy {
  std::string protocol;
  std::string tested_on;
  std::vector<std::string> nets;  ///< as results name them
  std::vector<std::uint64_t> seeds;
  std::vector<std::string> baselines{};  ///< as results name them

  /// Whether nothing of the other is lost when this one takes its place.
  bool covers(const MeasuredBy& other) const;
};

/// Of accuracies of networks: in the run folder that the set lies in, or nothing. A result of
/// another protocol, of other images or networks or more of them, or with baselines that this one
/// lacks, stays: a quick look must not cost what took an hour.
std::filesystem::path evaluation_in_run_folder(const std::string& set, const MeasuredBy& mine);

/// Of a score, one file per protocol and network, and beside one of more repetitions another; the
/// same or nothing.
std::filesystem::path ranking_in_run_folder(const std::string& set, const std::string& protocol,
                                            const std::string& network, std::size_t repetitions);

}  // namespace retort::commands
