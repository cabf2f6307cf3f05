#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "datasets/dataset.h"
#include "lib/config/options.h"
#include "lib/core/error.h"
#include "lib/data/image_dataset.h"
#include "lib/data/synthetic_set.h"

namespace retort::commands {

/// Whether a dataset is opened with preprocessing of its own or with the identity.
enum class Statistics { Fit, None };

/// The dataset that a set was made from has changed since.
class OtherDataset : public DataError {
 public:
  using DataError::DataError;
};

/// Which dataset a command works on, and how it is opened.
struct DatasetOptions {
  std::string dataset;
  std::string data;
  std::int64_t images_per_class = 0;
  std::int64_t image_size = 0;
  std::int64_t image_memory = 2048;  ///< MiB, of both splits
  double test_fraction = 0.2;
  bool zca = false;
  std::string mirror_changes_class = "auto";  ///< yes | no | auto: what the source knows

  void describe(config::OptionTable& table);
  /// Takes what suits a machine and changes no image from a table whose values are recorded and
  /// compared.
  static void leave_out_machine(config::OptionTable& table);

  /// Takes what flags left at its default from the configuration a set was made with; nothing when
  /// another dataset was asked for by name.
  /// @param table bound to this object
  void adopt(config::OptionTable& table, const data::Provenance& provenance);

  /// An explicit `data` is taken as it is; else $RETORT_DATA if the files are there, else the
  /// source's usual places. Fills `dataset` (the registry's spelling) and `data` (when it came from
  /// $RETORT_DATA) with what was used;
  /// a relative `data` becomes absolute.
  /// @param seed of the subset when images_per_class > 0
  /// @throws ConfigError when no dataset is named
  data::ImageDataset open(std::uint64_t seed, Statistics statistics = Statistics::Fit);
  /// The same, and `hold_out` of every class set aside as its test split; 0: none. Every command
  /// sets the same images aside.
  data::ImageDataset open_held_out(std::uint64_t seed, double hold_out);

 private:
  std::optional<bool> mirror_choice() const;
  data::ImageDataset open_where_it_is(const datasets::OpenOptions& options);
};

/// Rule of an option that says which part of every class is held out, if any.
config::Rule<double> share_or_none();

/// "test" or "held-out training images", as documents and tables say it.
std::string tested_on_text(double hold_out);

/// Part of every class that a run of this configuration keeps from its method; 0: none.
/// @param config `key = value` lines of `condense`
double held_out_by(const std::string& config);
/// Whether a set of this configuration was condensed without the images that `hold_out` tests on.
/// @throws ConfigError saying what it was condensed with
void expect_held_out(double hold_out, const std::string& config);

/// What `open_held_out` does to a dataset that is open.
data::ImageDataset held_out(const data::ImageDataset& dataset, std::uint64_t seed, double hold_out);

/// The dataset that belongs to a set, with the set's preprocessing: from its provenance unless
/// flags say otherwise.
/// @throws ConfigError when shape or classes, or their order, differ or --zca contradicts the set;
///         OtherDataset when the dataset from the provenance has changed since
data::ImageDataset open_for_set(DatasetOptions& options, config::OptionTable& table,
                                const data::SyntheticSet& set);

}  // namespace retort::commands
