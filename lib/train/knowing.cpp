// Whether teachers know a dataset, and why they do not.

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/parallel.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/train/committee.h"
#include "lib/train/voting.h"

namespace retort::train {
namespace {

constexpr std::int64_t kSample = 500;
/// What decides between reasons takes more: some images per class, up to a limit.
constexpr std::int64_t kPerClass = 6;
constexpr std::int64_t kLargestSample = 2000;
constexpr std::int64_t kImagesAtOnce = 50;

/// Images and their classes.
struct Sample {
  Tensor indices;  // int64 [n]
  Tensor classes;  // int64 [n]
};

/// About `wanted` training images, as many of every class as there can be; of more classes than
/// that one image from some of them. The images of a class lie beside each other.
Sample draw_sample(const data::ImageDataset& dataset, std::int64_t wanted, const Rng& rng) {
  const std::int64_t classes = dataset.num_classes();
  const std::int64_t per_class = std::max<std::int64_t>(1, wanted / classes);
  Rng choice = rng.child("classes");
  std::vector<std::int64_t> chosen = choice.sample(classes, std::min(classes, wanted));
  std::sort(chosen.begin(), chosen.end());
  std::vector<std::int64_t> indices;
  for (const std::int64_t c : chosen) {
    const Tensor& members = dataset.class_indices(c);
    const auto* member = members.const_data_ptr<std::int64_t>();
    Rng images = rng.child("images", c);
    for (const std::int64_t i :
         images.sample(members.numel(), std::min(per_class, members.numel()))) {
      indices.push_back(member[i]);
    }
  }
  const Tensor all = at::tensor(indices, at::kLong);
  return {all, dataset.labels(data::Split::Train).index_select(0, all)};
}

/// Which class the teacher sees in every image.  @return int64 [n], on the CPU
template <class Images>
Tensor answers(const Member& teacher, const Sample& sample, const Images& images) {
  const at::NoGradGuard no_grad;
  const Tensors rows = sample.indices.split(kImagesAtOnce);
  Tensors found(rows.size());
  parallel_tasks(std::int64_t(rows.size()), [&](std::int64_t task) {
    const auto t = std::size_t(task);
    const Tensor logits = teacher.network->forward(teacher.state, images(rows[t])).logits;
    found[t] = logits.argmax(1).cpu();
  });
  return at::cat(found);
}

Tensor answers(const Member& teacher, const data::ImageDataset& dataset, const Sample& sample) {
  return answers(teacher, sample,
                 [&](const Tensor& rows) { return dataset.batch(data::Split::Train, rows); });
}

/// Answers for images in which blue comes before red.
Tensor answers_swapped(const Member& teacher, const data::ImageDataset& dataset,
                       const Sample& sample) {
  return answers(teacher, sample, [&](const Tensor& rows) {
    const Tensor swapped = dataset.pixels(data::Split::Train, rows).flip(1);
    return dataset.preprocessing().apply(swapped).to(dataset.device());
  });
}

double share_right(const Tensor& answers, const Tensor& classes) {
  return answers.eq(classes).to(at::kDouble).mean().item<double>();
}

/// What whoever answers blindly gets right at best: always the largest class.
double chance(const Tensor& classes) {
  return at::bincount(classes).max().item<double>() / double(classes.numel());
}

/// Right answers from which on a teacher counts as knowing: chance and, beyond it, three standard
/// errors of a blind guess, and once more chance itself or, where there are few classes, a quarter
/// of what is missing to all. Few images cannot tell more than that half of this is there.
double threshold(double chance, std::int64_t images) {
  const double errors = 3 * std::sqrt(chance * (1 - chance) / double(images));
  const double far = std::min(chance, (1 - chance) / 4);
  return chance + std::min(std::max(errors, far), (1 - chance) / 2);
}

bool knows(const Tensor& answers, const Tensor& classes) {
  return share_right(answers, classes) >= threshold(chance(classes), classes.numel());
}

/// What each answer stands for if classes have another order: one to one, the pair that occurs
/// most often first.  @return int64 [K], -1 where nothing is known
Tensor best_relabelling(const Tensor& answers, const Tensor& classes, std::int64_t count) {
  Tensor confusion = at::bincount(answers * count + classes, {}, count * count).view({-1, count});
  Tensor meaning = at::full({count}, -1, at::kLong);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto place = confusion.argmax().item<std::int64_t>();
    if (confusion.view(-1)[place].item<std::int64_t>() <= 0) break;
    meaning[place / count] = place % count;
    confusion[place / count].fill_(0);
    confusion.select(1, place % count).fill_(0);
  }
  return meaning;
}

/// How many answers are right once they are relabelled. Every second image of a class tells what
/// answers stand for, the others are counted: a relabelling fits whatever it was made from.
std::optional<double> right_in_other_order(const Tensor& answers, const Sample& sample,
                                           std::int64_t count) {
  std::vector<std::int64_t> fit;
  std::vector<std::int64_t> counted;
  const auto* classes = sample.classes.const_data_ptr<std::int64_t>();
  std::int64_t position = 0;
  for (std::int64_t i = 0; i < sample.classes.numel(); ++i) {
    position = i > 0 && classes[i] == classes[i - 1] ? position + 1 : 0;
    (position % 2 == 0 ? fit : counted).push_back(i);
  }
  if (counted.empty()) return std::nullopt;
  const Tensor a = at::tensor(fit, at::kLong);
  const Tensor b = at::tensor(counted, at::kLong);
  const Tensor meaning =
      best_relabelling(answers.index_select(0, a), sample.classes.index_select(0, a), count);
  const Tensor relabelled = meaning.index_select(0, answers.index_select(0, b));
  const Tensor expected = sample.classes.index_select(0, b);
  const double right = share_right(relabelled, expected);
  // A weak teacher that is right often enough in the order it has would only gain a little.
  const double before = share_right(answers.index_select(0, b), expected);
  if (!knows(relabelled, expected) || right < 2 * before) return std::nullopt;
  return right;
}

struct Alternative {
  std::string text;
  data::Preprocessing preprocessing;
};

/// What networks from elsewhere are usually trained on.
std::vector<Alternative> alternatives(std::int64_t channels) {
  const auto all = [&](double value) { return std::vector<double>(std::size_t(channels), value); };
  std::vector<Alternative> list = {
      {"pixels in 0 .. 1", data::Preprocessing::identity(channels)},
      {"pixels in -1 .. 1", data::Preprocessing::mean_std(all(0.5), all(0.5))},
      {"pixels in 0 .. 255", data::Preprocessing::mean_std(all(0), all(1.0 / 255))}};
  if (channels == 3) {
    list.push_back({"ImageNet's mean and standard deviation",
                    data::Preprocessing::mean_std({0.485, 0.456, 0.406}, {0.229, 0.224, 0.225})});
  }
  return list;
}

std::string percent(double share) { return fixed(100 * share, 1) + " %"; }

/// The preprocessing under which the teacher knows the images; empty: none that was tried.
std::string other_preprocessing(const Member& teacher, const data::ImageDataset& dataset,
                                const Sample& sample) {
  const auto found = [&](const Tensor& answers, const std::string& text) {
    return str("other preprocessing: with ", text, " it is right for ",
               percent(share_right(answers, sample.classes)));
  };
  for (const auto& [text, preprocessing] : alternatives(dataset.shape().channels)) {
    const data::ImageDataset other = dataset.with_preprocessing(preprocessing);
    const Tensor given = answers(teacher, other, sample);
    if (knows(given, sample.classes)) return found(given, text);
  }
  if (dataset.shape().channels != 3) return "";
  const Tensor given = answers_swapped(teacher, dataset, sample);
  return knows(given, sample.classes) ? found(given, "blue before red") : "";
}

/// Into how many classes nine of ten answers fall.
std::int64_t classes_answered(const Tensor& answers) {
  const Tensor counts = std::get<0>(at::bincount(answers).sort(/*dim=*/0, /*descending=*/true));
  const Tensor covered = counts.cumsum(0).to(at::kDouble) / double(answers.numel());
  return covered.lt(0.9).sum().item<std::int64_t>() + 1;
}

std::string trained_or_not(const Member& teacher, const Tensor& given, std::int64_t classes) {
  const std::int64_t answered = classes_answered(given);
  const bool collapsed = answered <= std::max<std::int64_t>(1, classes / 4);
  const std::string spread =
      str("nine of ten answers name ", answered, " of ", classes, " classes");
  const double share = teacher.accuracy / 100;
  if (!std::isfinite(share)) {
    return str("a teacher that is not trained", collapsed ? ", or other preprocessing" : "", ": ",
               spread);
  }
  if (share < threshold(1.0 / double(classes), kSample)) {
    return str("a teacher that is not trained: its file says ", percent(share));
  }
  return str(collapsed ? "other preprocessing" : "other images",
             " than those it was trained with: its file says ", percent(share), ", here ", spread);
}

std::string probable_reason(const Member& teacher, const data::ImageDataset& dataset,
                            const Rng& rng) {
  const std::int64_t classes = dataset.num_classes();
  const std::int64_t wanted = std::max(kSample, std::min(kPerClass * classes, kLargestSample));
  const Sample sample = draw_sample(dataset, wanted, rng);
  const Tensor given = answers(teacher, dataset, sample);
  if (const auto right = right_in_other_order(given, sample, classes)) {
    return str("another order of the classes: put in its own order it is right for ",
               percent(*right));
  }
  const std::string preprocessing = other_preprocessing(teacher, dataset, sample);
  return preprocessing.empty() ? trained_or_not(teacher, given, classes) : preprocessing;
}

}  // namespace

