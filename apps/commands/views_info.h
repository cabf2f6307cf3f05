#pragma once
// What `info` says of the labels of views in a set.

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "lib/data/recorded_views.h"
#include "lib/storage/set_file.h"

namespace retort::commands {

/// Lines of name and text.
std::vector<std::vector<std::string>> views_rows(const data::RecordedViews& views,
                                                 const storage::LabelBytes& bytes);
nlohmann::json views_json(const data::RecordedViews& views, const storage::LabelBytes& bytes);

}  // namespace retort::commands
