#include "methods/decoupled/voters.h"

#include <algorithm>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::methods::decoupled {
namespace {

std::vector<std::string> names_of(const std::vector<train::Member>& teachers) {
  std::vector<std::string> names;
  for (const auto& teacher : teachers)
    names.push_back(str(teacher.number, " (", teacher.name, ")"));
  return names;
}

std::int64_t find(const std::string& name, const std::vector<train::Member>& teachers) {
  const auto found = std::find_if(teachers.begin(), teachers.end(), [&](const auto& teacher) {
    return teacher.name == name || std::to_string(teacher.number) == name;
  });
  if (found != teachers.end()) return found - teachers.begin();
  throw ConfigError(str("option 'pair': no teacher of this run is '", name, "'; they are ",
                        join(names_of(teachers))));
}

std::optional<Pair> given_pair(const std::vector<std::string>& names,
                               const std::vector<train::Member>& teachers) {
  if (names.empty()) return {};
  if (names.size() != 2) {
    throw ConfigError(str("option 'pair': expected two teachers, found ", join(names)));
  }
  const std::int64_t a = find(names[0], teachers);
  const std::int64_t b = find(names[1], teachers);
  return Pair{std::min(a, b), std::max(a, b)};
}

void expect_single(const std::vector<train::Member>& teachers) {
  if (teachers.size() == 1) return;
  throw ConfigError(str("committee single recovers from one teacher, found ", teachers.size(), ": ",
                        join(names_of(teachers)),
                        "; choose one by --teacher-names, or another --committee"));
}

void expect_class_statistics(const std::vector<train::Member>& teachers) {
  for (const auto& teacher : teachers) {
    if (!teacher.class_statistics.empty()) continue;
    throw ConfigError(str("statistics class: teacher ", teacher.number, " (", teacher.name,
                          ") has none of every class; `retort teachers --dataset NAME --out FILE "
                          "--statistics-only --class-statistics ema` adds them to its file, and "
                          "statistics global goes without"));
  }
}

void expect_batch_norm(const std::vector<train::Member>& teachers, double r_bn) {
  for (const auto& teacher : teachers) {
    if (r_bn == 0 || teacher.network->has_batch_norm()) continue;
    throw ConfigError(str("r-bn ", r_bn, ": teacher ", teacher.number, " (", teacher.name,
                          ") has no BatchNorm whose statistics could be matched; take another, or "
                          "r-bn 0"));
  }
}

}  // namespace

Voters::Voters(const RecoverOptions& options, const std::vector<train::Member>& teachers,
               std::int64_t ipc, const Rng& rng)
    : kind_(options.compensators                 ? Kind::OneEach
            : options.committee == "pairs"       ? Kind::Pairs
            : options.committee == "all"         ? Kind::All
            : options.committee == "round-robin" ? Kind::RoundRobin
                                                 : Kind::Single),
      teachers_(teachers),
      by_class_(options.r_bn != 0 && options.statistics == "class"),
      ipc_(ipc),
      rng_(rng),
      temperature_(options.vote_temperature) {
  expect_batch_norm(teachers, options.r_bn);
  if (kind_ == Kind::Single) expect_single(teachers);
  if (by_class_) expect_class_statistics(teachers);
  if (kind_ == Kind::Pairs) {
    given_pair_ = given_pair(options.pair, teachers);
    if (given_pair_ && ipc > 1) {
      throw ConfigError(str("option 'pair' is of one image per class, found ipc ", ipc,
                            ", where every place has a pair of its own"));
    }
  }
  if (kind_ != Kind::Pairs && kind_ != Kind::All) return;
  set_priors(options.priors.empty() ? std::vector<double>(teachers.size()) : options.priors);
  lacks_priors_ = options.priors.empty();
}

void Voters::set_priors(std::vector<double> priors) {
  if (priors.size() != teachers_.size()) {
    throw ConfigError(str("option 'priors': expected one per teacher, ", teachers_.size(),
                          ", found ", join(priors)));
  }
  priors_ = std::move(priors);
  lacks_priors_ = false;
  if (kind_ == Kind::Pairs) pairs_ = pairs_for(ipc_, priors_, rng_, given_pair_);
}

Voter Voters::voter(std::size_t teacher, double weight, const Batch& batch) const {
  const train::Member& member = teachers_[teacher];
  Voter voter{*member.network, member.state, member.state.buffers, weight,
              scales_.empty() ? 1 : scales_[teacher]};
  if (!by_class_) return voter;
  const auto c = batch.classes[0].item<std::int64_t>();
  for (std::size_t i = 0; i < voter.statistics.size(); ++i) {
    voter.statistics[i] = member.class_statistics[i].select(0, c);
  }
  return voter;
}

std::vector<Voter> Voters::everyone(const Batch& batch) const {
  std::vector<Voter> voters;
  for (std::size_t i = 0; i < teachers_.size(); ++i) voters.push_back(voter(i, 1, batch));
  return voters;
}

std::vector<Voter> Voters::of(const Batch& batch, std::int64_t iteration) const {
  const auto among = [&](const std::vector<std::size_t>& chosen) {
    std::vector<double> priors;
    for (const std::size_t teacher : chosen) priors.push_back(priors_[teacher]);
    const std::vector<double> weights = voting_weights(priors, temperature_);
    std::vector<Voter> voters;
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      voters.push_back(voter(chosen[i], weights[i], batch));
    }
    return voters;
  };
  switch (kind_) {
    case Kind::Single:
      return {voter(0, 1, batch)};
    case Kind::OneEach:
      return {voter(std::size_t(batch.group), 1, batch)};
    case Kind::RoundRobin:
      return {voter(std::size_t(iteration) % teachers_.size(), 1, batch)};
    case Kind::Pairs: {
      const Pair& pair = pairs_[std::size_t(batch.group)];
      return among({std::size_t(pair.first), std::size_t(pair.second)});
    }
    case Kind::All: {
      std::vector<std::size_t> all(teachers_.size());
      for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
      return among(all);
    }
  }
  throw Error("committee: not a kind");
}

}  // namespace retort::methods::decoupled
