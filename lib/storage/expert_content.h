#pragma once
// What reading, writing and merging expert files share: names and types of datasets, and what must
// hold on both sides of a file. Private to lib/storage.

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <c10/core/ScalarType.h>

#include "lib/storage/checks.h"
#include "lib/storage/expert_file.h"
#include "lib/storage/hdf5.h"

namespace retort::storage::experts {

inline constexpr std::int64_t kMajor = 1;
inline constexpr std::int64_t kMinor = 0;
inline constexpr char kParams[] = "params";
inline constexpr std::int64_t kMaxRank = 4;  ///< of a parameter
inline constexpr std::int64_t kDigestBytes = 32;
/// Of /expert/status; 0 would be a place without an expert.
inline constexpr std::uint8_t kRunning = 1;
inline constexpr std::uint8_t kComplete = 2;

/// A dataset /log/<name> [n,s] and the field of a log entry it holds.
struct LogColumn {
  const char* name;
  double SnapshotLog::*field;
  at::ScalarType type;
};
inline constexpr std::array kLog{
    LogColumn{"train_loss", &SnapshotLog::train_loss, at::kFloat},
    LogColumn{"train_acc", &SnapshotLog::train_accuracy, at::kFloat},
    LogColumn{"test_loss", &SnapshotLog::test_loss, at::kFloat},
    LogColumn{"test_acc", &SnapshotLog::test_accuracy, at::kFloat},
    LogColumn{"norm", &SnapshotLog::norm, at::kDouble},
    LogColumn{"step_norm", &SnapshotLog::step_norm, at::kDouble},
    LogColumn{"wall_seconds", &SnapshotLog::wall_seconds, at::kDouble},
};

std::int64_t parameter_count(const ExpertInfo& info);
at::ScalarType type_of(ExpertInfo::Store store);
/// Hexadecimal, of float32 values: where they are stored shorter, of what is read back.
std::string sha256_of(const Tensor& values);

/// What must hold on both sides of a file. @throws StorageError
void check_info(const ExpertInfo& info, const std::string& source);

/// What is written into a file or a part: the same datasets for both.
struct Content {
  const ExpertInfo& info;
  const std::vector<ExpertSummary::Expert>& experts;  ///< one or more, with equally long logs
  std::optional<std::int64_t> part;                   ///< number of the one expert of a part
  /// [P] float32; asked for once each, in order.
  std::function<Tensor(std::int64_t expert, std::int64_t snapshot)> snapshot;
};
void write_content(H5Writer& out, const Content& content);

}  // namespace retort::storage::experts
