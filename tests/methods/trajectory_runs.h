#pragma once
// What tests of the trajectory methods share: short runs on small experts, and files of experts
// that were changed.

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "lib/storage/expert_file.h"
#include "methods/method.h"
#include "tests/methods/small.h"

namespace retort::testing {

using Settings = std::vector<std::pair<std::string, std::string>>;

methods::RunContext small_run(std::uint64_t seed = 1, std::int64_t ipc = 2);

/// Of a report. Fails the test where there is none of this name.
double column(const methods::UpdateReport& report, const std::string& name);

struct Trace {
  std::vector<methods::UpdateReport> reports;
  data::SyntheticSet set;
  storage::StateWriter state;
};
/// `iterations` updates of a fresh run.
Trace trace(const std::string& name, const Settings& more, const std::string& iterations = "3");

/// A run with these options must not start, for this reason.
void expect_refused(const std::string& name, const Settings& more, const std::string& text);

/// Expert `number` of a file, to be changed.
storage::ExpertPart part_of(const storage::ExpertReader& file, std::int64_t number);
/// A file of these experts in `folder`.
std::filesystem::path merged(const std::filesystem::path& folder,
                             const std::vector<storage::ExpertPart>& parts);
std::filesystem::path merged(const std::filesystem::path& folder, const storage::ExpertPart& part);

}  // namespace retort::testing
