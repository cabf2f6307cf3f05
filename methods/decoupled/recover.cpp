#include "methods/decoupled/recover.h"

#include <algorithm>
#include <cmath>

#include "lib/core/error.h"
#include "lib/core/hash.h"
#include "lib/core/log.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/data/pixels.h"
#include "lib/synth/parametrization.h"
#include "lib/synth/real_selection.h"
#include "methods/decoupled/predicted_work.h"
#include "methods/decoupled/stored_pixels.h"

namespace retort::methods::decoupled {
namespace {

// What a state holds.
constexpr char kStatisticsSha256[] = "teachers/statistics-sha256";
constexpr char kPriors[] = "knowledge/percent";
constexpr char kPriorImages[] = "knowledge/images";

/// Of all batches, in their order.
RecoverLoss mean_loss(const std::vector<RecoverGradient>& gradients) {
  RecoverLoss mean;
  const auto share = 1 / double(gradients.size());
  for (const auto& [values, loss] : gradients) {
    mean.total += share * loss.total;
    mean.cross_entropy += share * loss.cross_entropy;
    mean.batch_norm += share * loss.batch_norm;
    mean.prior += share * loss.prior;
  }
  return mean;
}

Tensor random_real(const data::ImageDataset& dataset, std::int64_t ipc, const Rng& rng) {
  const Tensor chosen = synth::select_real(dataset, "random", ipc, {}, rng);
  return dataset.batch(data::Split::Train, chosen);
}

std::vector<std::int64_t> with_rows(const data::ImageDataset& dataset, std::int64_t rows) {
  const auto shape = dataset.shape();
  return {rows, shape.channels, shape.height, shape.width};
}

std::string text_of(const std::vector<train::Member>& teachers) {
  std::vector<std::string> texts;
  for (const auto& teacher : teachers) {
    const bool tested = !std::isnan(teacher.accuracy);
    texts.push_back(str(teacher.name, " (number ", teacher.number,
                        tested ? str(", ", fixed(teacher.accuracy, 1), " %") : "", ")"));
  }
  return join(texts);
}

std::vector<double> values_of(const Tensor& list) {
  const Tensor values = list.contiguous();
  const auto* begin = values.const_data_ptr<double>();
  return {begin, begin + values.numel()};
}

}  // namespace

std::int64_t places_beside_compensators(std::int64_t ipc, std::int64_t teachers,
                                        std::int64_t classes) {
  return ipc * classes / (classes + teachers);
}

std::int64_t questions_at_once() {
  // Teachers differ in what they cost, so with one each the slowest would have the others wait.
  constexpr std::int64_t kEach = 4;
  return kEach * thread_count();
}

Recover::Recover(RecoverOptions options) : options_(std::move(options)) {}

void Recover::check_data(const RunContext& run) const {
  options_.check();
  const auto& preprocessing = run.dataset.preprocessing();
  if (preprocessing.kind() != data::Preprocessing::Kind::MeanStd) {
    throw ConfigError(
        "images are kept within the range of pixels, which whitened ones do not have "
        "channel by channel: take preprocessing by mean and std, found " +
        preprocessing.description());
  }
  if (!options_.compensators && options_.init == "mosaic") {
    expect_possible(run.dataset, options_.crops, run.ipc);
  }
}

std::int64_t Recover::places(const RunContext& run, std::int64_t teachers) const {
  if (!options_.compensators) return run.ipc;
  const std::int64_t classes = run.dataset.num_classes();
  const std::int64_t places = places_beside_compensators(run.ipc, teachers, classes);
  if (places > 0) return places;
  throw ConfigError(str("ipc ", run.ipc, " of ", classes, " classes has no room for the ", teachers,
                        " compensators of an image of each: ask for a larger ipc"));
}

void Recover::check_unmade(const RunContext& run) const {
  const std::vector<train::Member> teachers = unmade_teachers(options_.teachers, run);
  RecoverOptions options = options_;
  options.statistics = "global";  // those of classes are taken when the teachers are made
  const Voters voters(options, teachers, places(run, std::int64_t(teachers.size())),
                      run.rng.child("voters"));
}

void Recover::prepare(RunContext& run) {
  check_data(run);
  dataset_ = &run.dataset;
  stop_ = run.stop;
  rng_ = run.rng;
  teachers_.emplace(options_.teachers, run);
  const std::int64_t classes = run.dataset.num_classes();
  const auto teachers = std::int64_t(teachers_->members().size());
  ipc_ = places(run, teachers);
  if (options_.compensators) {
    batches_ = for_compensators(classes, ipc_, teachers);
  } else if (options_.layout == "within-class") {
    batches_ = within_classes(classes, ipc_, options_.batch_images);
  } else {
    batches_ = across_classes(classes, ipc_, options_.batch_images);
  }
  voters_.emplace(options_, teachers_->members(), ipc_, rng_.child("voters"));
}

void Recover::check(RunContext& run) {
  if (!options_.teachers.to_be_made(run)) return prepare(run);
  check_data(run);
  check_unmade(run);
}

void Recover::tell_of_teachers() const {
  const std::vector<train::Member>& teachers = teachers_->members();
  log::info(str("recovering from ", teachers.size(),
                teachers.size() == 1 ? " teacher" : " teachers", " of '", teachers_->file(),
                "': ", text_of(teachers)));
  if (voters_->priors().empty()) return;
  log::info(str(
      "they say as much as the priors",
      knowledge_.images > 0 ? str(", measured on ", knowledge_.images, " training images,") : "",
      " are worth at temperature ", options_.vote_temperature, ": ", join(voters_->priors()),
      " %"));
}

void Recover::measure_priors(RunContext& run) {
  if (!voters_->lacks_priors()) return;
  knowledge_ = train::measured_knowledge(teachers_->members(), run.dataset, run.stop);
  voters_->set_priors(knowledge_.percent);
}

const train::Member& Recover::observer() const {
  const std::vector<double>& priors = voters_->priors();
  if (priors.empty()) return teachers_->members().front();
  const auto best = std::max_element(priors.begin(), priors.end()) - priors.begin();
  return teachers_->members()[std::size_t(best)];
}

Tensor Recover::initial_values(RunContext& run) const {
  const Rng rng = rng_.child("init");
  const std::int64_t count = run.dataset.num_classes() * ipc_;
  if (options_.init == "real") return random_real(run.dataset, ipc_, rng.child("real"));
  if (options_.init == "mosaic") {
    FinishedClasses bytes;
    realistic_images(run.dataset, observer(), options_.crops, ipc_, rng.child("mosaic"),
                     {.stop = run.stop, .progress = run.progress, .finished = &bytes});
    // CV-DD's code reads its patches from JPEG files too.
    return as_stored(run.dataset.preprocessing(), at::cat(bytes), options_.store);
  }
  const Tensor noise = at::empty(with_rows(run.dataset, count), at::kFloat);
  for (const Batch& batch : batches_) {
    noise.index_copy_(0, batch.images,
                      batch.stream(rng.child("noise"))
                          .normal_tensor(with_rows(run.dataset, batch.images.numel())));
  }
  return noise;
}

void Recover::start_from(const Tensor& values, const Moments& moments) {
  const at::Device device = dataset_->device();
  values_ = values.to(device);
  moments_ = {moments.first.to(device), moments.second.to(device)};
}

void Recover::balance_statistics() {
  const Recovered first = recovered(batches_.front());
  const Tensor shown = first.frozen.defined() ? first.frozen + first.values : first.values;
  std::vector<double> distances;
  scales_.clear();
  for (const Voter& voter : voters_->everyone(batches_.front())) {
    distances.push_back(statistics_distance(voter, shown, options_.first_bn_multiplier));
    scales_.push_back(distances.front() / distances.back());
  }
  log::info(str("at the start the statistics are ", join(distances),
                " away from the teachers', and weigh ", join(scales_)));
  voters_->set_scales(scales_);
}

void Recover::initialize(RunContext& run) {
  prepare(run);
  teachers_->expect_knowing(run);
  measure_priors(run);
  tell_of_teachers();
  Tensor values;
  if (options_.compensators) {
    frozen_ = random_real(run.dataset, ipc_, rng_.child("init").child("real"));
    values = at::zeros(with_rows(run.dataset, std::int64_t(batches_.size())), at::kFloat);
  } else {
    values = initial_values(run);
  }
  start_from(values, {at::zeros_like(values), at::zeros_like(values)});
  if (options_.balance_statistics && options_.r_bn != 0) balance_statistics();
}

Tensor Recover::rows_of(const Batch& batch) const {
  const Tensor rows = options_.compensators
                          ? at::tensor({batch.group * ipc_ + batch.part}, at::kLong)
                          : batch.images;
  return rows.to(values_.device());
}

Recovered Recover::recovered(const Batch& batch) const {
  const at::Device device = values_.device();
  Recovered recovered{.values = values_.index_select(0, rows_of(batch)),
                      .classes = batch.classes.to(device)};
  if (frozen_.defined()) recovered.frozen = frozen_.index_select(0, batch.images.to(device));
  return recovered;
}

double Recover::smallest_area(std::int64_t iteration) const {
  return options_.view_curriculum().smallest_area(iteration, options_.iterations);
}

augment::SharedView Recover::view_for(const Batch& batch, std::int64_t iteration) const {
  const auto shape = dataset_->shape();
  const auto policy =
      options_.view_policy(smallest_area(iteration), dataset_->info().mirror_changes_class);
  return augment::draw_shared_view(policy, {shape.height, shape.width},
                                   batch.stream(rng_.child("views")).child("iteration", iteration));
}

void Recover::step(const Batch& batch, const Tensor& gradient, double lr,
                   std::int64_t iteration) const {
  const Tensor rows = rows_of(batch);
  const Moments moments{moments_.first.index_select(0, rows),
                        moments_.second.index_select(0, rows)};
  Tensor values = values_.index_select(0, rows);
  adam_step(values, moments, gradient, lr, iteration);
  if (!options_.compensators) values = data::clamp_to_pixels(dataset_->preprocessing(), values);
  values_.index_copy_(0, rows, values);
  moments_.first.index_copy_(0, rows, moments.first);
  moments_.second.index_copy_(0, rows, moments.second);
}

Recover::Wave Recover::wave_from(std::size_t first, std::int64_t iteration) const {
  Wave wave{.first = first, .last = first, .voters = {}};
  for (std::int64_t questions = 0; wave.last < batches_.size() && questions < questions_at_once();
       ++wave.last) {
    wave.voters.push_back(voters_->of(batches_[wave.last], iteration));
    questions += std::int64_t(wave.voters.back().size());
  }
  return wave;
}

std::vector<SeenBatch> Recover::seen(const Wave& wave, std::int64_t iteration) const {
  std::vector<SeenBatch> seen(wave.voters.size());
  parallel_tasks(std::int64_t(seen.size()), [&](std::int64_t i) {
    const Batch& batch = batches_[wave.first + std::size_t(i)];
    seen[std::size_t(i)] =
        SeenBatch(recovered(batch), view_for(batch, iteration), options_.flip == "both");
  });
  return seen;
}

std::vector<std::vector<RecoverTerm>> Recover::terms_of(const Wave& wave,
                                                        const std::vector<SeenBatch>& seen) const {
  struct Question {
    const SeenBatch& seen;
    const Voter& voter;
    RecoverTerm& answer;
  };
  std::vector<std::vector<RecoverTerm>> terms(seen.size());
  std::vector<Question> questions;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    const std::vector<Voter>& voters = wave.voters[i];
    terms[i].resize(voters.size());
    for (std::size_t m = 0; m < voters.size(); ++m) {
      questions.push_back({seen[i], voters[m], terms[i][m]});
    }
  }
  const LossWeights weights = options_.loss_weights();
  // Also where there is one: on LibTorch's own threads it would be no faster, and other bits.
  parallel_tasks(std::int64_t(questions.size()), [&](std::int64_t i) {
    leave_if_requested(stop_, "recovering");
    const Question& question = questions[std::size_t(i)];
    question.answer = question.seen.term_of(question.voter, weights);
  });
  return terms;
}

