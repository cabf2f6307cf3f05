#pragma once

#include <string>

#include "notebooks_cpp/weaver/outcome.h"

namespace retort::weaver {

/// The notebook with what its cells gave, as a Jupyter notebook: JSON of nbformat 4.5. It names no
/// kernel: there is none that runs it.
std::string ipynb(const Notebook& notebook, const Outcome& outcome);

}  // namespace retort::weaver
