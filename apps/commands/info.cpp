#include <algorithm>
#include <cmath>
#include <filesystem>
#include <sstream>
#include <variant>

#include <nlohmann/json.hpp>

#include "apps/cli/help.h"
#include "apps/commands/commands.h"
#include "apps/commands/document.h"
#include "apps/commands/expert_info.h"
#include "apps/commands/folder_kind.h"
#include "apps/commands/run_info.h"
#include "apps/commands/set_text.h"
#include "apps/commands/study_info.h"
#include "apps/commands/subset.h"
#include "apps/commands/teacher_info.h"
#include "apps/commands/views_info.h"
#include "lib/config/options.h"
#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/storage/expert_file.h"
#include "lib/storage/hdf5.h"
#include "lib/storage/set_file.h"
#include "lib/storage/state_file.h"
#include "lib/synth/parametrization.h"

namespace retort::commands {
namespace {

using nlohmann::json;
using Rows = std::vector<std::vector<std::string>>;

std::string short_hash(const std::string& hash) {
  return hash.size() > 16 ? str(hash.substr(0, 16), "...") : hash;
}

std::string asset_text(const data::Asset& asset) {
  return str(asset.count, asset.count == 1 ? " network of " : " networks of ", asset.file,
             ", SHA-256 ", short_hash(asset.sha256),
             asset.id.empty() ? "" : str(", id ", short_hash(asset.id)), "; ", asset.note,
             "; training took ", duration_text(asset.wall_seconds),
             asset.count == 1 ? "" : ", summed over them");
}

/// Of a configuration; empty: it has none of this name.
std::string value_of(const std::string& config, const std::string& key) {
  for (const auto& entry : config::parse_config(config, "the configuration")) {
    if (entry.key == key) return entry.value;
  }
  return "";
}

void add_provenance(Rows& rows, const data::Provenance& provenance) {
  const auto add = [&](const std::string& name, const std::string& text) {
    if (!text.empty()) rows.push_back({name, text});
  };
  add("method", provenance.method);
  add("seed", str(provenance.seed));
  add("dataset", provenance.dataset.empty() ? ""
                                            : str(provenance.dataset, ", SHA-256 ",
                                                  short_hash(provenance.dataset_sha256)));
  add("data from", provenance.data_path);
  if (const std::int64_t subset = subset_per_class(provenance); subset > 0) {
    add("condensed from",
        str("a subset, ", subset, " training images per class, not from the whole dataset"));
  }
  add("classes", cli::wrapped(join(provenance.class_names), 100, 18));
  if (value_of(provenance.config, "store") == "jpeg75") {
    add("pixels", "as a JPEG of quality 75 gives them back");
  }
  add("iterations", str(provenance.iterations));
  if (provenance.wall_seconds > 0) {
    add("condensing took", str(duration_text(provenance.wall_seconds), " (processor ",
                               duration_text(provenance.cpu_seconds), ", ", provenance.threads,
                               provenance.threads == 1 ? " thread" : " threads", ", memory ",
                               bytes_text(provenance.peak_memory_bytes), ")"));
  }
  add("processor", provenance.processor);
  add("program", provenance.program_version);
}

std::string describe_set(const std::string& path) {
  const data::SyntheticSet set = storage::read_set(path);
  const storage::StoredBytes bytes = storage::stored_bytes(path);
  const std::int64_t decoded = data::hard_classes(set.labels).numel();
  Rows rows = {
      {"file", str(path, ", a condensed set")},
      {"stored images", stored_images_text(set)},
      {"decoder", str(data::decoder_text(set.decoder), ": ", decoded, " training images")},
      {"labels", labels_text(set.labels)},
      {"size",
       str("images ", bytes_text(double(bytes.images)), ", labels ",
           bytes_text(double(bytes.labels)), ", the rest ", bytes_text(double(bytes.other)))},
      {"preprocessing", set.preprocessing.description()},
  };
  for (const auto& [name, values] : set.parameters) {
    rows.push_back(
        {name, str(values.size(0), " of the images' size, added to images when decoded")});
  }
  if (set.views != nullptr) {
    const Rows views = views_rows(*set.views, storage::label_bytes(path));
    rows.insert(rows.end(), views.begin(), views.end());
  }
  if (set.learned_lr) rows.push_back({"learned step size", str(*set.learned_lr)});
  for (const auto& asset : set.assets) {
    rows.push_back({asset.role, cli::wrapped(asset_text(asset), 100, 18)});
  }
  add_provenance(rows, set.provenance);
  std::string text = columns(rows);
  if (set.provenance.config.empty()) return text;
  text += "configuration\n";
  std::istringstream lines(set.provenance.config);
  for (std::string line; std::getline(lines, line);) text += str("  ", line, "\n");
  return text;
}

json provenance_json(const data::Provenance& provenance) {
  return {
      {"program", provenance.program_version}, {"method", provenance.method},
      {"config", provenance.config},           {"seed", provenance.seed},
      {"dataset", provenance.dataset},         {"dataset_sha256", provenance.dataset_sha256},
      {"data_path", provenance.data_path},     {"class_names", provenance.class_names},
      {"iterations", provenance.iterations},   {"wall_seconds", provenance.wall_seconds},
      {"cpu_seconds", provenance.cpu_seconds}, {"peak_memory_bytes", provenance.peak_memory_bytes},
      {"processor", provenance.processor},     {"threads", provenance.threads}};
}

json assets_json(const std::vector<data::Asset>& assets) {
  json list = json::array();
  for (const auto& asset : assets) {
    list.push_back({{"role", asset.role},
                    {"file", asset.file},
                    {"sha256", asset.sha256},
                    {"id", asset.id},
                    {"count", asset.count},
                    {"wall_seconds", asset.wall_seconds},
                    {"note", asset.note}});
  }
  return list;
}

json labels_json(const data::Labels& labels) {
  if (std::holds_alternative<data::HardLabels>(labels)) return {{"kind", "hard"}};
  const auto& soft = std::get<data::SoftLabels>(labels);
  const bool logit = soft.kind == data::SoftLabels::Kind::Logit;
  return {{"kind", logit ? "logit" : "probability"}, {"learned", soft.learned}};
}

/// How many of each there are.
json counts_json(const std::map<std::string, Tensor>& parameters) {
  json counts = json::object();
  for (const auto& [name, values] : parameters) counts[name] = values.size(0);
  return counts;
}

json set_json(const std::string& path) {
  const data::SyntheticSet set = storage::read_set(path);
  const std::int64_t subset = subset_per_class(set.provenance);
  const storage::StoredBytes bytes = storage::stored_bytes(path);
  const data::ImageShape shape = set.shape();
  return {
      {"schema", "retort.set-info/1"},
      {"file", path},
      {"stored_images", set.images.size(0)},
      {"shape", {shape.channels, shape.height, shape.width}},
      {"classes", set.num_classes()},
      {"decoder",
       {{"id", set.decoder.id},
        {"config", set.decoder.config},
        {"parameters", counts_json(set.parameters)}}},
      {"decoded_images", data::hard_classes(set.labels).numel()},
      {"labels", labels_json(set.labels)},
      {"views", set.views != nullptr ? views_json(*set.views, storage::label_bytes(path)) : json()},
      {"bytes", {{"images", bytes.images}, {"labels", bytes.labels}, {"other", bytes.other}}},
      {"preprocessing", set.preprocessing.description()},
      {"learned_lr", set.learned_lr ? json(*set.learned_lr) : json()},
      {"subset_per_class", subset > 0 ? json(subset) : json()},
      {"assets", assets_json(set.assets)},
      {"provenance", provenance_json(set.provenance)}};
}

json state_json(const std::string& path) {
  const storage::StateReader state(path);
  json document = {{"schema", "retort.state-info/1"}, {"file", path}};
  if (state.has("driver/next_iteration")) {
    document["iterations_done"] = state.integer("driver/next_iteration");
    document["wall_seconds"] = state.number("driver/wall_seconds");
    document["last_loss"] = state.number("driver/last_loss");
  }
  return document;
}

std::string describe_state(const std::string& path) {
  const storage::StateReader state(path);
  Rows rows;
  rows.push_back({"file", str(path, ", the saved state of a run")});
  if (state.has("driver/next_iteration")) {
    rows.push_back({"iterations done", str(state.integer("driver/next_iteration"))});
    rows.push_back({"time so far", duration_text(state.number("driver/wall_seconds"))});
    rows.push_back({"last loss", config::number_text(state.number("driver/last_loss"))});
    rows.push_back({"to go on", str("retort condense --resume --run-dir FOLDER")});
  }
  return columns(rows);
}

/// A dataset of a file whose bytes agree with their SHA-256.
struct IntactPart {
  std::string name;
  std::vector<std::int64_t> shape;
};

bool agrees(const storage::H5Reader& file, const std::string& dataset, const std::string& sha256) {
  try {
    return file.has(dataset) && file.sha256(dataset) == sha256;
  } catch (const StorageError&) {
    return false;
  }
}

std::vector<IntactPart> intact_parts(const storage::H5Reader& file) {
  const std::vector<std::string> listed = file.texts("manifest/paths");
  const std::vector<std::string> digests = file.texts("manifest/sha256");
  std::vector<IntactPart> parts;
  for (std::size_t i = 0; i < std::min(listed.size(), digests.size()); ++i) {
    if (!agrees(file, listed[i], digests[i])) continue;
    parts.push_back({listed[i], file.dataset_shape(listed[i])});
  }
  return parts;
}

json damage_json(const std::string& path, const std::vector<std::string>& findings,
                 const std::vector<IntactPart>& parts) {
  json document = {{"schema", "retort.damage/1"},
                   {"file", path},
                   {"findings", findings},
                   {"intact", json::array()}};
  for (const auto& part : parts) {
    document["intact"].push_back({{"name", part.name}, {"shape", part.shape}});
  }
  return document;
}

std::string damage_text(const std::string& path, const std::vector<std::string>& findings,
                        const std::vector<IntactPart>& parts) {
  Rows rows = {{"file", str(path, ", damaged")}};
  for (const auto& finding : findings) rows.push_back({"damaged", finding});
  for (const auto& part : parts) {
    rows.push_back({"intact", str("/", part.name, " [", join(part.shape, ", "), "]")});
  }
  return columns(rows);
}

std::vector<std::string> findings_in(const storage::H5Reader& file) {
  try {
    return file.damage();
  } catch (const StorageError& e) {
    return {e.what()};
  }
}

/// Says what is left of a damaged file; nothing where not even that can be read.
void print_remains(const std::string& path, bool as_json) {
  try {
    const storage::H5Reader file(path);
    const std::vector<std::string> findings = findings_in(file);
    if (findings.empty()) return;  // undamaged, but not for this program
    const std::vector<IntactPart> parts = intact_parts(file);
    if (as_json) {
      print_document(damage_json(path, findings, parts));
    } else {
      cli::print(damage_text(path, findings, parts));
    }
  } catch (const StorageError&) {
    // The error of whoever read the file before says why.
  }
}

void print_file(const std::string& path, bool as_json) {
  const std::string schema = storage::file_schema(path);
  if (schema == storage::kExpertSchema) {
    print_experts(path, as_json);
    return;
  }
  if (schema == storage::kTeacherSchema) {
    print_teachers(path, as_json);
    return;
  }
  const bool is_set = schema == "retort.set";
  if (!is_set && schema != "retort.state") {
    throw StorageError(str("'", path, "': the schema '", schema, "' is not known to this program"));
  }
  if (as_json) {
    print_document(is_set ? set_json(path) : state_json(path));
  } else {
    cli::print(is_set ? describe_set(path) : describe_state(path));
  }
}

int run(const cli::Command& command, const std::vector<std::string>& args, cli::Program& program) {
  cli::OutputOptions output;
  config::OptionTable table;
  const auto path = cli::parse_one_word(command, args, table, output, "FILE", program);
  if (!path) return 0;
  if (std::filesystem::is_directory(*path)) {
    const FolderKind kind = folder_kind(*path);
    if (is_study(kind)) {
      print_study(*path, kind, output.json);
    } else {
      print_run(*path, output.json);
    }
    return 0;
  }
  try {
    print_file(*path, output.json);
  } catch (const StorageError&) {
    print_remains(*path, output.json);
    throw;
  }
  return 0;
}

}  // namespace

cli::Command info() {
  return {"info",
          "Says in words what a file, or the folder of a run or a study, holds.",
          "FILE|FOLDER",
          {"retort info set.h5", "retort info experts.h5",
           "retort info runs/dm-fashion-mnist-ipc10-seed0"},
          run};
}

}  // namespace retort::commands
