#include "experiments/nas/records.h"

#include <nlohmann/json.hpp>

#include "lib/core/files.h"
#include "lib/core/str.h"

namespace retort::experiments::nas {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kSchema = "retort.nas-training/1";

}  // namespace

fs::path Records::file(const Course& course, const std::string& network, std::uint64_t seed) const {
  return folder_ / "trainings" / course.name / str(network, "-seed", seed, ".json");
}

std::optional<Trained> Records::find(const Course& course, const std::string& network,
                                     std::uint64_t seed) const {
  const fs::path path = file(course, network, seed);
  if (!fs::is_regular_file(path)) return std::nullopt;
  const json document = json::parse(read_text(path), nullptr, /*allow_exceptions=*/false);
  try {
    if (document.at("schema") != kSchema || document.at("key") != course.key) return std::nullopt;
    Trained trained;
    trained.accuracy = document.at("accuracy").get<double>();
    trained.diverged = document.at("diverged").get<bool>();
    trained.train_loss = document.at("train_loss").get<double>();
    trained.seconds = document.at("seconds").get<double>();
    trained.wall_seconds = document.at("wall_seconds").get<double>();
    return trained;
  } catch (const json::exception&) {
    return std::nullopt;  // what is not understood is trained again
  }
}

void Records::keep(const Course& course, const std::string& network, std::uint64_t seed,
                   const Trained& trained) const {
  const json document = {{"schema", kSchema},
                         {"course", course.name},
                         {"network", network},
                         {"seed", seed},
                         {"accuracy", trained.accuracy},
                         {"diverged", trained.diverged},
                         {"train_loss", trained.train_loss},
                         {"seconds", trained.seconds},
                         {"wall_seconds", trained.wall_seconds},
                         {"key", course.key}};
  write_text(file(course, network, seed), document.dump(2) + "\n");
}

}  // namespace retort::experiments::nas
