#pragma once
// Where results about a set go that nobody named a file for.

#include <filesystem>
#include <string>
#include <vector>

namespace retort::commands {

/// "ConvNet-3, dsa": how a result names a network that was trained under an augmentation.
std::string under_augmentation(const std::string& network, const std::string& augmentation);

/// Protocol, tested images and networks of a result: what is measured in the same way, with no
/// fewer networks, takes its place.
struct MeasuredBy {
  std::string protocol;
  std::string tested_on;
  std::vector<std::string> nets;  ///< as results name them
  std::size_t seeds = 0;          ///< networks of each, at most

  /// Another one of the same, of no more networks.
  bool covers(const MeasuredBy& other) const;
};

/// Of accuracies of networks: in the run folder that the set lies in, or nothing. A result of
/// another protocol, of other images or networks or more of them stays: a quick look must not cost
/// what took an hour.
std::filesystem::path evaluation_in_run_folder(const std::string& set, const MeasuredBy& mine);

/// Of a score, one file per protocol and network, and beside one of more repetitions another; the
/// same or nothing.
std::filesystem::path ranking_in_run_folder(const std::string& set, const std::string& protocol,
                                            const std::string& network, std::size_t repetitions);

}  // namespace retort::commands
