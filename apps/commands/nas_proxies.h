#pragma once
// The proxies that a command line asks for.

#include <vector>

#include "apps/commands/nas_options.h"
#include "experiments/nas/study.h"

namespace retort::commands {

/// Methods, early stopping, set files, in this order of the options.
/// @throws ConfigError for none at all, a name that is taken twice, a method that follows networks
///         trained before, and changes of a method that is no proxy; StorageError for a file
std::vector<experiments::nas::Proxy> proxies_of(const NasOptions& options);

}  // namespace retort::commands
