#include "apps/commands/finished_networks.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>
#include <variant>

#include <nlohmann/json.hpp>

#include "apps/cli/command.h"
#include "apps/commands/document.h"
#include "lib/config/options.h"
#include "lib/core/files.h"
#include "lib/core/hash.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/kernels/policy.h"

namespace retort::commands {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kSchema = "retort.evaluation-part/1";

/// What an earlier evaluation left, or an empty list.
json read_runs(const fs::path& path) {
  if (path.empty() || !fs::is_regular_file(path)) return json::array();
  json document = json::parse(read_text(path), nullptr, /*allow_exceptions=*/false);
  const bool ours = document.is_object() && document.value("schema", json()) == kSchema &&
                    document.value("runs", json()).is_array();
  return ours ? std::move(document["runs"]) : json::array();
}

json to_json(const std::string& key, const eval::FinishedRun& run) {
  const eval::RunResult& result = run.result;
  return {{"key", key},
          {"seed", result.seed},
          {"last", result.last},
          {"best", result.best ? json(*result.best) : json()},
          {"train_loss", result.train_loss},
          {"seconds", result.seconds},
          {"robust", result.robust},
          {"confusion", run.confusion}};
}

eval::FinishedRun from_json(const json& entry) {
  eval::FinishedRun run;
  run.result = {.seed = entry.at("seed").get<std::uint64_t>(),
                .last = entry.at("last").get<double>(),
                .best = std::nullopt,
                .train_loss = entry.at("train_loss").get<double>(),
                .seconds = entry.at("seconds").get<double>(),
                .robust = entry.at("robust").get<std::vector<double>>()};
  if (!entry.at("best").is_null()) run.result.best = entry.at("best").get<double>();
  run.confusion = entry.at("confusion").get<std::vector<std::vector<std::int64_t>>>();
  return run;
}

void hash(Sha256& sha, const std::string& name, const std::string& text) {
  sha.update(std::string_view(str(name, " ", text.size(), " ", text, "\n")));
}

void hash(Sha256& sha, const std::string& name, const Tensor& values) {
  const Tensor contiguous = values.detach().cpu().contiguous();
  hash(sha, name, str(shape_text(contiguous), " ", c10::toString(contiguous.scalar_type())));
  sha.update(std::span(static_cast<const std::byte*>(contiguous.const_data_ptr()),
                       std::size_t(contiguous.nbytes())));
}

void hash(Sha256& sha, const data::Labels& labels) {
  hash(sha, "classes", data::hard_classes(labels));
  const auto* soft = std::get_if<data::SoftLabels>(&labels);
  if (soft == nullptr) return;
  hash(sha, "soft", soft->values);
  hash(sha, "kind", soft->kind == data::SoftLabels::Kind::Logit ? "logit" : "probability");
}

/// The whole record: which images in which views got which labels.
void hash(Sha256& sha, const data::RecordedViews& views) {
  const data::ViewsInfo& info = views.info();
  hash(sha, "record",
       str(info.epochs, " ", info.batch, " ", int(info.sampling), " ", int(info.kind), " ",
           config::number_text(info.tau0)));
  for (std::int64_t i = 0; i < views.batches(); ++i) {
    const data::ViewBatch batch = views.batch(i);
    std::vector<std::int64_t> numbers{batch.epoch};
    const auto add_box = [&](const data::PixelBox& box) {
      numbers.insert(numbers.end(), {box.top, box.left, box.height, box.width});
    };
    numbers.insert(numbers.end(), batch.images.begin(), batch.images.end());
    for (const auto& crop : batch.views.crops) add_box(crop);
    for (const bool flip : batch.views.flips) numbers.push_back(flip ? 1 : 0);
    const data::Mix& mix = batch.views.mix;
    add_box(mix.box);
    numbers.insert(numbers.end(), mix.partner.begin(), mix.partner.end());
    hash(sha, "views", at::tensor(numbers, at::kLong));
    hash(sha, "mix", str(int(mix.kind), " ", config::number_text(mix.lambda)));
    hash(sha, "values", batch.values);
  }
}

void hash(Sha256& sha, const eval::Material& material) {
  if (material.real_images) return;  // the dataset says which
  hash(sha, "images", material.training.images);
  hash(sha, material.training.labels);
  hash(sha, "hard", material.hard_labels ? "yes" : "no");
  if (material.views != nullptr) hash(sha, *material.views);
  if (material.labeler == nullptr) return;
  for (const auto& member : material.labeler->committee()) hash(sha, "teacher", member.sha256);
}

std::string attack_text(const eval::Attack& attack) {
  return str(int(attack.kind), " ", config::number_text(attack.radius), " ", attack.steps, " ",
             attack.restarts, " ", config::number_text(attack.step_size));
}

/// Labels and first images of a split, preprocessed: they tell splits and preprocessings of one
/// dataset apart.
void hash(Sha256& sha, const std::string& name, const data::ImageDataset& dataset,
          data::Split split) {
  constexpr std::int64_t kFirst = 64;
  const std::int64_t count = std::min(kFirst, dataset.size(split));
  hash(sha, name + " labels", dataset.labels(split));
  hash(sha, name + " images", dataset.batch(split, at::arange(count, at::kLong)));
}

void hash(Sha256& sha, const data::ImageDataset& dataset) {
  hash(sha, "device", dataset.device().str());
  hash(sha, "dataset", dataset.info().sha256);
  hash(sha, "mirror", dataset.info().mirror_changes_class ? "changes class" : "harmless");
  hash(sha, "test", dataset, data::Split::Test);
}

}  // namespace

