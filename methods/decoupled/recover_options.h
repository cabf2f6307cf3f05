#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/augment/views.h"
#include "lib/config/options.h"
#include "methods/decoupled/committee.h"
#include "methods/decoupled/curriculum.h"
#include "methods/decoupled/real_crops.h"
#include "methods/decoupled/recover_loss.h"
#include "methods/decoupled/teachers_of_run.h"

namespace retort::methods::decoupled {

/// What every recovering method lets the user choose; each sets its own defaults. These are SRe2L's
/// for CIFAR-100.
struct RecoverOptions {
  std::int64_t iterations = 1000;
  TeacherOptions teachers;

  /// Of pixels: who recovers which images. Compensators have one teacher each.
  std::string committee = "single";
  std::vector<double> priors;  ///< percent, one per teacher; empty: to be measured
  double vote_temperature = kRecoverTemperature;
  std::vector<std::string> pair;  ///< of `committee = pairs` with one image per class

  std::string layout = "across-class";
  std::int64_t batch_images = 100;
  std::string statistics = "global";
  double r_bn = 0.01;
  double first_bn_multiplier = kFirstLayerFactor;
  bool balance_statistics = false;
  double lr_images = 0.25;

  std::string init = "gaussian";
  RealCropOptions crops;  ///< of mosaics
  double crop_area = 1;   ///< of the smallest crop over the image's; 1: no crop
  std::string curriculum = "none";
  double curriculum_start = 1;
  double milestone = 1;
  std::string flip = "none";
  std::int64_t roll = 4;
  bool roll_both_ways = false;
  double tv = 0;
  double l2 = 0;

  std::string store = "lossless";  ///< of pixels

  /// Instead of pixels, images that are added to real ones of all classes (INFER).
  bool compensators = false;

  void describe(config::OptionTable& table);
  void settle(std::int64_t /*ipc*/) { teachers.settle(); }
  /// What has to be made first.  @throws ConfigError as check, and for a number of teachers that
  /// the committee has no use for
  Prerequisites prerequisites() const;
  /// @throws ConfigError for options that exclude each other, with the reason
  void check() const;
  LossWeights loss_weights() const;
  Curriculum view_curriculum() const;
  /// Of an iteration whose smallest crop has this area.
  augment::ViewPolicy view_policy(double smallest_area, bool mirror_changes_class) const;

 private:
  void describe_teachers(config::OptionTable& table);
  void describe_loss(config::OptionTable& table);
  void describe_views(config::OptionTable& table);
};

/// `sre2l`, and the base of the others.
struct Sre2lOptions : RecoverOptions {};

/// `cda`: crops that begin with the whole image.
struct CdaOptions : RecoverOptions {
  CdaOptions() {
    iterations = 4000;
    lr_images = 0.4;
    r_bn = 0.05;
    crop_area = 0.08;
    curriculum = "cosine";
    flip = "auto";
  }
};

/// `sc-dd`: a backbone that was trained without labels.
struct ScDdOptions : RecoverOptions {
  ScDdOptions() {
    teachers.can_be_made = false;
    lr_images = 0.4;
    r_bn = 0.005;
  }
};

/// `lpld`: a class at a time, by its own statistics.
struct LpldOptions : RecoverOptions {
  LpldOptions() {
    iterations = 4000;
    layout = "within-class";
    statistics = "class";
    lr_images = 0.1;
    r_bn = 0.05;
    crop_area = 0.08;
    flip = "auto";
    roll_both_ways = true;
  }
};

/// `cv-dd`: two teachers for every image of a class, from realistic crops.
struct CvDdOptions : RecoverOptions {
  CvDdOptions() {
    teachers.recipe = "adam";
    teachers.usual = {"ConvNet-3-BN", "R18m-w16"};
    iterations = 4000;
    committee = "pairs";
    init = "mosaic";
    crop_area = 0.08;
    flip = "auto";
  }
};

/// `infer`: compensators.
struct InferOptions : RecoverOptions {
  InferOptions() {
    teachers.usual = {"ConvNet-3-BN", "R18m-w16"};
    compensators = true;
    r_bn = 1;
  }
};

}  // namespace retort::methods::decoupled
