#pragma once
// Where results about a set go that nobody named a file for.

#include <filesystem>
#include <string>
#include <vector>

namespace retort::commands {

/// "ConvNet-3, dsa": how a result names a network that was trained under an augmentation.
std::string under_augmentation(const std::string& network, const std::string& augmentation);

/// Of accuracies of networks under a protocol: in the run folder that the set lies in, or nothing.
/// A result of another protocol or of other networks there stays: a quick look must not cost what
/// took an hour.
/// @param networks as results name them
std::filesystem::path evaluation_in_run_folder(const std::string& set, const std::string& protocol,
                                               const std::vector<std::string>& networks);

/// Of a score, one file per protocol and network; the same or nothing.
std::filesystem::path ranking_in_run_folder(const std::string& set, const std::string& protocol,
                                            const std::string& network);

}  // namespace retort::commands