/// Shares the list of all runs with its owner.
class FinishedNetworks::Keeper : public eval::RunKeeper {
 public:
  Keeper(FinishedNetworks& owner, std::string key) : owner_(owner), key_(std::move(key)) {}

  std::optional<eval::FinishedRun> find(std::uint64_t seed) override {
    for (const auto& entry : *owner_.runs_) {
      try {
        if (entry.at("key") == key_ && entry.at("seed") == seed) return from_json(entry);
      } catch (const json::exception&) {
        // An entry that is not understood is no entry: the network is trained again.
      }
    }
    return std::nullopt;
  }

  void keep(const eval::FinishedRun& run) override {
    owner_.runs_->push_back(to_json(key_, run));
    owner_.write();
  }

 private:
  FinishedNetworks& owner_;
  std::string key_;
};

FinishedNetworks::FinishedNetworks(const fs::path& result)
    : path_(result.empty() ? fs::path() : fs::path(result.string() + ".part")),
      runs_(std::make_unique<json>(read_runs(path_))) {}

FinishedNetworks::~FinishedNetworks() = default;

std::unique_ptr<eval::RunKeeper> FinishedNetworks::keeper(const std::string& key) {
  return std::make_unique<Keeper>(*this, key);
}

std::int64_t FinishedNetworks::count() const { return std::int64_t(runs_->size()); }

void FinishedNetworks::write() const {
  if (!path_.empty()) write_text(path_, document_text({{"schema", kSchema}, {"runs", *runs_}}));
}

void FinishedNetworks::interrupted(const Interrupted& e) const {
  if (path_.empty()) {
    throw Interrupted(str(e.what(),
                          "; nothing was kept, which takes --out FILE or a set that lies in its "
                          "run folder"));
  }
  throw Interrupted(str(e.what(), "; ",
                        count() == 0
                            ? std::string("no network was finished")
                            : str(count(), " finished networks are kept in ", path_.string(),
                                  ", the same command goes on from there")));
}

void FinishedNetworks::remove() const {
  if (!path_.empty()) fs::remove(path_);
}

std::string evaluation_key(const eval::Material& material, const data::ImageDataset& dataset,
                           const eval::Protocol& protocol, const std::string& network,
                           const std::vector<eval::Attack>& attacks) {
  eval::Protocol recipe = protocol;
  config::OptionTable options;
  recipe.describe(options);
  Sha256 sha;
  hash(sha, "program", cli::program_version());
  hash(sha, "kernels", kernels::policy() == kernels::Policy::Fast ? "fast" : "reference");
  hash(sha, "precision", kernels::precision() == kernels::Precision::Mixed ? "mixed" : "fp32");
  hash(sha, "protocol", config::config_text(options));
  hash(sha, "network", network);
  for (const auto& attack : attacks) hash(sha, "attack", attack_text(attack));
  hash(sha, material);
  hash(sha, dataset);
  if (material.real_images) hash(sha, "training", dataset, data::Split::Train);
  return sha.hex();
}

}  // namespace retort::commands