std::vector<RecoverGradient> Recover::gradients(std::int64_t iteration) const {
  const LossWeights weights = options_.loss_weights();
  std::vector<RecoverGradient> gradients(batches_.size());
  for (std::size_t first = 0; first < batches_.size();) {
    const Wave wave = wave_from(first, iteration);
    const std::vector<SeenBatch> seen = this->seen(wave, iteration);
    const auto terms = terms_of(wave, seen);
    parallel_tasks(std::int64_t(seen.size()), [&](std::int64_t task) {
      const auto i = std::size_t(task);
      gradients[first + i] = seen[i].gradient(terms[i], weights);
    });
    first = wave.last;
  }
  return gradients;
}

UpdateReport Recover::update(std::int64_t iteration) {
  const std::vector<RecoverGradient> gradients = this->gradients(iteration);
  // Nothing has moved before the last term is there: who is stopped makes this iteration again.
  const double lr = cosine_step_size(options_.lr_images, iteration, options_.iterations);
  parallel_tasks(std::int64_t(batches_.size()), [&](std::int64_t task) {
    const auto i = std::size_t(task);
    step(batches_[i], gradients[i].values, lr, iteration);
  });
  const RecoverLoss loss = mean_loss(gradients);
  return {.loss = loss.total,
          .columns = {{"cross_entropy", loss.cross_entropy},
                      {"batch_norm", loss.batch_norm},
                      {"prior", loss.prior},
                      {"lr", lr},
                      {"smallest_area", smallest_area(iteration)}}};
}

