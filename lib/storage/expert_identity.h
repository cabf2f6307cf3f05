#pragma once
// What experts of one file have in common, as named texts: from them come the id of a file, and the
// words when two files do not go together. Private to lib/storage.

#include <optional>
#include <string>
#include <vector>

#include "lib/storage/expert_file.h"
#include "lib/storage/identity.h"

namespace retort::storage::experts {

/// Everything but who trained where. Class names, parameters and options are a field each. Numbers
/// are the shortest texts that read back as the same bits, matrices their SHA-256.
std::vector<Field> fields(const ExpertInfo& info);

/// One `name = value` line per field, with line breaks and backslashes of values escaped; its
/// SHA-256 is the id.
std::string identity_text(const ExpertInfo& info);

/// Of their fields.
std::optional<Difference> difference(const ExpertInfo& expected, const ExpertInfo& found);

}  // namespace retort::storage::experts
