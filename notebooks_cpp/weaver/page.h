#pragma once

#include <string>

#include "notebooks_cpp/weaver/outcome.h"

namespace retort::weaver {

/// The notebook with what its cells gave, as one HTML document that needs no other file and no
/// network. It names the cell that failed, where one did.
std::string html_page(const Notebook& notebook, const Outcome& outcome);

}  // namespace retort::weaver
