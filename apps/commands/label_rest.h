#pragma once

#include <filesystem>
#include <string>

#include "apps/cli/command.h"
#include "lib/train/labelling.h"

namespace retort::commands {

/// Has all views labelled that an earlier process has not, and shows how far it is.
/// @param name of whose views they are, where that is not obvious; or nothing
/// @param out the file that `labelling` keeps its parts beside
/// @throws Interrupted saying where what is done is saved
void label_rest(train::Labelling& labelling, const std::string& name,
                const std::filesystem::path& out, cli::Program& program);

}  // namespace retort::commands