data::SyntheticSet Recover::snapshot() const {
  const auto& preprocessing = dataset_->preprocessing();
  const Tensor values = values_.to(at::kCPU);
  data::SyntheticSet set;
  set.from_bytes = true;
  std::int64_t views = 1;
  if (options_.compensators) {
    const auto teachers = std::int64_t(teachers_->members().size());
    set.images = frozen_.to(at::kCPU).clone();
    set.decoder = synth::make_compensator(teachers, values, preprocessing)->spec();
    set.parameters[synth::kCompensators] = values.clone();
    views += teachers;
  } else {
    set.images =
        as_stored(preprocessing, data::truncated_bytes(preprocessing, values), options_.store);
  }
  const Tensor classes = at::arange(dataset_->num_classes(), at::kLong);
  set.class_index = classes.repeat_interleave(ipc_);
  set.labels = data::HardLabels{classes.repeat_interleave(ipc_ * views)};
  return set;
}

std::vector<data::Asset> Recover::assets() const {
  if (!teachers_) return {};
  data::Asset asset = teachers_->asset();
  if (knowledge_.images > 0) {
    asset.note += str("; priors ", join(knowledge_.percent), " measured on ", knowledge_.images,
                      " training images");
  }
  return {asset};
}

std::string Recover::statistics_sha256() const {
  if (options_.r_bn == 0 || options_.statistics != "class") return "";
  std::string hashes;
  for (const auto& teacher : teachers_->members()) hashes += teacher.statistics_sha256;
  return sha256_hex(hashes);
}

