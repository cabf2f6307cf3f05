#include "tests/methods/trajectory_runs.h"

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "tests/support/catch.h"

namespace retort::testing {

using namespace retort::methods;

RunContext small_run(std::uint64_t seed, std::int64_t ipc) {
  return {.dataset = shapes(), .ipc = ipc, .rng = Rng(seed)};
}

double column(const UpdateReport& report, const std::string& name) {
  for (const auto& [key, value] : report.columns) {
    if (key == name) return value;
  }
  FAIL("no column " << name);
  return 0;
}

Trace trace(const std::string& name, const Settings& more, const std::string& iterations) {
  auto method = small_method(name, iterations, more);
  RunContext run = small_run();
  method->initialize(run);
  Trace result;
  for (std::int64_t i = 0; i < method->iterations(); ++i) {
    result.reports.push_back(method->update(i));
  }
  result.set = method->snapshot();
  method->save_state(result.state);
  return result;
}

void expect_refused(const std::string& name, const Settings& more, const std::string& text) {
  INFO(name);
  auto method = small_method(name, "3", more);
  RunContext run = small_run();
  CHECK_THROWS_WITH_TEXT(method->initialize(run), ConfigError, text);
}

storage::ExpertPart part_of(const storage::ExpertReader& file, std::int64_t number) {
  storage::ExpertPart part;
  part.info = file.info();
  part.number = number;
  part.seeds = file.seeds(number);
  for (std::int64_t s = 0; s <= kSmallExpertEpochs; ++s) {
    part.snapshots.push_back(file.snapshot(number, s).clone());
    part.log.push_back(file.log(number, s));
  }
  part.complete = true;
  return part;
}

std::filesystem::path merged(const std::filesystem::path& folder,
                             const std::vector<storage::ExpertPart>& parts) {
  std::vector<std::filesystem::path> paths;
  for (const auto& part : parts) {
    paths.push_back(folder / str("part-", part.number, ".h5"));
    storage::write_part(paths.back(), part);
  }
  storage::merge_experts(folder / "experts.h5", std::nullopt, paths);
  return folder / "experts.h5";
}

std::filesystem::path merged(const std::filesystem::path& folder, const storage::ExpertPart& part) {
  return merged(folder, std::vector{part});
}

}  // namespace retort::testing
