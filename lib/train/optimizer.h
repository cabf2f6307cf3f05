#pragma once
// Steps of network parameters, by PyTorch's conventions.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lib/core/tensor.h"
#include "lib/storage/state_file.h"

namespace retort::train {

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// Updates `parameters` in place.  @param gradients shaped like them, the same in every step
  virtual void step(Tensors& parameters, const Tensors& gradients, double lr) = 0;
  /// Forgets all steps.
  virtual void reset() = 0;
  /// @param prefix of the names in the state: "training/"
  virtual void save_state(storage::StateWriter& out, const std::string& prefix) const = 0;
  /// @param device where the parameters are
  virtual void load_state(const storage::StateReader& in, const std::string& prefix,
                          at::Device device) = 0;

 protected:
  Optimizer() = default;
  Optimizer(const Optimizer&) = default;
  Optimizer& operator=(const Optimizer&) = default;
};

/// SGD with momentum: v <- mu v + (g + wd w), first step v = g + wd w;  w <- w - lr v.
class Sgd final : public Optimizer {
 public:
  Sgd(double momentum, double weight_decay) : momentum_(momentum), weight_decay_(weight_decay) {}

  void step(Tensors& parameters, const Tensors& gradients, double lr) override;
  void reset() override { velocity_.clear(); }
  void save_state(storage::StateWriter& out, const std::string& prefix) const override;
  void load_state(const storage::StateReader& in, const std::string& prefix,
                  at::Device device) override;

  void set_momentum(double momentum) { momentum_ = momentum; }
  const Tensors& velocity() const { return velocity_; }

 private:
  double momentum_;
  double weight_decay_;
  Tensors velocity_;
};

struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double weight_decay = 0;
  /// AdamW (Loshchilov and Hutter 2019): w <- (1 - lr wd) w beside the step; else g <- g + wd w.
  bool decoupled = false;
  /// Which parameters decay; empty: all.
  std::vector<bool> decays = {};
};

/// Kingma and Ba 2015, eps 1e-8:  w <- w - lr m^ / (sqrt(v^) + eps).
class Adam final : public Optimizer {
 public:
  explicit Adam(AdamOptions options) : options_(std::move(options)) {}

  void step(Tensors& parameters, const Tensors& gradients, double lr) override;
  void reset() override;
  void save_state(storage::StateWriter& out, const std::string& prefix) const override;
  void load_state(const storage::StateReader& in, const std::string& prefix,
                  at::Device device) override;

 private:
  AdamOptions options_;
  std::int64_t steps_ = 0;
  Tensors first_;  ///< moments
  Tensors second_;
};

}  // namespace retort::train
