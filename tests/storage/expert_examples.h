#pragma once
// Experts and files of them, made up.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lib/storage/expert_file.h"
#include "tests/storage/support.h"

namespace retort::testing {

constexpr std::int64_t kParameters = 8;

storage::ExpertInfo example_info();
Tensor values_of(std::int64_t expert, std::int64_t snapshot, std::int64_t size = kParameters);
storage::SnapshotLog log_of(std::int64_t expert, std::int64_t snapshot);
/// Expert `number` with its first `done` snapshots.
storage::ExpertPart example_part(std::int64_t number, std::int64_t done = 3,
                                 const storage::ExpertInfo& info = example_info());
/// A file of it. @return its path
std::filesystem::path written(const TemporaryFolder& folder, const storage::ExpertPart& part);
/// "experts.h5" of complete experts with these numbers.
std::filesystem::path merged(const TemporaryFolder& folder,
                             const std::vector<std::int64_t>& numbers,
                             const storage::ExpertInfo& info = example_info());
/// Where the values of a snapshot lie in a file.
std::size_t position_of(const std::string& bytes, const Tensor& values);

}  // namespace retort::testing
