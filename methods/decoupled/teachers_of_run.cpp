#include "methods/decoupled/teachers_of_run.h"

#include <filesystem>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/nn/network_name.h"

namespace retort::methods::decoupled {
namespace {

constexpr char kSha256[] = "teachers/sha256";

void expect_file(const std::string& file, const RunContext& run) {
  const auto advice = [&](const std::string& out) {
    return str("This makes one, with the options of --dataset that are used here: ",
               "retort teachers --nets ConvNet-3-BN --dataset ", run.dataset.info().name, " --out ",
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
  const auto anything = [](const std::string&) { return true; };
  table.add("teachers", file,
            purpose +
                ", made by `retort teachers`; a resumed run takes the same from wherever "
                "they are",
            {"a file of teachers", anything});
  table.add("teacher-names", names, "which of them, by network or number in the file; nothing: all",
            teacher_rule());
}

TeachersOfRun::TeachersOfRun(const TeacherOptions& options, const RunContext& run)
    : file_(options.file) {
  expect_file(file_, run);
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
    expect_file(options.file, run);
    return train::load_networks(options.file, options.names, dataset);
  }
  Networks networks;
  for (const std::string& name : options.names) {
    if (is_number(name)) continue;  // in a file that is not there
    networks.push_back(nn::make_network(name, dataset.shape(), dataset.num_classes()));
  }
  return networks;
}

void expect_sha256(const std::string& file, const std::string& what, const std::string& before,
                   const std::string& now) {
  if (now == before) return;
  throw ConfigError(str("teachers '", file, "': this run began with ", what, ", SHA-256 ", before,
                        ", these have ", now));
}

}  // namespace retort::methods::decoupled
