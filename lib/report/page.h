#pragma once

#include <string>

#include "lib/report/report_data.h"

namespace retort::report {

/// A whole HTML document in one text: no other file and no network is needed to read it. The same
/// data gives the same bytes.
std::string page(const ReportData& data);

/// What every page begins with.
inline constexpr const char* kPageStart = "<!doctype html>\n<html lang=\"en\" data-report=\"retort";

}  // namespace retort::report
