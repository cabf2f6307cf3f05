#include "notebooks_cpp/nb.h"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>

#include <c10/util/Exception.h>

#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/memory.h"
#include "lib/report/html.h"
#include "notebooks_cpp/weaver/records.h"

namespace retort::nb {
namespace {

using report::Html;
using weaver::Record;
using weaver::RecordKind;
namespace fs = std::filesystem;

/// The one notebook of this process.
struct Session {
  std::ofstream records;
  fs::path folder;
};

Session& session() {
  static Session session;
  return session;
}

/// Flushed at once: a program that crashes has left all that it showed.
void write(const Record& record) {
  std::ofstream& out = session().records;
  out << weaver::encoded(record) << std::flush;
  if (!out) throw StorageError("notebook: its records cannot be written");
}

void open_session(const fs::path& records) {
  Session& here = session();
  here.records.open(records, std::ios::binary | std::ios::trunc);
  here.records << weaver::kRecordsStart << std::flush;
  if (!here.records) throw StorageError(str("notebook: cannot write '", records.string(), "'"));
  here.folder = records.string() + ".folder";
  fs::remove_all(here.folder);
  fs::create_directories(here.folder);
}

int fail(const std::string& type, const std::string& message) {
  write({RecordKind::Error, type, message});
  return 1;
}

/// Runs the cells and says what ended them.
int guarded(void (*cells)()) {
  try {
    cells();
    write({.kind = RecordKind::End});
    return 0;
  } catch (const ConfigError& e) {
    return fail("ConfigError", e.what());
  } catch (const DataError& e) {
    return fail("DataError", e.what());
  } catch (const StorageError& e) {
    return fail("StorageError", e.what());
  } catch (const NumericalError& e) {
    return fail("NumericalError", e.what());
  } catch (const c10::Error& e) {
    return fail("c10::Error", e.what_without_backtrace());
  } catch (const std::exception& e) {
    return fail("exception", e.what());
  } catch (...) {
    return fail("exception", "an exception of no standard type");
  }
}

}  // namespace

bool fast() {
  const char* const value = std::getenv("RETORT_NOTEBOOK_FAST");
  return value != nullptr && std::string(value) != "0";
}

void text(const std::string& text) { write({.kind = RecordKind::Text, .body = text}); }

void svg(const std::string& svg, const std::string& in_words) {
  write({RecordKind::Svg, in_words, svg});
}

void chart(const report::LineChart& chart) { svg(report::line_chart_svg(chart), chart.title); }

void png(const Tensor& image, const std::string& in_words) {
  const auto bytes = vision::encode_png(image);
  write({RecordKind::Png, in_words,
         std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())});
}

void grid(const std::vector<vision::GridRow>& rows, const std::string& in_words,
          const vision::GridOptions& options) {
  png(vision::image_grid(rows, options), in_words);
}

void html(const std::string& markup) { write({.kind = RecordKind::Html, .body = markup}); }

void table(const std::vector<std::string>& header,
           const std::vector<std::vector<std::string>>& rows) {
  Html table;
  const auto add_row = [&](const std::string& element, const std::vector<std::string>& cells) {
    table.open("tr");
    for (std::size_t i = 0; i < cells.size(); ++i) {
      table.element(element, cells[i], {{"class", i == 0 ? "name" : "number"}});
    }
    table.close("tr");
  };
  table.open("div", {{"class", "scroll"}, {"tabindex", "0"}}).open("table").open("thead");
  add_row("th", header);
  table.close("thead").open("tbody");
  for (const auto& row : rows) add_row("td", row);
  table.close("tbody").close("table").close("div");
  html(std::move(table).finish());
}

std::string folder() { return session().folder.string(); }

void enter(int cell) { write({.kind = RecordKind::Cell, .body = std::to_string(cell)}); }

int run(const std::vector<std::string>& words, void (*cells)()) {
  if (words.size() != 1) {
    std::cerr << "usage: a notebook's program takes one word, the file for its records\n";
    return 2;
  }
  try {
    tune_allocator();
    log::set_sink([](log::Level level, const std::string& message) {
      if (level != log::Level::Info) std::cerr << message << '\n';
    });
    open_session(words.front());
    const int status = guarded(cells);
    fs::remove_all(session().folder);
    return status;
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}

}  // namespace retort::nb