void Recover::save_state(storage::StateWriter& out) const {
  teachers_->save_state(out);
  const std::string statistics = statistics_sha256();
  if (!statistics.empty()) out.text(kStatisticsSha256, statistics);
  if (knowledge_.images > 0) {
    out.tensor(kPriors, at::tensor(knowledge_.percent, at::kDouble));
    out.integer(kPriorImages, knowledge_.images);
  }
  out.tensor("values", values_);
  out.tensor("moments/first", moments_.first);
  out.tensor("moments/second", moments_.second);
  if (frozen_.defined()) out.tensor("frozen", frozen_);
  if (!scales_.empty()) out.tensor("scales", at::tensor(scales_, at::kDouble));
}

void Recover::load_state(RunContext& run, const storage::StateReader& in) {
  prepare(run);
  teachers_->expect_as_begun(in);
  if (const std::string statistics = statistics_sha256(); !statistics.empty()) {
    expect_sha256(teachers_->file(), "other statistics of classes of the same networks",
                  in.text(kStatisticsSha256), statistics);
  }
  if (voters_->lacks_priors()) {
    knowledge_ = {values_of(in.tensor(kPriors)), in.integer(kPriorImages)};
    voters_->set_priors(knowledge_.percent);
  }
  start_from(in.tensor("values"), {in.tensor("moments/first"), in.tensor("moments/second")});
  if (options_.compensators) frozen_ = in.tensor("frozen").to(run.dataset.device());
  if (!in.has("scales")) return;
  scales_ = values_of(in.tensor("scales"));
  voters_->set_scales(scales_);
}

Work Recover::work(const RunContext& run) const {
  return predicted_work(options_, networks_of(options_.teachers, run), run);
}

namespace {

template <class Options>
std::unique_ptr<MethodFactory> make_factory() {
  return std::make_unique<SimpleFactory<Options, Recover>>();
}

}  // namespace

MethodInfo sre2l_info() {
  return {"sre2l", "Squeeze, recover and relabel", "Yin et al., NeurIPS 2023",
          "Images that a trained network classifies and whose statistics it knows.",
          make_factory<Sre2lOptions>};
}

MethodInfo cda_info() {
  return {"cda", "Curriculum data synthesis", "Yin and Shen, TMLR 2024",
          "SRe2L through crops that begin with the whole image.", make_factory<CdaOptions>};
}

MethodInfo sc_dd_info() {
  return {"sc-dd", "Self-supervised compression for distillation", "Zhou et al., 2024",
          "SRe2L from a backbone that was trained without labels.", make_factory<ScDdOptions>};
}

MethodInfo lpld_info() {
  return {"lpld", "Class-wise recovery for label pruning", "Xiao and He, NeurIPS 2024",
          "SRe2L a class at a time, by the statistics of the class.", make_factory<LpldOptions>};
}

MethodInfo cv_dd_info() {
  return {"cv-dd", "Committee voting", "Cui et al., 2025",
          "SRe2L from two of several teachers for every image of a class.",
          make_factory<CvDdOptions>};
}

MethodInfo infer_info() {
  return {"infer", "Inter-class feature compensators", "Zhang et al., ICLR 2025",
          "Real images, and the same with learned images added that all classes share.",
          make_factory<InferOptions>};
}

}  // namespace retort::methods::decoupled
