#pragma once

#include <string>

#include "lib/core/tensor.h"
#include "lib/synth/parametrization.h"
#include "methods/method.h"

namespace retort::methods {

/// What every choice of real images can be asked for; the base of a family's own
/// options.
struct RealImagesOptions {
  std::int64_t factor = 1;  ///< pack factor x factor shrunk images into each stored one

  void describe(config::OptionTable& table);
};

/// A set of real training images chosen by a rule, unchanged, or packed by a decoder: the coresets.
/// Unchanged ones are stored as the 8-bit pixels that they are, unless they are whitened.
/// Base of the families that select instead of optimising.
class RealImages : public DistillationMethod {
 public:
  std::int64_t iterations() const override { return 1; }
  void initialize(RunContext& run) override;
  UpdateReport update(std::int64_t iteration) override;
  data::SyntheticSet snapshot() const override;
  void save_state(storage::StateWriter& out) const override;
  void load_state(RunContext& run, const storage::StateReader& in) override;

 protected:
  explicit RealImages(std::int64_t factor) : factor_(factor) {}
  std::int64_t factor() const { return factor_; }
  /// @param per_class images wanted of every class  @return int64 [K*per_class], class-major
  virtual Tensor select(RunContext& run, std::int64_t per_class) const = 0;

 private:
  void prepare(RunContext& run);

  std::int64_t factor_;
  RunContext* run_ = nullptr;
  std::unique_ptr<synth::ImageDecoder> decoder_;
  Tensor stored_;  ///< [K*ipc,C,H,W]
};

}  // namespace retort::methods
