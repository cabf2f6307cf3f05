#pragma once
// Architecture search by proxies: every architecture is trained on small sets, and the ranking that
// each set gives is compared with that of networks trained on all images (Zhao et al., ICLR 2021;
// DSA, DM, DataDAM and FTD after it).

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "experiments/nas/course.h"
#include "experiments/nas/grid.h"
#include "experiments/nas/trainings.h"
#include "lib/core/progress.h"
#include "lib/core/stop.h"
#include "lib/data/image_dataset.h"
#include "lib/data/synthetic_set.h"
#include "lib/eval/protocol.h"
#include "methods/method.h"

namespace retort::experiments::nas {

/// What architectures are tried on in the place of all training images.
struct Proxy {
  enum class Kind {
    Method,        ///< a set condensed for the search
    Set,           ///< one that is given
    EarlyStopping  ///< all images, for as many steps as on a condensed set
  };
  std::string name;
  Kind kind = Kind::Method;
  /// Method: a fresh one.
  std::function<std::unique_ptr<methods::DistillationMethod>()> make_method = {};
  std::int64_t images_per_stored = 1;  ///< Method: decoded ones
  std::string config = {};             ///< Method: its name and options, `key = value` lines
  std::shared_ptr<const data::SyntheticSet> set = nullptr;  ///< Set
};

struct Study {
  const data::ImageDataset& dataset;   ///< whole: what the reference trains on and is tested on
  const data::ImageDataset& held_out;  ///< the same with a part of its training split as test split
  double hold_out = 0.1;
  const std::vector<Architecture>& grid;
  const Networks& networks;  ///< of the grid
  std::vector<Proxy> proxies;
  std::int64_t ipc = 10;
  std::int64_t seeds = 1;                       ///< networks of an architecture on every proxy
  eval::Protocol protocol;                      ///< of proxies
  std::int64_t reference_images_per_class = 0;  ///< 0: all
  std::int64_t reference_seeds = 2;
  eval::Protocol reference_protocol;
  std::vector<std::int64_t> top;  ///< sizes of top k, ascending, none above the grid's
  std::uint64_t seed = 0;
  std::string config;  ///< `key = value` lines of all of it, kept with every set
};

/// The sizes looked at when nobody gives any: 5 % of the architectures, 10 and 20, of these the
/// ones from 3 on and below the number of architectures; ascending.
std::vector<std::int64_t> default_top(std::int64_t architectures);

/// A proxy, and what became of it.
struct ProxyResult {
  std::string name;
  Proxy::Kind kind = Proxy::Kind::Method;
  std::int64_t stored = 0;  ///< images kept for it
  std::int64_t images = 0;  ///< that an epoch goes through
  std::int64_t epochs = 0;
  std::string key = {};  ///< see Course
  double condensing_seconds = 0;
  Trainings trainings;  ///< scores: accuracy on held-out training images
};

struct Outcome {
  std::int64_t reference_images = 0;
  std::int64_t reference_epochs = 0;
  Trainings reference;  ///< accuracy on test images
  std::vector<ProxyResult> proxies;
};

/// Whoever has a study made.
struct Surroundings {
  std::filesystem::path folder;  ///< sets/<proxy>/ holds run folders, trainings/ the records
  data::Provenance provenance;   ///< of every set, but for method and configuration
  std::string go_on;             ///< the command that continues an interrupted study
  ProgressSink& progress;
  const StopFlag& stop;
};

/// Condenses what is missing, trains what is missing.
/// @throws Interrupted when a stop was requested, with what was finished kept; else as methods::run
///         and train_all
Outcome make(const Study& study, const Surroundings& surroundings);

/// Training images of the reference, and its test images.
data::ImageDataset reference_dataset(const Study& study);
/// Numbers of the networks, as seeds.
std::vector<std::uint64_t> numbered_seeds(std::int64_t count);

}  // namespace retort::experiments::nas
