#include "methods/decoupled/teachers_of_run.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <set>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/nn/network_name.h"
#include "lib/train/recipe_settings.h"
#include "lib/train/teachers.h"

namespace retort::methods::decoupled {
namespace {

constexpr char kSha256[] = "teachers/sha256";

bool anything(const std::string&) { return true; }

void expect_file(const TeacherOptions& options, const std::string& file, const RunContext& run) {
  const auto advice = [&](const std::string& out) {
    return str("This makes one, with the options of --dataset that are used here: ",
               "retort teachers --recipe ", options.recipe, " --nets ",
               join(options.networks(), ","), " --dataset ", run.dataset.info().name, " --out ",
               out);
  };
  if (file.empty()) {
    throw ConfigError(
        str("option 'teachers': which file of teachers shall be asked? ", advice("teachers.h5")));
  }
  if (!std::filesystem::exists(file)) {
    throw ConfigError(str("option 'teachers': there is no file '", file, "'. ", advice(file)));
  }
}

}  // namespace

bool is_number(const std::string& teacher) {
  return !teacher.empty() && teacher.find_first_not_of("0123456789") == std::string::npos;
}

config::Rule<std::string> teacher_rule() {
  return {"networks, or numbers from 0", [](const std::string& text) {
            return is_number(text) || nn::network_name().accepts(text);
          }};
}

void TeacherOptions::describe(config::OptionTable& table, const std::string& purpose) {
  table.add(
      "teachers", file,
      str(purpose, ", made by `retort teachers`; ",
          can_be_made ? "none: those that earlier runs left in teachers-dir, or new ones; " : "",
          "a resumed run takes the same from wherever they are"),
      {can_be_made ? "a file of teachers, or nothing" : "a file of teachers", anything});
  table.add("teacher-names", names, "which of them, by network or number in the file; nothing: all",
            teacher_rule());
  if (can_be_made) describe_making(table);
}

void TeacherOptions::describe_making(config::OptionTable& table) {
  table
      .add("make-teachers", make,
           str("networks to train where no file is given; nothing: those of teacher-names, else ",
               join(usual)),
           nn::network_name())
      .only_with("teachers", {""});
  table
      .add("make-recipe", recipe,
           "of `retort teachers` for those that are made: sgd as for SRe2L, adam as for CV-DD",
           config::one_of(train::TeacherRecipe::names()))
      .only_with("teachers", {""});
  table
      .add("make-epochs", make_epochs, "epochs of teachers that are made; 0: those of the recipe",
           config::in_range(std::int64_t{0}, std::int64_t{100000}))
      .only_with("teachers", {""});
  table
      .add("make-settings", make_settings,
           "options of `retort teachers` for teachers that are made, where they differ from the "
           "defaults of the recipe",
           train::recipe_setting())
      .only_with("teachers", {""});
  table
      .add("teachers-dir", folder,
           "where teachers are kept for all runs; nothing: teachers/ beside the run folder",
           {"a folder, or nothing", anything})
      .only_with("teachers", {""});
}

void TeacherOptions::settle() {
  if (!file.empty() || !can_be_made) return;
  make = networks();
  if (make_epochs == 0) make_epochs = train::TeacherRecipe::defaults(recipe).epochs;
}

std::vector<std::string> TeacherOptions::networks() const {
  if (!make.empty()) return make;
  std::vector<std::string> named;
  std::copy_if(names.begin(), names.end(), std::back_inserter(named),
               [](const std::string& name) { return !is_number(name); });
  return named.empty() ? usual : named;
}

std::vector<std::string> TeacherOptions::chosen() const {
  const std::vector<std::string> made = networks();
  std::vector<std::string> chosen;
  for (const std::size_t number : chosen_numbers()) chosen.push_back(made[number]);
  return chosen;
}

std::vector<std::size_t> TeacherOptions::chosen_numbers() const {
  const std::vector<std::string> made = networks();
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; names.empty() && i < made.size(); ++i) chosen.push_back(i);
  for (const std::string& name : names) {
    for (std::size_t i = 0; i < made.size(); ++i) {
      if (made[i] == name || std::to_string(i) == name) chosen.push_back(i);
    }
  }
  const std::size_t different = std::set<std::size_t>(chosen.begin(), chosen.end()).size();
  const std::size_t expected = names.empty() ? made.size() : names.size();
  if (chosen.size() == expected && different == expected) return chosen;
  throw ConfigError(str("option 'teacher-names': expected some of the teachers to be made, ",
                        join(made), ", each once, found ", join(names)));
}

bool TeacherOptions::to_be_made(const RunContext& run) const {
  return file.empty() && run.teachers.empty() && can_be_made;
}

std::optional<TeachersNeeded> TeacherOptions::needed() const {
  if (!file.empty() || !can_be_made) return {};
  train::TeacherRecipe described = train::TeacherRecipe::defaults(recipe);
  with_context("option 'make-settings'", [&] { described.apply(make_settings); });
  return TeachersNeeded{.folder = folder,
                        .recipe = recipe,
                        .settings = make_settings,
                        .nets = networks(),
                        .epochs = make_epochs > 0 ? make_epochs : described.epochs};
}

TeachersOfRun::TeachersOfRun(const TeacherOptions& options, const RunContext& run)
    : file_(options.file.empty() ? run.teachers : options.file) {
  expect_file(options, file_, run);
  members_ = train::load_committee(file_, options.names, run.dataset);
}

void TeachersOfRun::expect_knowing(const RunContext& run) const {
  train::expect_knowing(members_, file_, run.dataset, run.rng.child("teachers"));
}

void TeachersOfRun::save_state(storage::StateWriter& out) const {
  out.text(kSha256, asset().sha256);
}

void TeachersOfRun::expect_as_begun(const storage::StateReader& in) const {
  expect_sha256(file_, "others", in.text(kSha256), asset().sha256);
}

Networks networks_of(const TeacherOptions& options, const RunContext& run) {
  const data::ImageDataset& dataset = run.dataset;
  if (!options.file.empty()) {
    expect_file(options, options.file, run);
    return train::load_networks(options.file, options.names, dataset);
  }
  Networks networks;
  if (!options.can_be_made) return networks;
  for (const std::string& name : options.chosen()) {
    networks.push_back(nn::make_network(name, dataset.shape(), dataset.num_classes()));
  }
  return networks;
}

std::vector<train::Member> unmade_teachers(const TeacherOptions& options, const RunContext& run) {
  const data::ImageDataset& dataset = run.dataset;
  const std::vector<std::string> made = options.networks();
  std::vector<train::Member> teachers;
  for (const std::size_t number : options.chosen_numbers()) {
    train::Member teacher;
    teacher.name = made[number];
    teacher.number = std::int64_t(number);
    teacher.network = nn::make_network(teacher.name, dataset.shape(), dataset.num_classes());
    teachers.push_back(std::move(teacher));
  }
  return teachers;
}

void expect_sha256(const std::string& file, const std::string& what, const std::string& before,
                   const std::string& now) {
  if (now == before) return;
  throw ConfigError(str("teachers '", file, "': this run began with ", what, ", SHA-256 ", before,
                        ", these have ", now));
}

}  // namespace retort::methods::decoupled
