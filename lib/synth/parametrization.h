#pragma once
// What the optimiser updates, and how images come out of it.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/core/tensor.h"
#include "lib/data/synthetic_set.h"

namespace retort::synth {

/// FYI (Son et al. 2024): all images, then all of them mirrored; labels are doubled by
/// at::cat({labels, labels}).  @param images [N,C,H,W]  @return [2N,C,H,W], differentiable
Tensor with_flips(const Tensor& images);

/// Decoder of stored images, by id: "pixels", "multi-formation", "compensator".
class ImageDecoder {
 public:
  virtual ~ImageDecoder() = default;
  virtual data::Decoder spec() const = 0;
  /// Training images per stored image.
  virtual std::int64_t images_per_stored() const = 0;
  /// Real images that `pack` puts into one stored image. Fewer than images_per_stored for type
  /// "multi", whose coarser views show the same pixels again.
  virtual std::int64_t images_per_packed() const = 0;
  /// Row t*n+i of the result is view t of stored image i, so several classes may be decoded in one
  /// call and sorted afterwards.
  /// @param stored [n,C,H,W]  @return [n*k,C,H,W], differentiable in `stored`
  virtual Tensor decode(const Tensor& stored) const = 0;
  /// The inverse at initialisation: packs real images into n stored ones (IDC's "mix"); image
  /// t*n+i becomes tile t of stored image i.
  /// @param images [n*images_per_packed,C,H,W]  @return [n,C,H,W]
  /// @throws ConfigError if the number of images is no multiple
  virtual Tensor pack(const Tensor& images) const = 0;
};

/// Factor 1 .. 5. type "single": every stored image is a factor x factor grid of small images;
/// "multi": the union of factors 1 .. factor (Kim et al. 2022, section 4.2). Each tile is enlarged
/// bilinearly (half-pixel centres) to the full size.
/// @param pad_value [C] value that stands for mid-gray 0.5 in preprocessed space (`mid_gray`), used
///        at the right and bottom where a side is no multiple of the factor
/// @throws ConfigError for another factor or type
std::unique_ptr<ImageDecoder> make_multi_formation(std::int64_t factor, const std::string& type,
                                                   Tensor pad_value);
std::unique_ptr<ImageDecoder> make_pixels();

/// Images [n,C,H,W] of all classes with a compensator [1,C,H,W] added to each, or as many as there
/// are images, and brought to 8-bit pixels: clamped to their range, cut off.
Tensor compensated(const data::Preprocessing& preprocessing, const Tensor& images,
                   const Tensor& compensators);

/// INFER (Zhang et al., ICLR 2025): view 0 of a stored image is the image, view m = 1 .. copies
/// place j of its class with compensator (m-1) n + j added. Decodes a whole class at once.
/// @param compensators [copies*n,C,H,W] float32, for n stored images of every class
/// @throws ConfigError unless their number is a multiple of `copies`, which is 1 or more
std::unique_ptr<ImageDecoder> make_compensator(std::int64_t copies, Tensor compensators,
                                               const data::Preprocessing& preprocessing);
inline constexpr char kCompensators[] = "compensators";  ///< their name among a set's parameters

/// float64 [C]: mid-gray 0.5 in preprocessed space; under ZCA its mean over the pixels.
Tensor mid_gray(const data::Preprocessing& preprocessing, data::ImageShape shape);

/// From a stored specification.
/// @param parameters of the set, where the decoder needs some
/// @throws ConfigError for an unknown id or type (naming the known ones), a version newer than
///         this program's, a missing or malformed entry or parameter
std::unique_ptr<ImageDecoder> make_decoder(const data::Decoder& spec,
                                           const data::Preprocessing& preprocessing,
                                           data::ImageShape shape,
                                           const std::map<std::string, Tensor>& parameters = {});

/// Pixels for factor 1, multi-formation above.
std::unique_ptr<ImageDecoder> make_decoder(std::int64_t factor, const std::string& type,
                                           const data::Preprocessing& preprocessing,
                                           data::ImageShape shape);

struct ParametrizationInfo {
  std::string name;
  std::string description;
};
const std::vector<ParametrizationInfo>& parametrizations();

/// The images and labels that networks train on, without a graph. The images of a "pixels" set are
/// the stored tensor itself.
/// @throws DataError if the set's labels do not go with its images
data::LabelledImages decode(const data::SyntheticSet& set);

/// Stored images as one leaf tensor and the decoder on top.
class Parametrization {
 public:
  /// @param stored [K*n,C,H,W] class-major floating; cloned, becomes a leaf that requires grad
  /// @throws ConfigError unless there are as many images of every class, at least one
  Parametrization(Tensor stored, std::int64_t num_classes, std::unique_ptr<ImageDecoder> decoder);

  const Tensor& stored() const { return stored_; }  ///< the leaf
  std::int64_t num_classes() const { return num_classes_; }
  std::int64_t ipc() const;
  const ImageDecoder& decoder() const { return *decoder_; }

  /// int64 [K*n*k], labels in decoding order of the whole set
  Tensor labels() const;

 private:
  Tensor stored_;
  std::int64_t num_classes_;
  std::unique_ptr<ImageDecoder> decoder_;
};

}  // namespace retort::synth
