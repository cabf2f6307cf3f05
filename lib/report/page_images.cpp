#include "lib/config/options.h"
#include "lib/core/str.h"
#include "lib/core/text.h"
#include "lib/report/figure.h"
#include "lib/report/sections.h"

namespace retort::report {
namespace {

void add_picture(Html& html, const Image& image) {
  html.open("button", {{"class", "pic"}, {"type", "button"}});
  html.empty("img", {{"src", data_uri("image/png", image.png)},
                     {"alt", image.alt},
                     {"width", str(image.width)},
                     {"height", str(image.height)}});
  html.close("button");
}

void add_neighbour(Html& html, const Neighbour& nearest, const std::string& own_class) {
  html.open("div", {{"class", "real"}});
  add_picture(html, nearest.image);
  const bool stranger = nearest.class_name != own_class;
  html.element("small", fixed(nearest.distance, 3));
  if (stranger) html.element("small", nearest.class_name);
  html.close("div");
}

bool has_neighbours(const Gallery& gallery) {
  for (const ClassRow& row : gallery.rows) {
    for (const Cell& cell : row.cells) {
      if (cell.nearest) return true;
    }
  }
  return false;
}

void add_rows(Html& html, const Gallery& gallery) {
  html.open("div", {{"class", "rows"}});
  for (const ClassRow& row : gallery.rows) {
    html.open("div", {{"class", "class"}}).element("h4", row.name);
    html.open("ul", {{"class", "cells"}});
    for (const Cell& cell : row.cells) {
      html.open("li");
      add_picture(html, cell.image);
      if (cell.nearest) add_neighbour(html, *cell.nearest, row.name);
      html.close("li");
    }
    if (row.left_out > 0) {
      html.open("li").element("small", str("and ", row.left_out, " more")).close("li");
    }
    html.close("ul").close("div");
  }
  html.close("div");
}

void add_neighbour_numbers(Html& html, const Gallery& gallery) {
  Table table{.header = {"class", "image", "nearest training image", "its class", "distance"},
              .rows = {}};
  for (const ClassRow& row : gallery.rows) {
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      const auto& nearest = row.cells[i].nearest;
      if (!nearest) continue;
      table.rows.push_back({row.name, str(i), str(nearest->index), nearest->class_name,
                            fixed(nearest->distance, 4)});
    }
  }
  html.open("details").element("summary", "Distances to the nearest real images");
  add_table(html, table);
  html.close("details");
}

void add_gallery(Html& html, const Gallery& gallery) {
  html.open("div", {{"class", "gallery"}}).element("h3", gallery.title);
  const bool neighbours = has_neighbours(gallery);
  if (neighbours) {
    html.element("p",
                 "Below each image, dashed: the real training image nearest to it, with the root "
                 "mean square difference of their pixels, black 0 to white 1, and its class where "
                 "that is another.",
                 {{"class", "soft"}});
    html.open("label");
    html.empty("input", {{"class", "choice"}, {"type", "checkbox"}, {"checked", "checked"}});
    html.text("show the nearest real images").close("label");
  }
  add_rows(html, gallery);
  if (neighbours) add_neighbour_numbers(html, gallery);
  html.close("div");
}

}  // namespace

bool has_images(const SetReport& set) { return !set.galleries.empty() || set.last_picture; }

void add_images(Html& html, const SetReport& set) {
  for (const Gallery& gallery : set.galleries) add_gallery(html, gallery);
  if (!set.last_picture) return;
  html.open("div", {{"class", "whole"}});
  add_picture(html, *set.last_picture);
  html.close("div");
}

bool has_evolution(const SetReport& set) { return !set.evolution.strips.empty(); }

void add_evolution(Html& html, const SetReport& set) {
  open_scroll(html, "The first image of every class by iteration");
  html.open("table");
  html.open("thead").open("tr").element("th", "class", {{"scope", "col"}});
  for (const auto iteration : set.evolution.iterations) {
    html.element("th", str(iteration), {{"scope", "col"}});
  }
  html.close("tr").close("thead").open("tbody");
  for (const Evolution::Strip& strip : set.evolution.strips) {
    html.open("tr").element("th", strip.name, {{"scope", "row"}});
    for (const Image& image : strip.images) {
      html.open("td");
      add_picture(html, image);
      html.close("td");
    }
    html.close("tr");
  }
  html.close("tbody").close("table").close("div");
}

bool has_pixels(const SetReport& set) { return set.pixels.has_value(); }

void add_pixels(Html& html, const SetReport& set) {
  if (!set.pixels_note.empty()) html.element("p", set.pixels_note);
  add_histogram(html, *set.pixels);
}

}  // namespace retort::report
