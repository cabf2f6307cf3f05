#pragma once
// What the optimiser updates, and how images come out of it.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lib/core/tensor.h"
#include "lib/data/synthetic_set.h"

namespace retort::synth {

/// Class-major images with a label each: what an objective looks at.
struct DecodedBatch {
  Tensor images;                     ///< [N,C,H,W], carries the graph to the parameters
  std::vector<std::int64_t> classes; ///< the class of each group, in order
  std::vector<std::int64_t> counts;  ///< images of each group; their sum is N
};

/// Decoder of stored images, by id: "pixels", "multi-formation".
class ImageDecoder {
 public:
  virtual ~ImageDecoder() = default;
  virtual data::Decoder spec() const = 0;
  /// Training images per stored image.
  virtual std::int64_t images_per_stored(std::int64_t height) const = 0;
  /// @param stored [n,C,H,W] of one class  @return [n*k,C,H,W], differentiable in `stored`
  virtual Tensor decode(const Tensor& stored) const = 0;
  /// The inverse at initialisation: packs n*k real images into n stored ones (IDC's "mix").
  /// @param images [n*k,C,H,W]  @return [n,C,H,W]
  virtual Tensor pack(const Tensor& images) const = 0;
};

/// Factor 1 .. 5. type "single": every stored image is a factor x factor grid of small images;
/// "multi": the union of factors 1 .. factor (Kim et al. 2022, section 4.2).
/// @param pad_value [C] value that stands for mid-gray 0.5 in preprocessed space, used where the
///        side is no multiple of the factor
std::unique_ptr<ImageDecoder> make_multi_formation(std::int64_t factor, const std::string& type,
                                                   Tensor pad_value);
std::unique_ptr<ImageDecoder> make_pixels();

/// From a stored specification. @throws ConfigError for an unknown id, naming the known ones
std::unique_ptr<ImageDecoder> make_decoder(const data::Decoder& spec,
                                           const data::Preprocessing& preprocessing,
                                           data::ImageShape shape);

struct ParametrizationInfo {
  std::string name;
  std::string description;
};
const std::vector<ParametrizationInfo>& parametrizations();

/// The images and labels that networks train on, without a graph.
data::LabelledImages decode(const data::SyntheticSet& set);

/// Stored images as one leaf tensor and the decoder on top.
class Parametrization {
 public:
  /// @param stored [K*n,C,H,W] class-major float32; cloned, becomes a leaf that requires grad
  Parametrization(Tensor stored, std::int64_t num_classes, std::unique_ptr<ImageDecoder> decoder);

  const Tensor& stored() const { return stored_; }  ///< the leaf
  void set_stored(const Tensor& values);            ///< copies values into the leaf
  std::int64_t num_classes() const { return num_classes_; }
  std::int64_t ipc() const;
  const ImageDecoder& decoder() const { return *decoder_; }

  /// Decoded images of the classes first .. last-1, with the graph when gradients are on.
  DecodedBatch decode(std::int64_t first, std::int64_t last) const;
  /// int64 [K*n*k], labels in decoding order of the whole set
  Tensor labels() const;

 private:
  Tensor stored_;
  std::int64_t num_classes_;
  std::unique_ptr<ImageDecoder> decoder_;
};

}  // namespace retort::synth
