#include "apps/commands/teacher_info.h"

#include <filesystem>
#include <vector>

#include <nlohmann/json.hpp>

#include "apps/cli/command.h"
#include "apps/cli/help.h"
#include "apps/commands/document.h"
#include "lib/config/options.h"
#include "lib/core/str.h"
#include "lib/core/text.h"

namespace retort::commands {
namespace {

using nlohmann::json;
using storage::Teacher;
using storage::TeacherReader;
using storage::TrainedOn;
using Rows = std::vector<std::vector<std::string>>;

std::int64_t parameters_of(const Teacher& teacher) {
  std::int64_t count = 0;
  for (const auto& [name, value] : teacher.parameters) count += value.numel();
  return count;
}

bool tested(const Teacher& teacher) { return teacher.accuracy == teacher.accuracy; }

Rows description(const TeacherReader& file) {
  const TrainedOn& data = file.data();
  Rows rows = {
      {"file",
       str(file.path().string(), ", ", file.count(), file.count() == 1 ? " teacher" : " teachers")},
      {"size", bytes_text(double(std::filesystem::file_size(file.path())))},
      {"dataset", str(data.dataset, ", SHA-256 ", data.dataset_sha256.substr(0, 16), "...")},
      {"trained on", str(data.train_images, " images of ", data.image.channels, "x",
                         data.image.height, "x", data.image.width)}};
  if (!data.dataset_note.empty()) rows.push_back({"note", data.dataset_note});
  rows.push_back({"classes", cli::wrapped(join(data.class_names), 100, 15)});
  rows.push_back({"preprocessing", data.preprocessing.description()});
  return rows;
}

/// "sgd", "sgd, curvature full": the recipe and GUARD's penalty, which is not seen otherwise.
std::string recipe_of(const Teacher& teacher) {
  if (teacher.options.empty()) return "imported";
  std::string name;
  std::string curvature;
  for (const auto& entry : config::parse_config(teacher.options, "options of a teacher")) {
    if (entry.key == "recipe") name = entry.value;
    if (entry.key == "curvature" && entry.value != "none") curvature = ", curvature " + entry.value;
  }
  return name + curvature;
}

Rows lines(const std::vector<Teacher>& teachers) {
  Rows rows = {{"teacher", "parameters", "recipe", "epochs", "accuracy", "tested on", "training",
                "SHA-256"}};
  for (const Teacher& teacher : teachers) {
    rows.push_back({teacher.network, str(parameters_of(teacher)), recipe_of(teacher),
                    str(teacher.epochs), tested(teacher) ? fixed(teacher.accuracy, 2) + " %" : "-",
                    teacher.tested_on.empty() ? "-" : teacher.tested_on,
                    duration_text(teacher.wall_seconds), teacher.sha256().substr(0, 16) + "..."});
  }
  return rows;
}

json file_json(const TeacherReader& file, const std::vector<Teacher>& teachers) {
  const TrainedOn& data = file.data();
  json document = {{"schema", "retort.teachers-info/1"},
                   {"file", file.path().string()},
                   {"bytes", std::filesystem::file_size(file.path())},
                   {"dataset", data.dataset},
                   {"dataset_sha256", data.dataset_sha256},
                   {"dataset_note", data.dataset_note},
                   {"train_images", data.train_images},
                   {"shape", {data.image.channels, data.image.height, data.image.width}},
                   {"class_names", data.class_names},
                   {"preprocessing", data.preprocessing.description()},
                   {"teachers", json::array()}};
  for (const Teacher& teacher : teachers) {
    json entry = teacher_json(teacher);
    entry["options"] = teacher.options;
    entry["program"] = teacher.program_version;
    entry["processor"] = teacher.processor;
    document["teachers"].push_back(std::move(entry));
  }
  return document;
}

json text_or_null(const std::string& text) { return text.empty() ? json() : json(text); }

}  // namespace

json teacher_json(const Teacher& teacher) {
  return {{"network", teacher.network},
          {"parameters", parameters_of(teacher)},
          {"epochs", teacher.epochs},
          {"seed", teacher.seed},
          {"accuracy", tested(teacher) ? json(teacher.accuracy) : json()},
          {"tested_on", teacher.tested_on},
          {"wall_seconds", teacher.wall_seconds},
          {"class_statistics", !teacher.class_statistics.empty()},
          {"class_average", text_or_null(teacher.class_average)},
          {"class_statistics_sha256", text_or_null(teacher.statistics_sha256())},
          {"sha256", teacher.sha256()}};
}

void print_teachers(const std::string& path, bool as_json) {
  const TeacherReader file(path);
  std::vector<Teacher> teachers;
  for (std::int64_t i = 0; i < file.count(); ++i) teachers.push_back(file.teacher(i));
  if (as_json) {
    print_document(file_json(file, teachers));
  } else {
    cli::print(columns(description(file)) + columns(lines(teachers)));
  }
}

}  // namespace retort::commands
