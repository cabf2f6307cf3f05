#include "lib/train/labelling.h"

#include <algorithm>
#include <atomic>
#include <list>
#include <mutex>
#include <utility>
#include <vector>

#include "lib/core/clock.h"
#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/storage/state_file.h"

namespace retort::train {
namespace {

constexpr char kPart[] = "labels-";
constexpr std::int64_t kPartBytes = 32 << 20;
/// So many batches per thread are given out together: enough that threads hardly wait for the last
/// one, few enough that saving can come between.
constexpr std::int64_t kBatchesPerThread = 8;
constexpr double kSecondsUnsaved = 0.5;
/// Saving shall not take more than this part of the time.
constexpr double kSavingShare = 0.05;

std::int64_t batches_of_part(const data::ViewsInfo& info) {
  const std::int64_t bytes = info.batch * info.classes * 2;
  return std::max<std::int64_t>(1, kPartBytes / bytes);
}

/// Of a batch, in the whole record.
std::int64_t first_view(const data::ViewsInfo& info, std::int64_t batch) {
  const std::int64_t per_epoch = (info.images + info.batch - 1) / info.batch;
  return batch / per_epoch * info.images + batch % per_epoch * info.batch;
}

}  // namespace

data::SoftLabels image_labels(const RelabelRecipe& recipe, const Labeler& labeler,
                              const Tensor& images, const Tensor& classes) {
  return {.classes = classes,
          .values = data::half_logits(static_labels(labeler, images)).to(at::kFloat),
          .kind = data::SoftLabels::Kind::Logit,
          .learned = false,
          .recipe = recipe.text()};
}

/// Labels of consecutive batches.
struct Labelling::Part {
  std::int64_t number = 0;
  std::int64_t first = 0;      ///< batch
  std::vector<char> made;      ///< per batch
  Tensor values;               ///< float16 [n,K], of all its batches
  std::int64_t first_row = 0;  ///< of `values`, in the record

  std::vector<std::int64_t> missing() const {
    std::vector<std::int64_t> batches;
    for (std::size_t i = 0; i < made.size(); ++i) {
      if (!made[i]) batches.push_back(first + std::int64_t(i));
    }
    return batches;
  }
  Tensor rows(const data::ViewsInfo& info, std::int64_t batch) const {
    const std::int64_t begin = first_view(info, batch);
    return values.narrow(0, begin - first_row, first_view(info, batch + 1) - begin);
  }
};

namespace {

/// Draws views again and takes their labels from `load`, which knows one part at a time. Students
/// side by side are not always in the same one.
template <class Part>
class PartRecord final : public data::RecordedViews {
 public:
  PartRecord(RelabelRecipe recipe, data::ViewsInfo info, std::int64_t batches,
             std::int64_t part_batches, std::function<Part(std::int64_t)> load)
      : recipe_(std::move(recipe)),
        info_(std::move(info)),
        batches_(batches),
        part_batches_(part_batches),
        load_(std::move(load)) {}

  const data::ViewsInfo& info() const override { return info_; }
  std::int64_t batches() const override { return batches_; }
  std::int64_t views() const override { return info_.images * info_.epochs; }
  data::ViewBatch batch(std::int64_t index) const override {
    data::ViewBatch batch = drawn_batch(recipe_, info_, index);
    const std::lock_guard lock(mutex_);
    batch.values = at_hand(index / part_batches_).rows(info_, index);
    return batch;
  }

 private:
  /// Moved to the front of those at hand.
  const Part& at_hand(std::int64_t number) const {
    auto found = std::find_if(parts_.begin(), parts_.end(),
                              [&](const Part& part) { return part.number == number; });
    if (found == parts_.end()) {
      if (std::int64_t(parts_.size()) >= thread_count()) parts_.pop_back();
      parts_.push_front(load_(number));
      found = parts_.begin();
    }
    parts_.splice(parts_.begin(), parts_, found);
    return parts_.front();
  }