void expect_knowing(const std::vector<Member>& committee, const std::filesystem::path& file,
                    const data::ImageDataset& dataset, const Rng& rng) {
  const Sample sample = draw_sample(dataset, kSample, rng);
  for (const Member& teacher : committee) {
    const Tensor given = answers(teacher, dataset, sample);
    if (knows(given, sample.classes)) continue;
    const double blind = chance(sample.classes);
    throw DataError(str("'", file.string(), "': teacher ", teacher.number, " (", teacher.name,
                        ") is right for ", percent(share_right(given, sample.classes)), " of ",
                        sample.classes.numel(), " training images of ", dataset.info().name,
                        ", expected at least ", percent(threshold(blind, sample.classes.numel())),
                        " (chance is ", percent(blind), "); the probable reason is ",
                        probable_reason(teacher, dataset, rng.child("reason"))));
  }
}

Knowledge measured_knowledge(const std::vector<Member>& committee,
                             const data::ImageDataset& dataset, const StopFlag* stop) {
  const std::int64_t all = dataset.size(data::Split::Train);
  const Sample sample = all <= kVoteSample
                            ? Sample{at::arange(all, at::kLong), dataset.labels(data::Split::Train)}
                            : draw_sample(dataset, kVoteSample, Rng(0).child("knowledge"));
  Knowledge knowledge{.percent = {}, .images = sample.classes.numel()};
  for (const Member& member : committee) {
    const Tensor given = answers(member, sample, [&](const Tensor& rows) {
      leave_if_requested(stop, "asking teachers");
      return dataset.batch(data::Split::Train, rows);
    });
    // Of whole numbers: 57.5 stays 57.5.
    knowledge.percent.push_back(100 * given.eq(sample.classes).sum().item<double>() /
                                double(knowledge.images));
  }
  return knowledge;
}

}  // namespace retort::train
