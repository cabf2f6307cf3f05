#pragma once
// The look of every page that Retort writes, light and dark.

namespace retort::report {

/// Colours of the page, and lines of everything drawn; also what a plot needs that stands alone.
extern const char* const kPlotStyle;
/// The rest of a page: goes after it.
extern const char* const kStyle;

}  // namespace retort::report
