#pragma once
// What a notebook shows: text, pictures, plots and tables below the cell that gave them. And what
// the weaver puts around its cells.

#include <string>
#include <vector>

#include "lib/core/str.h"
#include "lib/core/tensor.h"
#include "lib/report/chart.h"
#include "lib/vision/vision.h"

namespace retort::nb {

/// Whether the notebook only has to show that it runs: RETORT_NOTEBOOK_FAST is set, and not to 0.
/// Tests set it; a notebook then takes seconds.
bool fast();

void text(const std::string& text);
/// Joins values into one text: nb::out("loss ", loss).
template <class... Parts>
void out(const Parts&... parts) {
  text(str(parts...));
}

/// @param svg a document of its own  @param in_words what it shows, for those who cannot see it
void svg(const std::string& svg, const std::string& in_words);
void chart(const report::LineChart& chart);

/// @param image uint8 [C,H,W], C 1 or 3
void png(const Tensor& image, const std::string& in_words);
/// Images beside and below each other, small ones enlarged.
void grid(const std::vector<vision::GridRow>& rows, const std::string& in_words,
          const vision::GridOptions& options = {});

/// Markup as it is, which must be well-formed; scripts do not run.
void html(const std::string& markup);
/// The first column names its rows, numbers stand to the right in the others.
void table(const std::vector<std::string>& header,
           const std::vector<std::vector<std::string>>& rows);

/// A folder of the notebook's own, empty at its start, removed at its end.
std::string folder();

/// Of the weaver: cell number `cell` begins.
void enter(int cell);
/// Of the weaver: the notebook's main. @param words the file that gets the records
int run(const std::vector<std::string>& words, void (*cells)());

}  // namespace retort::nb
