#include "methods/decoupled/stored_pixels.h"

#include "lib/vision/vision.h"

namespace retort::methods::decoupled {

void describe_store(config::OptionTable& table, std::string& store) {
  table.add("store", store,
            "8-bit pixels as they are, or as a JPEG of quality 75 gives them back, which is what "
            "later stages of the papers' codes see",
            config::one_of({"lossless", "jpeg75"}));
}

Tensor as_stored(const data::Preprocessing& preprocessing, const Tensor& bytes,
                 const std::string& store) {
  return preprocessing.apply(store == "jpeg75" ? vision::through_jpeg(bytes, kJpegQuality) : bytes);
}

}  // namespace retort::methods::decoupled