  RelabelRecipe recipe_;
  data::ViewsInfo info_;
  std::int64_t batches_;
  std::int64_t part_batches_;
  std::function<Part(std::int64_t)> load_;
  mutable std::mutex mutex_;
  mutable std::list<Part> parts_;  // the last ones asked for, the very last one first
};

}  // namespace

Labelling::Labelling(RelabelRecipe recipe, const Labeler& labeler, const Tensor& images,
                     const std::filesystem::path& out, const std::string& plan,
                     PartsFolder::OtherPlan other)
    : recipe_(std::move(recipe)),
      labeler_(labeler),
      images_(images),
      info_(views_info(recipe_, images.size(0), labeler.committee().front().network->num_classes(),
                       {images.size(2), images.size(3)})),
      batches_(recipe_.epochs * batches_per_epoch(recipe_, info_.images)),
      part_batches_(batches_of_part(info_)),
      folder_(out, {{kPart}, "labels this set", "unfinished labels"}) {
  folder_.begin(plan, other);
  for (const auto& [number, file] : folder_.files(kPart)) {
    const Part part = load(number);
    for (std::size_t i = 0; i < part.made.size(); ++i) {
      if (part.made[i]) views_done_ += part.rows(info_, part.first + std::int64_t(i)).size(0);
    }
  }
}

Labelling::Part Labelling::load(std::int64_t number) const {
  Part part;
  part.number = number;
  part.first = number * part_batches_;
  part.made.resize(std::size_t(std::min(part_batches_, batches_ - part.first)), 0);
  part.first_row = first_view(info_, part.first);
  const std::int64_t end = first_view(info_, part.first + std::int64_t(part.made.size()));
  const auto file = folder_.file(kPart, number);
  if (!std::filesystem::exists(file)) {
    part.values = at::zeros({end - part.first_row, info_.classes}, at::kHalf);
    return part;
  }
  const storage::StateReader in(file);
  const Tensor made = in.tensor("labels/made");
  std::copy_n(made.const_data_ptr<std::uint8_t>(), part.made.size(), part.made.begin());
  part.values = in.tensor("labels/values");
  return part;
}

void Labelling::save(const Part& part) const {
  const Tensor made = at::empty({std::int64_t(part.made.size())}, at::kByte);
  std::copy(part.made.begin(), part.made.end(), made.data_ptr<std::uint8_t>());
  storage::StateWriter out;
  out.tensor("labels/made", made);
  out.tensor("labels/values", part.values);
  out.save(folder_.file(kPart, part.number));
}

void Labelling::make(Part& part, const std::function<void(std::int64_t)>& progress,
                     const StopFlag* stop) {
  const std::vector<std::int64_t> missing = part.missing();
  const auto count = std::int64_t(missing.size());
  std::atomic<std::int64_t> done{views_done_};
  const auto label = [&](std::int64_t batch) {
    if (stop != nullptr && stop->requested()) return;
    const data::ViewBatch drawn = drawn_batch(recipe_, info_, batch);
    part.rows(info_, batch).copy_(labels_of_batch(recipe_, labeler_, images_, drawn));
    part.made[std::size_t(batch - part.first)] = 1;
    done += std::int64_t(drawn.images.size());
    if (progress) progress(done);
  };
  double saved = wall_seconds();
  double patience = kSecondsUnsaved;
  const std::int64_t step = kBatchesPerThread * thread_count();
  for (std::int64_t begin = 0; begin < count; begin += step) {
    const std::int64_t size = std::min(step, count - begin);
    const auto task = [&](std::int64_t i) { label(missing[std::size_t(begin + i)]); };
    if (images_.is_cpu()) {
      parallel_tasks(size, task);
    } else {
      for (std::int64_t i = 0; i < size; ++i) task(i);
    }
    views_done_ = done;
    const bool stopped = stop != nullptr && stop->requested();
    if (!stopped && begin + size < count && wall_seconds() - saved < patience) continue;
    const double start = wall_seconds();
    save(part);
    saved = wall_seconds();
    patience = std::max(kSecondsUnsaved, (saved - start) / kSavingShare);
    leave_if_requested(stop, "labelling");
  }
}

void Labelling::run(const std::function<void(std::int64_t)>& progress, const StopFlag* stop) {
  const std::int64_t parts = (batches_ + part_batches_ - 1) / part_batches_;
  for (std::int64_t number = 0; number < parts; ++number) {
    Part part = load(number);
    if (part.missing().empty()) continue;
    make(part, progress, stop);
  }
}

std::shared_ptr<const data::RecordedViews> Labelling::record() const {
  return std::make_shared<PartRecord<Part>>(recipe_, info_, batches_, part_batches_,
                                            [this](std::int64_t number) { return load(number); });
}

}  // namespace retort::train
