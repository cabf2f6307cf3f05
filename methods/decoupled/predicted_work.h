#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lib/nn/network.h"
#include "methods/decoupled/recover_options.h"
#include "methods/method.h"

namespace retort::methods::decoupled {

using Networks = std::vector<std::shared_ptr<const nn::Network>>;

/// Of teachers that are named by network, as presets do, where no file is given.
Networks named_networks(const std::vector<std::string>& names, const data::ImageDataset& dataset);

/// What recovering will cost.  @param networks of the teachers; none: nothing is predicted
Work predicted_work(const RecoverOptions& options, const Networks& networks, const RunContext& run);

}  // namespace retort::methods::decoupled
