#include "experiments/nas/study.h"

#include <algorithm>
#include <set>
#include <utility>

#include "experiments/condensed_set.h"
#include "experiments/nas/prediction.h"
#include "experiments/outlook.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/str.h"

namespace retort::experiments::nas {
namespace {

namespace fs = std::filesystem;

class Run {
 public:
  Run(const Study& study, const Surroundings& around)
      : study_(study),
        around_(around),
        condensing_(condensing_seconds(study)),
        training_(rough_training_seconds(study)),
        reference_(reference_dataset(study)) {}

  Outcome operator()() {
    Outcome outcome;
    std::vector<Course> courses;
    for (std::size_t i = 0; i < study_.proxies.size(); ++i) {
      outcome.proxies.push_back(begun(i));
      courses.push_back(course_of(study_.proxies[i], outcome.proxies.back()));
    }
    courses.push_back(reference_course(study_.reference_protocol, reference_,
                                       numbered_seeds(study_.reference_seeds)));
    outcome.reference_images = courses.back().images_per_epoch;
    outcome.reference_epochs = courses.back().options.epochs;
    auto trainings = trained(courses);
    outcome.reference = std::move(trainings.back());
    for (std::size_t i = 0; i < outcome.proxies.size(); ++i) {
      outcome.proxies[i].trainings = std::move(trainings[i]);
    }
    return outcome;
  }

 private:
  /// Its set, if it has one, goes to `set_`.
  ProxyResult begun(std::size_t number) {
    const Proxy& proxy = study_.proxies[number];
    ProxyResult result{.name = proxy.name, .kind = proxy.kind, .trainings = {}};
    if (proxy.kind == Proxy::Kind::EarlyStopping) return result;
    set_ = proxy.kind == Proxy::Kind::Set
               ? proxy.set
               : std::make_shared<const data::SyntheticSet>(condensed(number));
    result.stored = set_->images.size(0);
    result.condensing_seconds = set_->provenance.wall_seconds;
    return result;
  }

  Course course_of(const Proxy& proxy, ProxyResult& result) {
    const auto seeds = numbered_seeds(study_.seeds);
    const bool early = proxy.kind == Proxy::Kind::EarlyStopping;
    const std::int64_t images = study_.ipc * study_.held_out.num_classes();
    Course course = with_context(str("proxy '", proxy.name, "'"), [&] {
      return early ? early_stopping(proxy.name, images, study_.protocol, study_.held_out, seeds)
                   : set_course(proxy.name, *set_, study_.protocol, study_.held_out, seeds);
    });
    result.images = course.images_per_epoch;
    result.key = course.key;
    result.epochs = course.options.epochs;
    // It draws from all of them.
    if (early) result.stored = study_.held_out.size(data::Split::Train);
    return course;
  }

  data::SyntheticSet condensed(std::size_t number) {
    const Proxy& proxy = study_.proxies[number];
    const fs::path folder = around_.folder / "sets" / proxy.name;
    const std::string config = study_.config + proxy.config;
    if (auto set = finished_set(folder, config, study_.dataset.info().sha256)) {
      return std::move(*set);
    }
    log::info(str("condensing ", study_.ipc, " images per class with ", proxy.name));
    methods::RunContext context{.dataset = study_.held_out,
                                .ipc = study_.ipc,
                                .rng = Rng(study_.seed).child("proxy").child(proxy.name),
                                .seed = study_.seed,
                                .hold_out = study_.hold_out};
    const auto method = proxy.make_method();
    data::Provenance provenance = around_.provenance;
    provenance.method = proxy.name;
    double ahead = training_;
    for (std::size_t i = number; i < condensing_.size(); ++i) ahead += condensing_[i];
    Outlook outlook(around_.progress, ahead, study_.dataset.device().is_cpu());
    outlook.begin(str("proxy ", number + 1, " of ", study_.proxies.size(), ", ", proxy.name, ": "),
                  condensing_[number]);
    return condensed_set({.method = *method,
                          .context = context,
                          .folder = folder,
                          .config = config,
                          .provenance = provenance,
                          .go_on = around_.go_on},
                         outlook, around_.stop);
  }

  std::vector<Trainings> trained(const std::vector<Course>& courses) {
    try {
      return train_all(courses, study_.networks, Records(around_.folder), around_.progress,
                       around_.stop);
    } catch (const Interrupted&) {
      throw Interrupted(str("stopped; all sets and networks that are finished are kept in ",
                            around_.folder.string(), ", go on with ", around_.go_on));
    }
  }

  const Study& study_;
  const Surroundings& around_;
  std::vector<double> condensing_;  ///< predicted, per proxy
  double training_;                 ///< predicted, of all networks
  data::ImageDataset reference_;
  std::shared_ptr<const data::SyntheticSet> set_;  ///< of the proxy at hand
};

}  // namespace

std::vector<std::int64_t> default_top(std::int64_t architectures) {
  std::set<std::int64_t> sizes;
  for (const std::int64_t k : {(architectures + 10) / 20, std::int64_t{10}, std::int64_t{20}}) {
    if (k >= 3 && k < architectures) sizes.insert(k);
  }
  return {sizes.begin(), sizes.end()};
}

Outcome make(const Study& study, const Surroundings& surroundings) {
  return Run(study, surroundings)();
}

data::ImageDataset reference_dataset(const Study& study) {
  if (study.reference_images_per_class == 0) return study.dataset;
  return study.dataset.images_per_class(study.reference_images_per_class,
                                        Rng(study.seed).child("reference"));
}

std::vector<std::uint64_t> numbered_seeds(std::int64_t count) {
  std::vector<std::uint64_t> seeds;
  for (std::int64_t i = 0; i < count; ++i) seeds.push_back(std::uint64_t(i));
  return seeds;
}

}  // namespace retort::experiments::nas
