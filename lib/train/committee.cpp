#include "lib/train/committee.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/hash.h"
#include "lib/core/str.h"
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
  member.wall_seconds = teacher.wall_seconds;
  return member;
}

}  // namespace

std::vector<Member> load_committee(const std::filesystem::path& file,
                                   const std::vector<std::string>& names,
                                   const data::ImageDataset& dataset) {
  const storage::TeacherReader reader(file);
  storage::expect_fitting(reader, dataset);
  std::vector<storage::Teacher> teachers;
  std::vector<std::string> networks;
  for (std::int64_t i = 0; i < reader.count(); ++i) {
    teachers.push_back(reader.teacher(i));
    networks.push_back(teachers.back().network);
  }
  std::vector<std::int64_t> numbers;
  for (const auto& name : names) numbers.push_back(number_of(name, networks, file.string()));
  if (std::set<std::int64_t>(numbers.begin(), numbers.end()).size() != numbers.size()) {
    throw ConfigError(
        str("teachers of '", file.string(), "': each may be named once, found ", join(names)));
  }
  if (names.empty()) {
    for (std::int64_t i = 0; i < reader.count(); ++i) numbers.push_back(i);
  }
  std::vector<Member> committee;
  for (const std::int64_t number : numbers) {
    committee.push_back(with_context("'" + file.string() + "'", [&] {
      return member_of(teachers[std::size_t(number)], number, dataset);
    }));
  }
  return committee;
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
  std::string hashes;
  std::vector<std::string> names;
  for (const Member& member : committee) {
    hashes += member.sha256;
    names.push_back(member.name);
    asset.wall_seconds += member.wall_seconds;
  }
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
