#include "apps/commands/dataset_options.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <utility>

#include "datasets/dataset.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/rng.h"
#include "lib/core/str.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMostMemory = std::int64_t(1) << 30;  // MiB

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// $RETORT_DATA may hold one dataset, or a folder per dataset name.
/// @param dataset the registry's spelling
std::string path_from_environment(const std::string& dataset) {
  const std::string root = environment("RETORT_DATA");
  if (root.empty()) return "";
  const fs::path own = fs::path(root) / dataset;
  return fs::exists(own) ? own.string() : root;
}

fs::path cache_dir() {
  const std::string cache = environment("XDG_CACHE_HOME");
  if (!cache.empty()) return fs::path(cache) / "retort";
  const std::string home = environment("HOME");
  return home.empty() ? fs::path() : fs::path(home) / ".cache" / "retort";
}

std::string known_datasets() {
  std::vector<std::string> names;
  for (const auto& entry : datasets::all_datasets()) names.push_back(entry.name);
  return join(names);
}

}  // namespace

void DatasetOptions::describe(config::OptionTable& table) {
  table.add("dataset", dataset, "a known dataset or layout, see `retort list datasets`",
            config::any_text());
  table.add("data", data, "where its files are; else $RETORT_DATA, else the usual places",
            config::any_text());
  table.add("images-per-class", images_per_class,
            "use a seeded subset of the training images, for trying things; 0: all",
            config::at_least(0));
  table.add("image-size", image_size, "folders: resize and crop to this side; 0: as stored",
            config::in_range(std::int64_t(0), 4096));
  table.add("image-memory", image_memory,
            "folders: MiB up to which both splits together are decoded into memory; above it "
            "images are decoded whenever they are looked at, to the same pixels",
            config::in_range(std::int64_t(0), kMostMemory));
  table.add("test-fraction", test_fraction,
            "part of the training images that becomes the test split where a source has none",
            config::in_range(0.01, 0.9));
  table.add("zca", zca, "ZCA whitening instead of mean and standard deviation");
  table.add("mirror-changes-class", mirror_changes_class,
            "digits and letters, which augmentation must not mirror; auto: yes for the MNIST and "
            "EMNIST families and for HDF5 files that say so",
            config::one_of({"auto", "yes", "no"}));
}

void DatasetOptions::leave_out_machine(config::OptionTable& table) {
  std::erase_if(table.options(),
                [](const config::Option& option) { return option.name == "image-memory"; });
}

void DatasetOptions::adopt(config::OptionTable& table, const data::Provenance& provenance) {
  if (table.find("dataset").origin == config::Origin::Flag) return;
  config::OptionTable own;
  DatasetOptions scratch;
  scratch.describe(own);
  const std::string source = "configuration in the set's provenance";
  for (const auto& entry : config::parse_config(provenance.config, source)) {
    if (!own.contains(entry.key)) continue;
    if (table.find(entry.key).origin != config::Origin::Default) continue;
    table.set(entry.key, entry.value, config::Origin::File);
  }
  if (dataset.empty()) dataset = provenance.dataset;
  if (data.empty()) data = provenance.data_path;
}

data::ImageDataset DatasetOptions::open_where_it_is(const datasets::OpenOptions& options) {
  const std::string place = path_from_environment(datasets::find_dataset(dataset).name);
  if (place.empty()) return datasets::open_dataset(dataset, options);
  datasets::OpenOptions there = options;
  there.data_path = place;
  try {
    data::ImageDataset opened = datasets::open_dataset(dataset, there);
    data = fs::absolute(place).lexically_normal().string();
    return opened;
  } catch (const datasets::FilesNotFound& missing) {
    // The variable may be meant for other datasets; this one may have a place of its own.
    try {
      data::ImageDataset opened = datasets::open_dataset(dataset, options);
      log::info(str("$RETORT_DATA holds no files of '", dataset, "': taken from the usual place"));
      return opened;
    } catch (const ConfigError&) {
      throw missing;
    } catch (const datasets::FilesNotFound&) {
      throw missing;
    }
  }
}

