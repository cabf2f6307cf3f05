#include "experiments/nas/report.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include "experiments/nas/ranking.h"
#include "lib/config/options.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/eval/report.h"
#include "lib/report/chart.h"

namespace retort::experiments::nas {
namespace {

using nlohmann::json;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

json number(double value) { return std::isfinite(value) ? json(value) : json(); }

double value_of(const json& entry) { return entry.is_null() ? kNone : entry.get<double>(); }

Scores of_seed(const Trainings& trainings, std::size_t seed) {
  Scores scores;
  for (const auto& runs : trainings) scores.push_back(runs[seed].accuracy);
  return scores;
}

Scores means(const Trainings& trainings) {
  Scores scores;
  for (const auto& runs : trainings) {
    double sum = 0;
    for (const Trained& run : runs) sum += run.accuracy;
    scores.push_back(sum / double(runs.size()));
  }
  return scores;
}

double sum_of(const Trainings& trainings, double Trained::*seconds) {
  double sum = 0;
  for (const auto& runs : trainings) {
    for (const Trained& run : runs) sum += run.*seconds;
  }
  return sum;
}

std::int64_t diverged(const Trainings& trainings) {
  std::int64_t count = 0;
  for (const auto& runs : trainings) {
    count += std::count_if(runs.begin(), runs.end(), [](const Trained& t) { return t.diverged; });
  }
  return count;
}

json accuracies_json(const Trainings& trainings) {
  json entries = json::array();
  for (const auto& runs : trainings) {
    std::vector<double> values;
    for (const Trained& run : runs) values.push_back(run.accuracy);
    const eval::Spread found = eval::spread(values);
    entries.push_back({{"mean", found.mean}, {"std", found.std}, {"runs", values}});
  }
  return entries;
}

/// Rho over the `k` first by `score`; over all for k = their number.
json rho_json(const Scores& score, const Scores& truth, std::size_t k, const Rng& rng) {
  const auto places = highest(score, k);
  const Scores a = at_places(score, places);
  const Scores b = at_places(truth, places);
  const Interval interval = spearman_interval(a, b, rng.child("top", std::int64_t(k)));
  return {{"k", k},
          {"rho", number(spearman(a, b))},
          {"low", number(interval.low)},
          {"high", number(interval.high)}};
}

std::vector<std::size_t> sizes_of(const Study& study) {
  std::vector<std::size_t> sizes(study.top.begin(), study.top.end());
  sizes.push_back(study.grid.size());
  return sizes;
}

json rhos_json(const Study& study, const Scores& score, const Scores& truth,
               const std::string& name) {
  json rhos = json::array();
  const Rng rng = Rng(study.seed).child("bootstrap").child(name);
  for (const std::size_t k : sizes_of(study)) rhos.push_back(rho_json(score, truth, k, rng));
  return rhos;
}

/// How well one seed of the reference ranks for another: the mean over all ordered pairs.
json reliability_json(const Study& study, const Trainings& reference) {
  const std::size_t seeds = reference.front().size();
  json rhos = json::array();
  for (const std::size_t k : sizes_of(study)) {
    double sum = 0;
    for (std::size_t a = 0; a < seeds; ++a) {
      for (std::size_t b = 0; b < seeds; ++b) {
        if (a == b) continue;
        const Scores score = of_seed(reference, a);
        const auto places = highest(score, k);
        sum += spearman(at_places(score, places), at_places(of_seed(reference, b), places));
      }
    }
    rhos.push_back({{"k", k}, {"rho", number(sum / double(seeds * (seeds - 1)))}});
  }
  return rhos;
}

json first_json(const Study& study, const Scores& score, const Scores& truth) {
  const std::size_t first = highest(score, 1).front();
  const auto better = std::count_if(truth.begin(), truth.end(),
                                    [&](double accuracy) { return accuracy > truth[first]; });
  return {{"network", study.networks[first]->name()},
          {"score", score[first]},
          {"test_accuracy", truth[first]},
          {"rank", better + 1}};
}

std::string kind_text(Proxy::Kind kind) {
  switch (kind) {
    case Proxy::Kind::Method:
      return "method";
    case Proxy::Kind::Set:
      return "set";
    case Proxy::Kind::EarlyStopping:
      return "early-stopping";
  }
  return "";
}

json proxy_json(const Study& study, const ProxyResult& proxy, const Scores& truth) {
  const Scores score = means(proxy.trainings);
  const double wall = proxy.condensing_seconds + sum_of(proxy.trainings, &Trained::wall_seconds);
  return {{"name", proxy.name},
          {"kind", kind_text(proxy.kind)},
          {"key", proxy.key},
          {"stored", proxy.stored},
          {"images", proxy.images},
          {"epochs", proxy.epochs},
          {"condensing_seconds", proxy.condensing_seconds},
          {"training_seconds", sum_of(proxy.trainings, &Trained::seconds)},
          {"wall_seconds", wall},
          {"diverged", diverged(proxy.trainings)},
          {"first", first_json(study, score, truth)},
          {"correlation", rhos_json(study, score, truth, proxy.name)},
          {"scores", accuracies_json(proxy.trainings)}};
}

json reference_json(const Study& study, const Outcome& outcome) {
  const Scores truth = means(outcome.reference);
  json first = first_json(study, truth, truth);
  first["selected_on"] = "test";
  return {{"protocol", study.reference_protocol.name},
          {"protocol_options", study.reference_protocol.options_in_use()},
          {"images", outcome.reference_images},
          {"epochs", outcome.reference_epochs},
          {"seeds", study.reference_seeds},
          {"tested_on", "test"},
          {"training_seconds", sum_of(outcome.reference, &Trained::seconds)},
          {"wall_seconds", sum_of(outcome.reference, &Trained::wall_seconds)},
          {"diverged", diverged(outcome.reference)},
          {"first", first},
          {"reliability",
           study.reference_seeds > 1 ? reliability_json(study, outcome.reference) : json()},
          {"accuracies", accuracies_json(outcome.reference)}};
}

json architectures_json(const Study& study) {
  json entries = json::array();
  for (std::size_t i = 0; i < study.grid.size(); ++i) {
    const Architecture& a = study.grid[i];
    const nn::Network& network = *study.networks[i];
    entries.push_back({{"network", network.name()},
                       {"width", a.config.width},
                       {"depth", a.config.depth},
                       {"norm", a.norm},
                       {"activation", a.activation},
                       {"pooling", a.pooling},
                       {"parameters", network.parameter_count()},
                       {"macs", network.macs()}});
  }
  return entries;
}

std::string text(const json& value) { return std::to_string(value.get<std::int64_t>()); }

/// "0.61"
std::string rho_text(const json& entry) {
  const double rho = value_of(entry.at("rho"));
  return std::isfinite(rho) ? fixed(rho, 2) : "-";
}

/// "0.61 [0.20, 0.85]"
std::string rho_with_interval(const json& entry) {
  const double low = value_of(entry.at("low"));
  if (!std::isfinite(low)) return rho_text(entry);
  return str(rho_text(entry), " [", fixed(low, 2), ", ", fixed(value_of(entry.at("high")), 2), "]");
}

std::string minutes_text(const json& seconds) { return fixed(seconds.get<double>() / 60, 1); }

std::vector<std::string> header(const json& document) {
  std::vector<std::string> row{"ranked by", "images", "minutes", "put first", "its test %", "rank"};
  const auto& sizes = document.at("top");
  for (const auto& k : sizes) row.push_back(str("rho, top ", k.get<std::int64_t>()));
  row.push_back(str("rho, all ", document.at("architectures").size()));
  return row;
}

void add_first(std::vector<std::string>& row, const json& first) {
  row.insert(row.end(),
             {first.at("network").get<std::string>(),
              fixed(first.at("test_accuracy").get<double>(), 2), text(first.at("rank"))});
}

std::vector<std::string> proxy_row(const json& proxy) {
  std::vector<std::string> row{proxy.at("name").get<std::string>(), text(proxy.at("stored")),
                               minutes_text(proxy.at("wall_seconds"))};
  add_first(row, proxy.at("first"));
  for (const auto& rho : proxy.at("correlation")) row.push_back(rho_with_interval(rho));
  return row;
}

std::vector<std::string> reference_row(const json& reference, std::size_t rhos) {
  std::vector<std::string> row{"reference", text(reference.at("images")),
                               minutes_text(reference.at("wall_seconds"))};
  add_first(row, reference.at("first"));
  row[row.size() - 2] += "*";
  const json& reliability = reference.at("reliability");
  for (std::size_t i = 0; i < rhos; ++i) {
    row.push_back(reliability.is_null() ? "-" : rho_text(reliability.at(i)));
  }
  return row;
}

std::string plural(const json& count, const std::string& thing) {
  return str(text(count), " ", thing, count.get<std::int64_t>() == 1 ? "" : "s");
}

std::string diverged_text(const json& document) {
  std::string out;
  const auto add = [&](const std::string& name, const json& entry) {
    if (entry.at("diverged").get<std::int64_t>() == 0) return;
    out += str(plural(entry.at("diverged"), "training"), " of ", name,
               " diverged and counted as guessing\n");
  };
  for (const auto& proxy : document.at("proxies")) add(proxy.at("name").get<std::string>(), proxy);
  add("the reference", document.at("reference"));
  return out;
}

const json& proxy_named(const json& document, const std::string& name) {
  const auto& proxies = document.at("proxies");
  return *std::find_if(proxies.begin(), proxies.end(),
                       [&](const json& proxy) { return proxy.at("name") == name; });
}

}  // namespace

json to_json(const Study& study, const Outcome& outcome) {
  const data::DatasetInfo& info = study.dataset.info();
  const Scores truth = means(outcome.reference);
  json proxies = json::array();
  for (const auto& proxy : outcome.proxies) proxies.push_back(proxy_json(study, proxy, truth));
  return {{"schema", "retort.nas/1"},
          {"dataset", info.name},
          {"dataset_sha256", info.sha256},
          {"config", study.config},
          {"seed", study.seed},
          {"ipc", study.ipc},
          {"seeds", study.seeds},
          {"protocol", study.protocol.name},
          {"protocol_options", study.protocol.options_in_use()},
          {"protocol_line", eval::protocol_line(study.protocol, info.mirror_changes_class)},
          {"scored_on", "held-out training images"},
          {"held_out", study.held_out.size(data::Split::Test)},
          {"top", study.top},
          {"resamples", kResamples},
          {"architectures", architectures_json(study)},
          {"reference", reference_json(study, outcome)},
          {"proxies", proxies}};
}

std::string to_table(const json& document) {
  const json& reference = document.at("reference");
  const bool reliable = !reference.at("reliability").is_null();
  std::vector<std::vector<std::string>> rows{header(document)};
  for (const auto& proxy : document.at("proxies")) rows.push_back(proxy_row(proxy));
  rows.push_back(reference_row(reference, document.at("top").size() + 1));
  return str(
      document.at("protocol_line").get<std::string>(), "\n",
      document.at("dataset").get<std::string>(), ", ", document.at("architectures").size(),
      " ConvNets, ", plural(document.at("seeds"), "network"),
      " of each on a proxy, scored by accuracy on ", text(document.at("held_out")),
      " held-out training images\nreference: ", text(reference.at("epochs")), " epochs on ",
      text(reference.at("images")), " images, accuracy on the test images, mean of ",
      plural(reference.at("seeds"), "network"),
      "\nrho: Spearman between score and reference, of the top k by the score, 95 % interval of ",
      text(document.at("resamples")), " bootstrap resamples of these architectures\n",
      "rho of the reference: ",
      reliable ? "one of its seeds for another, how reliable this ranking is itself"
               : "not known from one seed",
      "\n", diverged_text(document), "minutes: of condensing, and of trainings side by side\n\n",
      columns(rows, {.numbers_from = 4}),
      "* chosen by these test images: optimistic; no proxy sees them\n");
}

std::string to_csv(const json& document) {
  const json& reference = document.at("reference");
  std::string out = "network,width,depth,norm,activation,pooling,parameters,macs,reference";
  const auto seeds = reference.at("seeds").get<std::size_t>();
  for (std::size_t s = 0; s < seeds; ++s) out += str(",reference_seed", s);
  for (const auto& proxy : document.at("proxies")) out += "," + proxy.at("name").get<std::string>();
  out += "\n";
  const auto& architectures = document.at("architectures");
  const auto accuracy = [](const json& entry) { return config::number_text(entry.get<double>()); };
  for (std::size_t i = 0; i < architectures.size(); ++i) {
    const json& a = architectures[i];
    const json& truth = reference.at("accuracies").at(i);
    out += str(a.at("network").get<std::string>(), ",", text(a.at("width")), ",",
               text(a.at("depth")), ",", a.at("norm").get<std::string>(), ",",
               a.at("activation").get<std::string>(), ",", a.at("pooling").get<std::string>(), ",",
               text(a.at("parameters")), ",", text(a.at("macs")), ",", accuracy(truth.at("mean")));
    for (const auto& run : truth.at("runs")) out += "," + accuracy(run);
    for (const auto& proxy : document.at("proxies")) {
      out += "," + accuracy(proxy.at("scores").at(i).at("mean"));
    }
    out += "\n";
  }
  return out;
}

std::string to_svg(const json& document, const std::string& name) {
  const json& proxy = proxy_named(document, name);
  std::vector<report::PointGroup> groups;
  const auto group_of = [&](const std::string& norm) -> report::PointGroup& {
    for (auto& group : groups) {
      if (group.name == norm) return group;
    }
    return groups.emplace_back(report::PointGroup{.name = norm, .names = {}, .x = {}, .y = {}});
  };
  const auto& architectures = document.at("architectures");
  for (std::size_t i = 0; i < architectures.size(); ++i) {
    const auto norm = architectures[i].at("norm").get<std::string>();
    auto& group = group_of(norm == "none" ? "no norm" : norm);
    group.names.push_back(architectures[i].at("network").get<std::string>());
    group.x.push_back(document.at("reference").at("accuracies").at(i).at("mean").get<double>());
    group.y.push_back(proxy.at("scores").at(i).at("mean").get<double>());
  }
  const json& all = proxy.at("correlation").back();
  return report::scatter_chart_svg(
      {.title = str(document.at("dataset").get<std::string>(), ", ", name, ": rho ", rho_text(all)),
       .x_title = "reference: test accuracy, %",
       .y_title = str(name, ": held-out accuracy, %"),
       .point_title = "network",
       .groups = groups,
       .finding = str("Spearman's rho over all ", rho_with_interval(all), ".")});
}

}  // namespace retort::experiments::nas
