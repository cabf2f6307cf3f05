#pragma once
// What commands that fill a run folder check before anything is loaded or made.

#include <cstdint>
#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>

#include "lib/data/image_dataset.h"
#include "lib/eval/protocol.h"

namespace retort::commands {

/// "runs/NAME", with -2, -3, ... behind it while that exists.
std::filesystem::path new_run_dir(const std::string& name);

/// @throws ConfigError for a folder that is none, one with something in it that is not to be
///         resumed, and for --resume without a folder
void check_run_dir(const std::string& run_dir, bool resume, bool dry_run);

/// @throws ConfigError naming the class that is too small
void check_ipc(std::int64_t ipc, const data::ImageDataset& dataset);

/// Whether what lies in a folder was made with these options; nothing happens where there is no
/// such file.
/// @param stored its config.cfg  @param config `key = value` lines
/// @throws ConfigError naming what differs
void expect_same_config(const std::filesystem::path& stored, const std::string& config);

/// The result of a study that is finished. Its options name dataset and protocol, but not what lies
/// in their files.
/// @throws ConfigError unless it is of this dataset and protocol
nlohmann::json finished_result(const std::filesystem::path& results,
                               const data::ImageDataset& dataset, const eval::Protocol& protocol);
/// Names what it is a result of instead.
[[noreturn]] void refuse_result(const std::filesystem::path& results, const std::string& of);

/// --dry-run predicts for the processor. @throws ConfigError for another device
void check_dry_run(bool dry_run, const std::string& device);

}  // namespace retort::commands
