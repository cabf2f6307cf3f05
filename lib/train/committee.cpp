#include "lib/train/committee.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "lib/config/options.h"
#include "lib/core/error.h"
#include "lib/core/hash.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/data/held_out.h"
#include "lib/storage/teacher_file.h"
#include "lib/train/teachers.h"

namespace retort::train {
namespace {

constexpr double kWeightTolerance = 1e-9;

std::string known_names(const std::vector<std::string>& networks) {
  std::vector<std::string> known;
  for (std::size_t i = 0; i < networks.size(); ++i) known.push_back(str(i, " (", networks[i], ")"));
  return join(known);
}

/// @param networks of the teachers in the file
std::int64_t number_of(const std::string& name, const std::vector<std::string>& networks,
                       const std::string& file) {
  std::vector<std::int64_t> found;
  for (std::size_t i = 0; i < networks.size(); ++i) {
    if (networks[i] == name || std::to_string(i) == name) found.push_back(std::int64_t(i));
  }
  if (found.size() == 1) return found.front();
  throw ConfigError(str("'", file,
                        "': ", found.empty() ? "has no teacher '" : "has more than one '", name,
                        "'; its teachers are ", known_names(networks)));
}

Member member_of(const storage::Teacher& teacher, std::int64_t number,
                 const data::ImageDataset& dataset) {
  Member member;
  member.name = teacher.network;
  member.number = number;
  member.network = nn::make_network(teacher.network, dataset.shape(), dataset.num_classes());
  member.state = state_of(teacher, *member.network, dataset.device());
  for (const auto& [name, value] : teacher.class_statistics) {
    member.class_statistics.push_back(value.to(dataset.device()));
  }
  member.accuracy = teacher.accuracy;
  member.sha256 = teacher.sha256();
  member.statistics_sha256 = teacher.statistics_sha256();
  member.wall_seconds = teacher.wall_seconds;
  return member;
}

struct Chosen {
  std::int64_t number;  ///< in its file
  storage::Teacher teacher;
};

/// Those of the names, or all.
std::vector<Chosen> chosen(const storage::TeacherReader& reader,
                           const std::vector<std::string>& names) {
  const std::string file = reader.path().string();
  std::vector<Chosen> all;
  std::vector<std::string> networks;
  for (std::int64_t i = 0; i < reader.count(); ++i) {
    all.push_back({i, reader.teacher(i)});
    networks.push_back(all.back().teacher.network);
  }
  if (names.empty()) return all;
  std::vector<std::int64_t> numbers;
  for (const auto& name : names) numbers.push_back(number_of(name, networks, file));
  if (std::set<std::int64_t>(numbers.begin(), numbers.end()).size() != numbers.size()) {
    throw ConfigError(str("teachers of '", file, "': each may be named once, found ", join(names)));
  }
  std::vector<Chosen> some;
  for (const std::int64_t number : numbers) some.push_back(all[std::size_t(number)]);
  return some;
}

std::string images_text(const storage::TrainedOn& data) {
  return str(data.train_images, " training images",
             data.dataset_note.empty() ? "" : " (" + data.dataset_note + ")");
}

/// Whose networks are those of the file, on the images that this dataset has.
std::string teachers_command(const storage::TeacherReader& teachers,
                             const data::ImageDataset& dataset, double fraction) {
  std::vector<std::string> networks;
  for (std::int64_t i = 0; i < teachers.count(); ++i) {
    networks.push_back(teachers.teacher(i).network);
  }
  return str("retort teachers --dataset ", dataset.info().name, " --nets ", join(networks, ","),
             " --hold-out ", config::number_text(fraction), " --out FILE");
}

/// @throws ConfigError for teachers that may have seen what the dataset holds out
void compare_images(const storage::TeacherReader& teachers, const data::ImageDataset& dataset) {
  const storage::TrainedOn theirs = teachers.data();
  const auto mine = storage::TrainedOn::of(dataset);
  if (theirs.dataset_note == mine.dataset_note && theirs.train_images == mine.train_images) return;
  const std::string found = str("'", teachers.path().string(), "': the teachers were trained on ",
                                images_text(theirs), ", here are ", images_text(mine));
  const auto held = data::held_out_of(mine.dataset_note);
  const auto their_held = data::held_out_of(theirs.dataset_note);
  if (held && (!their_held || their_held->text != held->text)) {
    throw ConfigError(
        str(found,
            "; they may have seen the images that are held out here. This makes some that "
            "have not, with the --seed and the options of --dataset that are used here: ",
            teachers_command(teachers, dataset, held->fraction)));
  }
  log::warn(found);
}

}  // namespace

std::vector<Member> load_committee(const std::filesystem::path& file,
                                   const std::vector<std::string>& names,
                                   const data::ImageDataset& dataset) {
  const storage::TeacherReader reader(file);
  storage::expect_fitting(reader, dataset);
  compare_images(reader, dataset);
  std::vector<Member> committee;
  for (const Chosen& one : chosen(reader, names)) {
    committee.push_back(with_context("'" + file.string() + "'",
                                     [&] { return member_of(one.teacher, one.number, dataset); }));
  }
  return committee;
}

std::vector<std::shared_ptr<const nn::Network>> load_networks(const std::filesystem::path& file,
                                                              const std::vector<std::string>& names,
                                                              const data::ImageDataset& dataset) {
  const storage::TeacherReader reader(file);
  storage::expect_fitting(reader, dataset);
  std::vector<std::shared_ptr<const nn::Network>> networks;
  for (const Chosen& one : chosen(reader, names)) {
    networks.push_back(
        nn::make_network(one.teacher.network, dataset.shape(), dataset.num_classes()));
  }
  return networks;
}

data::Asset asset_of(const std::vector<Member>& committee, const std::filesystem::path& file,
                     const std::string& role) {
  data::Asset asset{.role = role,
                    .file = file.filename().string(),
                    .sha256 = {},
                    .id = {},
                    .count = std::int64_t(committee.size()),
                    .wall_seconds = 0,
                    .note = {}};
  double accuracies = 0;
  std::string hashes;
  std::vector<std::string> names;
  for (const Member& member : committee) {
    hashes += member.sha256;
    names.push_back(member.name);
    asset.wall_seconds += member.wall_seconds;
    accuracies += member.accuracy;
  }
  const double accuracy = accuracies / double(committee.size());
  if (std::isfinite(accuracy)) asset.accuracy = accuracy;  // NaN: one of them was not tested
  asset.sha256 = sha256_hex(hashes);
  asset.note = join(names);
  return asset;
}

Labeler::Labeler(std::vector<Member> committee, std::vector<double> weights, LabelNorm norm)
    : committee_(std::move(committee)), weights_(std::move(weights)), norm_(norm) {
  double sum = 0;
  for (const double weight : weights_) sum += weight;
  const bool in_range = std::all_of(weights_.begin(), weights_.end(),
                                    [](double weight) { return weight >= 0 && weight <= 1; });
  if (committee_.empty() || weights_.size() != committee_.size() || !in_range ||
      std::abs(sum - 1) > kWeightTolerance) {
    throw ConfigError(str("weights of ", committee_.size(),
                          " teachers: expected one each, 0 .. 1, that add up to 1, found ",
                          join(weights_)));
  }
}

Tensor Labeler::operator()(const Tensor& images) const {
  const at::NoGradGuard no_grad;
  const nn::ForwardOptions options{.mode = norm_.group > 0 ? nn::Mode::Batch : nn::Mode::Eval,
                                   .batch_norm_group = norm_.group};
  Tensor sum;
  for (std::size_t m = 0; m < committee_.size(); ++m) {
    const Member& member = committee_[m];
    const Tensor logits = member.network->forward(member.state, images, options).logits;
    sum = sum.defined() ? sum.add_(logits, weights_[m]) : logits * weights_[m];
  }
  return sum;
}

}  // namespace retort::train
