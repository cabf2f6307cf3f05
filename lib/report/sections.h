#pragma once
// The parts of a page. Private to lib/report.

#include <string>
#include <vector>

#include "lib/report/html.h"
#include "lib/report/report_data.h"
#include "lib/report/style.h"

namespace retort::report {

/// One section: what is in it of every set, side by side.
struct Section {
  std::string id;
  std::string title;  ///< also its name in Gap::section
  std::string intro;  ///< a sentence below the title; may be empty
  bool (*holds)(const SetReport& set);
  void (*add)(Html& html, const SetReport& set);
};

/// THE list, in the order of the page.
const std::vector<Section>& all_sections();

bool has_images(const SetReport& set);
void add_images(Html& html, const SetReport& set);
bool has_evolution(const SetReport& set);
void add_evolution(Html& html, const SetReport& set);
bool has_curves(const SetReport& set);
void add_curves(Html& html, const SetReport& set);
bool has_classes(const SetReport& set);
void add_classes(Html& html, const SetReport& set);
bool has_pixels(const SetReport& set);
void add_pixels(Html& html, const SetReport& set);
bool has_configuration(const SetReport& set);
void add_configuration(Html& html, const SetReport& set);

/// Tables over all sets.
void add_overview(Html& html, const ReportData& data);
void add_accuracy(Html& html, const ReportData& data);
void add_architectures(Html& html, const ReportData& data);
void add_cost(Html& html, const ReportData& data);

extern const char* const kScript;

}  // namespace retort::report
