#pragma once

#include <string>

#include "notebooks_cpp/weaver/notebook.h"

namespace retort::weaver {

/// The notebook as one C++ program: [globals] cells at file scope, then code cells in their order
/// inside of one function, which `nb::run` of notebooks_cpp/nb.h calls. The compiler names lines of
/// the notebook.
/// @param path where the notebook lies  @param own_path where the program will lie
std::string woven_program(const Notebook& notebook, const std::string& path,
                          const std::string& own_path);

}  // namespace retort::weaver
