#pragma once

#include <optional>
#include <string>

#include "methods/decoupled/real_crops.h"
#include "methods/decoupled/teachers_of_run.h"
#include "methods/method.h"

namespace retort::methods::decoupled {

struct RdedOptions {
  TeacherOptions teachers;  ///< one, which looks at crops
  RealCropOptions crops;
  std::string store = "lossless";

  void describe(config::OptionTable& table);
  void settle(std::int64_t /*ipc*/) { teachers.settle(); }
};

/// Crops of real images that a network finds realistic, joined to mosaics (RDED). Nothing is
/// optimised: one iteration makes all images.
class Rded : public DistillationMethod {
 public:
  explicit Rded(RdedOptions options) : options_(std::move(options)) {}

  std::int64_t iterations() const override { return 1; }
  Work work(const RunContext& run) const override;
  Prerequisites prerequisites() const override;
  void check(RunContext& run) override;
  void initialize(RunContext& run) override;
  UpdateReport update(std::int64_t iteration) override;
  data::SyntheticSet snapshot() const override;
  std::vector<std::string> files_by_content() const override {
    return {"teachers", "teachers-dir"};
  }
  std::vector<data::Asset> assets() const override;
  void save_state(storage::StateWriter& out) const override;
  void load_state(RunContext& run, const storage::StateReader& in) override;

 private:
  void load_observer(RunContext& run);

  RdedOptions options_;
  RunContext* run_ = nullptr;
  std::optional<TeachersOfRun> observer_;
  FinishedClasses finished_;  ///< after an update all, in an interrupted one some
};

MethodInfo rded_info();

}  // namespace retort::methods::decoupled
