#include "lib/report/page.h"

#include <algorithm>

#include "lib/core/hash.h"
#include "lib/core/str.h"
#include "lib/report/figure.h"
#include "lib/report/sections.h"

namespace retort::report {
namespace {

std::string bytes_of_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += char(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

/// Nothing is fetched, and no script runs but the page's own, whatever names of classes hold.
std::string content_policy() {
  return str("default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-",
             base64(bytes_of_hex(sha256_hex(kScript))), "'");
}

void add_head(Html& html, const ReportData& data) {
  html.open("head").empty("meta", {{"charset", "utf-8"}});
  html.empty("meta", {{"name", "viewport"}, {"content", "width=device-width, initial-scale=1"}});
  html.empty("meta", {{"http-equiv", "Content-Security-Policy"}, {"content", content_policy()}});
  html.empty("meta", {{"name", "generator"}, {"content", data.program}});
  html.element("title", data.title);
  html.open("style").markup(kPlotStyle).markup(kStyle).close("style").close("head");
}

/// @param whose name of the set, where that is not said above
void add_gaps(Html& html, const SetReport& set, const std::string& section,
              const std::string& whose) {
  for (const Gap& gap : set.gaps) {
    if (gap.section != section) continue;
    html.open("div", {{"class", "gap soft"}});
    html.text(whose.empty() ? gap.reason : str(whose, ": ", gap.reason));
    if (!gap.command.empty()) html.text(" ").element("code", gap.command);
    html.close("div");
  }
}

void add_section(Html& html, const Section& section, const ReportData& data) {
  html.open("section", {{"id", section.id}}).element("h2", section.title);
  if (!section.intro.empty()) html.element("p", section.intro, {{"class", "soft"}});
  html.open("div", {{"class", "sets"}});
  for (const SetReport& set : data.sets) {
    html.open("div");
    if (data.sets.size() > 1) html.element("h3", set.name);
    if (section.holds(set)) section.add(html, set);
    add_gaps(html, set, section.title, "");
    html.close("div");
  }
  html.close("div").close("section");
}

/// A section of one table over all sets.
struct Joint {
  const char* id;
  const char* title;
  void (*add)(Html& html, const ReportData& data);
};

void add_joint(Html& html, const Joint& joint, const ReportData& data) {
  html.open("section", {{"id", joint.id}}).element("h2", joint.title);
  joint.add(html, data);
  for (const SetReport& set : data.sets) {
    add_gaps(html, set, joint.title, data.sets.size() > 1 ? set.name : "");
  }
  html.close("section");
}

constexpr Joint kOverview{"overview", "Overview", add_overview};
constexpr Joint kAccuracy{"accuracy", "Accuracy", add_accuracy};
constexpr Joint kArchitectures{"architectures", "Across architectures and augmentations",
                               add_architectures};
constexpr Joint kCost{"cost", "Cost", add_cost};

void add_navigation(Html& html) {
  html.open("nav", {{"aria-label", "Sections"}}).open("ul");
  const auto link = [&](const std::string& id, const std::string& title) {
    html.open("li").element("a", title, {{"href", "#" + id}}).close("li");
  };
  for (const Joint& joint : {kOverview, kAccuracy, kArchitectures}) link(joint.id, joint.title);
  for (const Section& section : all_sections()) link(section.id, section.title);
  link(kCost.id, kCost.title);
  html.close("ul").close("nav");
}

/// Where pictures are enlarged.
void add_dialog(Html& html) {
  const auto button = [&](const char* step, const char* text) {
    html.element("button", text, {{"type", "button"}, {"data-step", step}});
  };
  html.open("dialog", {{"id", "zoom"}, {"aria-label", "Enlarged picture"}});
  html.empty("img", {{"alt", ""}, {"src", "data:,"}});
  html.element("p", "").open("div");
  button("-1", "Previous");
  button("1", "Next");
  button("0", "Close");
  html.close("div").close("dialog");
  html.open("script").markup(kScript).close("script");
}

}  // namespace

const std::vector<Section>& all_sections() {
  static const std::vector<Section> sections = {
      {"images", "Images", "Press a picture to enlarge it; arrow keys go to the next one.",
       has_images, add_images},
      {"evolution", "Evolution", "The first image of every class after so many iterations.",
       has_evolution, add_evolution},
      {"curves", "Curves", "", has_curves, add_curves},
      {"classes", "Classes", "Accuracy of every class, and what is taken for what.", has_classes,
       add_classes},
      {"pixels", "Pixel values", "", has_pixels, add_pixels},
      {"configuration", "Configuration", "", has_configuration, add_configuration},
  };
  return sections;
}

std::vector<std::string> filled_sections(const SetReport& set) {
  std::vector<std::string> names;
  if (!set.evaluations.empty() || !set.scores.empty()) names.emplace_back(kAccuracy.title);
  for (const Section& section : all_sections()) {
    if (section.holds(set)) names.push_back(section.title);
  }
  if (!set.cost.empty()) names.emplace_back(kCost.title);
  return names;
}

std::string page(const ReportData& data) {
  Html html;
  html.markup("<!doctype html>\n");
  html.open("html", {{"lang", "en"}, {"data-report", "retort"}});
  add_head(html, data);
  html.open("body").open("header").element("h1", data.title);
  add_navigation(html);
  html.close("header").open("main");
  add_joint(html, kOverview, data);
  add_joint(html, kAccuracy, data);
  add_joint(html, kArchitectures, data);
  for (const Section& section : all_sections()) add_section(html, section, data);
  add_joint(html, kCost, data);
  html.close("main").element("footer", "Written by " + data.program + ".");
  add_dialog(html);
  html.close("body").close("html");
  return std::move(html).finish() + "\n";
}

}  // namespace retort::report
