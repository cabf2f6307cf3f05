#include "experiments/continual/report.h"

#include <nlohmann/json.hpp>

#include "lib/config/options.h"
#include "lib/core/spread_text.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/eval/report.h"
#include "lib/report/chart.h"

namespace retort::experiments::continual {
namespace {

using nlohmann::json;

std::vector<double> accuracies(const StepResult& step) {
  std::vector<double> runs;
  for (const auto& run : step.networks.runs) runs.push_back(run.last);
  return runs;
}

json accuracy_json(const std::vector<double>& runs) {
  const eval::Spread found = eval::spread(runs);
  return {{"mean", found.mean}, {"std", found.std}, {"runs", runs}};
}

/// Summed over all steps of all orders.
double seconds(const std::vector<OrderResult>& orders, double (*of)(const StepResult&)) {
  double sum = 0;
  for (const OrderResult& order : orders) {
    for (const StepResult& step : order.steps) sum += of(step);
  }
  return sum;
}

/// A step over all orders.
json step_json(const std::vector<OrderResult>& orders, std::size_t step) {
  const StepResult& first = orders.front().steps.at(step);
  std::vector<double> runs;
  std::vector<double> by_step(first.by_step.size());
  for (const OrderResult& order : orders) {
    const StepResult& own = order.steps.at(step);
    for (const double accuracy : accuracies(own)) runs.push_back(accuracy);
    for (std::size_t s = 0; s < by_step.size(); ++s) {
      by_step[s] += own.by_step[s] / double(orders.size());
    }
  }
  return {{"step", step + 1},       {"classes_seen", first.classes_seen},
          {"images", first.images}, {"stored", first.stored},
          {"by_step", by_step},     {"accuracy", accuracy_json(runs)}};
}

json order_json(const Study& study, const OrderResult& order) {
  json steps = json::array();
  for (const StepResult& step : order.steps) {
    steps.push_back({{"classes", step.classes},
                     {"accuracy", accuracy_json(accuracies(step))},
                     {"by_step", step.by_step},
                     {"condensing_seconds", step.condensing_seconds},
                     {"network_seconds", step.networks.seconds}});
  }
  return {{"order", order.order}, {"seeds", study.seeds_of(order.order)}, {"steps", steps}};
}

std::string accuracy_text(const json& accuracy) {
  return mean_and_spread(accuracy.at("mean").get<double>(), accuracy.at("std").get<double>(),
                         accuracy.at("runs").size());
}

std::string text(std::int64_t value) { return std::to_string(value); }

/// "2 orders of classes x 3 networks"
std::string repetitions_text(const json& document) {
  const auto orders = document.at("orders").size();
  const auto runs = document.at("runs").get<std::int64_t>();
  return str(orders, orders == 1 ? " order" : " orders", " of classes x ", runs,
             runs == 1 ? " network" : " networks");
}

}  // namespace

json to_json(const Study& study, const std::vector<OrderResult>& orders) {
  const data::DatasetInfo& info = study.dataset.info();
  json results = json::array();
  std::vector<double> means;
  for (std::size_t step = 0; step < orders.front().steps.size(); ++step) {
    results.push_back(step_json(orders, step));
    means.push_back(results.back()["accuracy"]["mean"].get<double>());
  }
  json out = {{"schema", "retort.continual/1"},
              {"dataset", info.name},
              {"dataset_sha256", info.sha256},
              {"classes", study.dataset.num_classes()},
              {"class_names", info.class_names},
              {"variant", study.variant == Variant::Kept ? "idc" : "gdumb"},
              {"method", study.method},
              {"config", study.config},
              {"ipc", study.ipc},
              {"seed", study.seed},
              {"steps", study.steps},
              {"runs", study.runs},
              {"protocol", study.protocol.name},
              {"protocol_options", study.protocol.options_in_use()},
              {"protocol_line", eval::protocol_line(study.protocol, info.mirror_changes_class)},
              {"network", orders.front().steps.front().networks.network},
              {"tested_on", study.hold_out > 0 ? "held-out training images" : "test"},
              {"last", results.back()["accuracy"]},
              {"average", eval::spread(means).mean},
              {"condensing_seconds",
               seconds(orders, [](const StepResult& step) { return step.condensing_seconds; })},
              {"network_seconds",
               seconds(orders, [](const StepResult& step) { return step.networks.seconds; })},
              {"results", results},
              {"orders", json::array()}};
  for (const OrderResult& order : orders) out["orders"].push_back(order_json(study, order));
  return out;
}

std::string to_table(const json& document) {
  const auto steps = document.at("steps").get<std::int64_t>();
  const auto classes = document.at("classes").get<std::int64_t>();
  std::string out = str(
      document.at("protocol_line").get<std::string>(), "\n",
      document.at("dataset").get<std::string>(), " in ", steps, " steps of ", classes / steps,
      " classes, each condensed by ", document.at("method").get<std::string>(), ", ",
      document.at("ipc").get<std::int64_t>(), " per class; ",
      document.at("network").get<std::string>(),
      document.at("variant") == "idc" ? " kept between steps, tested on the " : " tested on the ",
      document.at("tested_on") == "test" ? "test images"
                                         : document.at("tested_on").get<std::string>(),
      " of all classes seen\nmean ± population std over ", repetitions_text(document), "\n\n");
  std::vector<std::vector<std::string>> rows{
      {"step", "classes seen", "images", "accuracy %", "of the first step's classes %"}};
  for (const auto& step : document.at("results")) {
    rows.push_back({text(step.at("step").get<std::int64_t>()),
                    text(step.at("classes_seen").get<std::int64_t>()),
                    text(step.at("images").get<std::int64_t>()), accuracy_text(step.at("accuracy")),
                    fixed(step.at("by_step").front().get<double>(), 2)});
  }
  return out + columns(rows, {.numbers_from = 0}) +
         str("\nlast step ", accuracy_text(document.at("last")), " %, average over steps ",
             fixed(document.at("average").get<double>(), 2), " %\n");
}

std::string to_svg(const json& document) {
  report::Curve curve{
      .name = document.at("method").get<std::string>(), .x = {}, .y = {}, .spread = {}};
  for (const auto& step : document.at("results")) {
    curve.x.push_back(step.at("classes_seen").get<double>());
    curve.y.push_back(step.at("accuracy").at("mean").get<double>());
    curve.spread.push_back(step.at("accuracy").at("std").get<double>());
  }
  return report::line_chart_svg(
      {.title = str(document.at("dataset").get<std::string>(), ", ", curve.name, ", ",
                    document.at("ipc").get<std::int64_t>(), " images per class, protocol ",
                    document.at("protocol").get<std::string>()),
       .x_title = "classes seen",
       .y_title = "accuracy on them, %",
       .curves = {curve}});
}

std::string to_csv(const std::vector<OrderResult>& orders) {
  std::string out = "order,step,classes_seen,images,seed,accuracy,train_loss,seconds\n";
  for (const OrderResult& order : orders) {
    for (std::size_t s = 0; s < order.steps.size(); ++s) {
      const StepResult& step = order.steps[s];
      for (const auto& run : step.networks.runs) {
        out += str(order.order, ",", s + 1, ",", step.classes_seen, ",", step.images, ",", run.seed,
                   ",", config::number_text(run.last), ",", config::number_text(run.train_loss),
                   ",", config::number_text(run.seconds), "\n");
      }
    }
  }
  return out;
}

}  // namespace retort::experiments::continual
