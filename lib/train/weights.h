#pragma once
// Networks that were trained elsewhere: their weights by name.

#include <filesystem>
#include <map>
#include <string>

#include "lib/core/tensor.h"
#include "lib/nn/network.h"
#include "lib/storage/teacher_file.h"

namespace retort::train {

/// Of a safetensors file, or of a .pt file that holds a dict of tensors; names as read_pt joins
/// them.
/// @throws StorageError for anything else, TorchScript and pickled modules with the lines of Python
///         that turn them into a safetensors file
std::map<std::string, Tensor> read_weights(const std::filesystem::path& path);

/// The teacher with these weights; accuracy and all that is said of its training are left to the
/// caller. Of nested dicts the one that knows most of the network's names counts; names may begin
/// with "module." or "model."; counters of batches are passed over. Values become float32.
/// @param source begins messages: the file in quotes
/// @throws DataError unless every tensor of the network is there in its shape, with finite values,
///         and nothing else: says which are missing, which are unexpected, which have another shape
storage::Teacher teacher_of_weights(const nn::Network& network,
                                    const std::map<std::string, Tensor>& weights,
                                    const std::string& source);

}  // namespace retort::train
