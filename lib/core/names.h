#pragma once
// Names as people type them: unknown ones fail with the known ones spelled out and the nearest one
// suggested.

#include <string>
#include <vector>

namespace retort {

/// With small letters in the place of ASCII's capital ones.
std::string lower_case(std::string text);

/// The known name with the smallest edit distance to `name`, or "" if none is close.
std::string nearest_name(const std::string& name, const std::vector<std::string>& known);

/// "unknown network 'ConvNe-3'; did you mean 'ConvNet-3'? Known: ..."
std::string unknown_name_message(const std::string& kind, const std::string& name,
                                 const std::vector<std::string>& known);

}  // namespace retort
