#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "lib/core/tensor.h"
#include "lib/data/preprocessing.h"

namespace retort::data {

/// Class indices; int64 [N], one per decoded image.
struct HardLabels {
  Tensor classes;
};

/// One learned or stored distribution per decoded image.
struct SoftLabels {
  Tensor classes;  ///< int64 [N], the hard label beside it
  Tensor values;   ///< float32 [N,K]
  enum class Kind { Logit, Probability };
  Kind kind = Kind::Logit;
  bool learned = false;
  /// How teachers gave them to finished images, `key = value` lines (train::RelabelRecipe); empty:
  /// the set had them from the beginning. Those of teachers are numbers of float16.
  std::string recipe = {};

  bool by_teachers() const { return !recipe.empty(); }
};

using Labels = std::variant<HardLabels, SoftLabels>;

/// int64 [N], whatever the kind
const Tensor& hard_classes(const Labels& labels);

/// Which decoder turns stored images into training images, with its configuration.
/// "pixels" is the identity; "multi-formation" takes factor and type (Kim et al. 2022);
/// "compensator" takes copies, and parameters of the set (Zhang et al. 2025).
struct Decoder {
  std::string id = "pixels";
  std::int64_t version = 1;
  std::map<std::string, std::string> config;
};

/// "multi-formation (factor 2, type single)"
std::string decoder_text(const Decoder& decoder);

/// Where a set came from: enough to repeat it.
struct Provenance {
  std::string program_version;
  std::string method;
  std::string config;  ///< the resolved configuration, `key = value` lines
  std::uint64_t seed = 0;
  std::string dataset;
  std::string dataset_sha256;
  std::string data_path;  ///< where the files lay, absolute; may be empty
  std::vector<std::string> class_names;
  std::int64_t iterations = 0;
  double wall_seconds = 0;
  double cpu_seconds = 0;
  double peak_memory_bytes = 0;
  std::string processor;
  std::int64_t threads = 0;
};

/// Networks that a set was made with, kept in a file of their own.
struct Asset {
  std::string role;         ///< "experts", "teachers", kLabelers
  std::string file;         ///< its name, without folders
  std::string sha256;       ///< of those that were used
  std::string id;           ///< of experts what they have in common, see storage::expert_id
  std::int64_t count = 0;   ///< networks in it that were used
  double wall_seconds = 0;  ///< of training them, summed: those trained side by side count each
  std::string note;         ///< what they are, in words
  /// Percent, mean over the networks, where each was tested; of experts never.
  std::optional<double> accuracy = {};
  bool operator==(const Asset&) const = default;
};

/// The role of teachers that labelled the images of a finished set.
inline constexpr char kLabelers[] = "labelers";

class RecordedViews;  // lib/data/recorded_views.h

/// A condensed dataset. Stored images are what costs bytes; decoded images are what networks are
/// trained on (`synth::decode`). For the decoder "pixels" the two are the same.
struct SyntheticSet {
  Tensor images;       ///< [M,C,H,W] float32, stored images in preprocessed space
  Tensor class_index;  ///< int64 [M], class of each stored image; class-major by convention
  /// What the decoder needs beside the images, float32, by name; most need nothing.
  std::map<std::string, Tensor> parameters = {};
  /// The images are those of 8-bit pixels, preprocessed, and are stored as such: of "pixels", and
  /// of decoders that have parameters.
  bool from_bytes = false;
  Labels labels;  ///< one per decoded image, in decoding order
  /// Labels of augmented views, what a student trains on if they are there; null: none.
  std::shared_ptr<const RecordedViews> views = nullptr;
  Decoder decoder;
  Preprocessing preprocessing = Preprocessing::identity(1);
  std::optional<double> learned_lr;  ///< for methods that learn the student's step size
  std::vector<Asset> assets;
  Provenance provenance;

  ImageShape shape() const;
  std::int64_t num_classes() const;  ///< from class_names, else largest label + 1
};

/// Images and labels that a network trains on.
struct LabelledImages {
  Tensor images;  ///< [N,C,H,W] float32, preprocessed
  Labels labels;  ///< N entries
};

}  // namespace retort::data
