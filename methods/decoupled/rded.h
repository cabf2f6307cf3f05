#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/train/committee.h"
#include "methods/decoupled/real_crops.h"
#include "methods/method.h"

namespace retort::methods::decoupled {

struct RdedOptions {
  std::string teachers;  ///< a file
  std::vector<std::string>
      teacher_names;  ///< the one of it that looks at crops; empty: the only one
  RealCropOptions crops;

  void describe(config::OptionTable& table);
};

/// Crops of real images that a network finds realistic, joined to mosaics (RDED). Nothing is
/// optimised: one iteration makes all images.
class Rded : public DistillationMethod {
 public:
  explicit Rded(RdedOptions options) : options_(std::move(options)) {}

  std::int64_t iterations() const override { return 1; }
  Work work(const RunContext& run) const override;
  void check(RunContext& run) override;
  void initialize(RunContext& run) override;
  UpdateReport update(std::int64_t iteration) override;
  data::SyntheticSet snapshot() const override;
  std::vector<data::Asset> assets() const override;
  void save_state(storage::StateWriter& out) const override;
  void load_state(RunContext& run, const storage::StateReader& in) override;

 private:
  RdedOptions options_;
  RunContext* run_ = nullptr;
  std::optional<train::Member> observer_;
  Tensor images_;  ///< [K*ipc,C,H,W] on the CPU
};

MethodInfo rded_info();

}  // namespace retort::methods::decoupled