std::optional<bool> DatasetOptions::mirror_choice() const {
  if (mirror_changes_class == "auto") return std::nullopt;
  return mirror_changes_class == "yes";
}

config::Rule<double> share_or_none() {
  return {"0, or 0.01 .. 0.5", [](const double& x) { return x == 0 || (x >= 0.01 && x <= 0.5); }};
}

std::string tested_on_text(double hold_out) {
  return hold_out > 0 ? "held-out training images" : "test";
}

double held_out_by(const std::string& config) {
  std::map<std::string, std::string> values;
  for (const auto& entry : config::parse_config(config, "configuration of the set")) {
    values[entry.key] = entry.value;
  }
  // `condense` holds images out for checks alone, studies for all of their sets.
  const auto value = [&](const std::string& name, const std::string& otherwise) {
    const auto found = values.find(name);
    return found == values.end() ? otherwise : found->second;
  };
  if (value("eval-every", "") == "0" || value("eval-on", "held-out") != "held-out") return 0;
  double part = 0;
  config::OptionTable table;
  table.add("hold-out", part, "", share_or_none());
  table.set("hold-out", value("hold-out", "0"), config::Origin::File);
  return part;
}

void expect_held_out(double hold_out, const std::string& config) {
  const double kept = held_out_by(config);
  if (kept == hold_out) return;
  if (kept > 0) {
    throw ConfigError(str("option 'hold-out': expected ", config::number_text(kept),
                          ", the part that the set was condensed without, found ",
                          config::number_text(hold_out)));
  }
  throw ConfigError(
      str("option 'hold-out': the set was condensed from all training images, those that would be ",
          "tested on among them; condense it with --eval-every N --hold-out ",
          config::number_text(hold_out)));
}

data::ImageDataset held_out(const data::ImageDataset& dataset, std::uint64_t seed,
                            double hold_out) {
  return dataset.hold_out(hold_out, Rng(seed).child("hold-out"));
}

data::ImageDataset DatasetOptions::open_held_out(std::uint64_t seed, double hold_out) {
  const data::ImageDataset opened = open(seed);
  return hold_out > 0 ? held_out(opened, seed, hold_out) : opened;
}

data::ImageDataset DatasetOptions::open(std::uint64_t seed, Statistics statistics) {
  if (dataset.empty()) {
    throw ConfigError(str("which dataset? Give --dataset NAME; known: ", known_datasets()));
  }
  // What is recorded must lead here from any folder.
  if (!data.empty()) data = fs::absolute(data).lexically_normal().string();
  const datasets::OpenOptions options{.data_path = data,
                                      .image_size = image_size,
                                      .test_fraction = test_fraction,
                                      .split_seed = 0,
                                      .memory_limit_bytes = image_memory << 20,
                                      .mirror_changes_class = mirror_choice(),
                                      .zca = zca,
                                      .fit = statistics == Statistics::Fit,
                                      .cache_dir = cache_dir()};
  data::ImageDataset opened =
      data.empty() ? open_where_it_is(options) : datasets::open_dataset(dataset, options);
  dataset = opened.info().name;
  if (images_per_class == 0) return opened;
  return opened.images_per_class(images_per_class, Rng(seed).child("images-per-class"));
}

