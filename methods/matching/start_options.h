#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lib/config/options.h"
#include "lib/data/image_dataset.h"
#include "lib/synth/parametrization.h"
#include "lib/synth/real_selection.h"

namespace retort::methods::matching {

/// Ways to start that one family alone knows.
struct FurtherStarts {
  std::vector<std::string> names = {};
  std::string explained = "";  ///< "; right: ..."
};

/// What synthetic images start from and consist of, whatever they are matched by.
struct StartOptions {
  std::string init = "random";
  std::string init_set;  ///< start from the stored images of this set file instead
  synth::FeatureOptions features;
  std::int64_t factor = 1;
  std::string decode_type = "single";

  void describe_start(config::OptionTable& table, const FurtherStarts& further = {});
  /// @throws ConfigError for options that exclude each other
  void check_start() const;
  /// Whether images are chosen by features that have to be computed.
  bool needs_features() const;
  /// How stored images become those that networks see.
  std::unique_ptr<synth::ImageDecoder> decoder_for(const data::ImageDataset& dataset) const;
};

}  // namespace retort::methods::matching
