#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "methods/decoupled/layout.h"
#include "methods/decoupled/pixel_adam.h"
#include "methods/decoupled/recover_loss.h"
#include "methods/decoupled/recover_options.h"
#include "methods/decoupled/voters.h"
#include "methods/method.h"

namespace retort::methods::decoupled {

/// Images that frozen teachers classify as wanted and whose BatchNorm statistics they know: per
/// iteration one step of every image. Images share their batch with the same others all along; no
/// batch depends on another, so they move side by side, and what is drawn for one follows from its
/// own number and the iteration.
///
/// What moves are the images, or (INFER) compensators: images that are added to real ones of all
/// classes, for every teacher and every place in a class.
class Recover : public DistillationMethod {
 public:
  explicit Recover(RecoverOptions options);

  std::int64_t iterations() const override { return options_.iterations; }
  Work work(const RunContext& run) const override;
  Prerequisites prerequisites() const override { return options_.prerequisites(); }
  void check(RunContext& run) override;
  void initialize(RunContext& run) override;
  UpdateReport update(std::int64_t iteration) override;
  /// Brought to 8-bit pixels, which is how they are stored.
  data::SyntheticSet snapshot() const override;
  std::vector<std::string> files_by_content() const override {
    return {"teachers", "teachers-dir"};
  }
  std::vector<data::Asset> assets() const override;
  void save_state(storage::StateWriter& out) const override;
  void load_state(RunContext& run, const storage::StateReader& in) override;

 private:
  /// Of the statistics of classes that this run goes by; empty: by none.
  std::string statistics_sha256() const;
  void check_data(const RunContext& run) const;
  /// What teachers that are still to be made would refuse.
  void check_unmade(const RunContext& run) const;
  /// Stored images of a class. @throws ConfigError if compensators leave room for none
  std::int64_t places(const RunContext& run, std::int64_t teachers) const;
  void prepare(RunContext& run);
  void tell_of_teachers() const;
  /// Priors that nobody gave: how much of the training images every teacher knows.
  void measure_priors(RunContext& run);
  /// Who looks for realistic crops: the teacher of the largest prior, or the first.
  const train::Member& observer() const;
  Tensor initial_values(RunContext& run) const;
  void start_from(const Tensor& values, const Moments& moments);
  /// Scales of the teachers' statistics by what they say of the first batch at the start.
  void balance_statistics();
  /// Rows of what moves that belong to a batch.
  Tensor rows_of(const Batch& batch) const;
  Recovered recovered(const Batch& batch) const;
  augment::SharedView view_for(const Batch& batch, std::int64_t iteration) const;
  double smallest_area(std::int64_t iteration) const;
  /// Batches [first, last) whose voters are asked at once.
  struct Wave {
    std::size_t first = 0;
    std::size_t last = 0;
    std::vector<std::vector<Voter>> voters;  ///< of each of them
  };
  /// The batches from `first` on that keep all threads busy, one at least.
  Wave wave_from(std::size_t first, std::int64_t iteration) const;
  /// Its batches, through the views of an iteration.
  std::vector<SeenBatch> seen(const Wave& wave, std::int64_t iteration) const;
  /// Of each of its batches what every voter says: side by side, those of one batch too.
  /// @throws Interrupted when a stop was requested
  std::vector<std::vector<RecoverTerm>> terms_of(const Wave& wave,
                                                 const std::vector<SeenBatch>& seen) const;
  /// Of all batches, wave by wave: one wave's graphs and terms are in memory at a time.
  /// @throws Interrupted when a stop was requested
  std::vector<RecoverGradient> gradients(std::int64_t iteration) const;
  void step(const Batch& batch, const Tensor& gradient, double lr, std::int64_t iteration) const;

  RecoverOptions options_;
  const data::ImageDataset* dataset_ = nullptr;
  const StopFlag* stop_ = nullptr;
  std::int64_t ipc_ = 0;  ///< stored images of a class
  Rng rng_{0};
  std::optional<TeachersOfRun> teachers_;
  std::optional<Voters> voters_;
  std::vector<Batch> batches_;
  Tensor frozen_;  ///< [K*ipc,C,H,W] real images under compensators; else undefined
  Tensor values_;  ///< [K*ipc,C,H,W] images, or [teachers*ipc,C,H,W] compensators
  Moments moments_;
  std::vector<double> scales_;  ///< of the teachers' statistics; empty: not balanced
  train::Knowledge knowledge_;  ///< what the priors are; no images: they were given, or none are
};

/// Places in a class that leave room for the compensators of so many teachers: with each of them
/// counted as an image, floor(ipc / (1 + teachers / classes)).
std::int64_t places_beside_compensators(std::int64_t ipc, std::int64_t teachers,
                                        std::int64_t classes);

/// Of teachers about batches, as many as keep all threads busy.
std::int64_t questions_at_once();

MethodInfo sre2l_info();
MethodInfo cda_info();
MethodInfo sc_dd_info();
MethodInfo lpld_info();
MethodInfo cv_dd_info();
MethodInfo infer_info();

}  // namespace retort::methods::decoupled