namespace {

/// The preprocessing belongs to the set; a flag cannot change it, but it may be a mistake to tell.
void check_zca_flag(const DatasetOptions& options, config::OptionTable& table,
                    const data::SyntheticSet& set) {
  if (table.find("zca").origin != config::Origin::Flag) return;
  const bool whitened = set.preprocessing.kind() == data::Preprocessing::Kind::Zca;
  if (options.zca == whitened) return;
  throw ConfigError(str("--zca", options.zca ? "" : "=false",
                        " does not fit the set, whose images are preprocessed by ",
                        set.preprocessing.description(), "; leave the option away"));
}

/// Sources without names of classes count them.
bool are_numbers(const std::vector<std::string>& names) {
  return std::all_of(names.begin(), names.end(), [](const std::string& name) {
    return name.find_first_not_of("0123456789") == std::string::npos;
  });
}

/// As many classes in another order, or other ones, would be a wrong accuracy.
void expect_classes(const data::ImageDataset& dataset, const data::SyntheticSet& set) {
  const auto& have = dataset.info().class_names;
  const auto& want = set.provenance.class_names;
  if (dataset.num_classes() != set.num_classes()) {
    const bool is_step = set.provenance.config.find("\nstep = ") != std::string::npos;
    throw ConfigError(str("dataset '", dataset.info().name, "' has ", dataset.num_classes(),
                          " classes, the set ", set.num_classes(),
                          is_step ? str(" (", join(want),
                                        "), those of one step of `retort "
                                        "continual`, which judges it with the others")
                                  : ""));
  }
  if (want.size() != have.size() || are_numbers(have) || are_numbers(want)) return;
  for (std::size_t c = 0; c < have.size(); ++c) {
    if (have[c] == want[c]) continue;
    throw ConfigError(str("dataset '", dataset.info().name, "' has other classes than the set, or ",
                          "another order of them: its class ", c, " is '", have[c],
                          "', that of the set '", want[c], "'"));
  }
}

/// Where the set says its dataset lay; of a set from elsewhere, the usual places. What is opened is
/// compared with what the set was made from by its SHA-256.
/// @param gone what the set says, if it is not there; else empty
data::ImageDataset open_near(DatasetOptions& options, const data::SyntheticSet& set,
                             bool place_is_asked_for, std::string& gone) {
  // The set brings its own statistics: ZCA of the whole dataset would be minutes for nothing.
  const auto open = [&] { return options.open(set.provenance.seed, Statistics::None); };
  if (place_is_asked_for || options.data.empty()) return open();
  try {
    return open();
  } catch (const datasets::FilesNotFound& missing) {
    const std::string nowhere = str(missing.what(), "; say where it is now with --data PATH");
    gone = std::exchange(options.data, "");
    try {
      return open();
    } catch (const datasets::FilesNotFound&) {
      throw datasets::FilesNotFound(nowhere);
    } catch (const ConfigError&) {  // no dataset with a usual place
      throw datasets::FilesNotFound(nowhere);
    }
  }
}

}  // namespace

data::ImageDataset open_for_set(DatasetOptions& options, config::OptionTable& table,
                                const data::SyntheticSet& set) {
  const bool chosen = table.find("dataset").origin == config::Origin::Flag ||
                      table.find("data").origin == config::Origin::Flag;
  check_zca_flag(options, table, set);
  options.adopt(table, set.provenance);
  if (options.dataset.empty()) {
    throw ConfigError("the set does not say which dataset it was made from; give --dataset");
  }
  std::string gone;
  data::ImageDataset dataset =
      open_near(options, set, table.find("data").origin == config::Origin::Flag, gone);
  if (!gone.empty()) {
    log::info(str("'", gone,
                  "', where the set says its dataset lay, is gone: taken from the usual ",
                  "place"));
  }
  const data::ImageShape have = dataset.shape();
  const data::ImageShape want = set.shape();
  if (!(have == want)) {
    throw ConfigError(str("dataset '", options.dataset, "' has images of ", have.channels, "x",
                          have.height, "x", have.width, ", the set of ", want.channels, "x",
                          want.height, "x", want.width));
  }
  expect_classes(dataset, set);
  const std::string& expected = set.provenance.dataset_sha256;
  if (!expected.empty() && expected != dataset.info().sha256) {
    const std::string text =
        str("dataset '", options.dataset, "' is not the one the set was made from: SHA-256 ",
            dataset.info().sha256.substr(0, 12), "..., the set says ", expected.substr(0, 12),
            "...", gone.empty() ? "" : str(" and '", gone, "', which is gone"));
    if (!chosen)
      throw OtherDataset(text + "; name it with --dataset or --data to use it all the same");
    log::warn(text);
  }
  return dataset.with_preprocessing(set.preprocessing);
}

}  // namespace retort::commands
