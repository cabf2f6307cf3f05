#include <algorithm>
#include <cstdio>
#include <optional>

#include <nlohmann/json.hpp>

#include "apps/commands/commands.h"
#include "apps/commands/dataset_options.h"
#include "apps/commands/document.h"
#include "apps/commands/folder_kind.h"
#include "apps/commands/output_file.h"
#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/storage/set_file.h"
#include "lib/synth/picture.h"
#include "lib/vision/vision.h"

namespace retort::commands {
namespace {

struct ShowOptions {
  OutputFile out{.path = "grid.png"};
  std::string view = "auto";
  std::int64_t per_class = 10;
  std::int64_t real = 0;

  void describe(config::OptionTable& table) {
    out.describe(table, "picture to write: .png, .jpg or .bmp");
    table.add("view", view,
              "images as stored, as networks see them after decoding, both, or what fits the set",
              config::one_of({"auto", "stored", "decoded", "both"}));
    table.add("per-class", per_class, "columns of each class; 0: all", config::at_least(0));
    table.add("real", real, "real training images beside each class",
              config::in_range(std::int64_t(0), 1000));
  }
};

/// @param pictures uint8 [3,H,W], of any size; below each other on white
Tensor stacked(const std::vector<Tensor>& pictures) {
  std::int64_t width = 0;
  for (const auto& picture : pictures) width = std::max(width, picture.size(2));
  std::vector<Tensor> rows;
  for (const auto& picture : pictures) {
    rows.push_back(at::constant_pad_nd(picture, {0, width - picture.size(2)}, 255));
  }
  return at::cat(rows, 1);
}

std::string clipped_text(const std::string& what, double fraction) {
  char percent[32];
  std::snprintf(percent, sizeof percent, "%.2f", fraction * 100);
  return str(what, ": ", percent, " % of the values lie outside black to white and were clipped\n");
}

int run(const cli::Command& command, const std::vector<std::string>& args, cli::Program& program) {
  cli::OutputOptions output;
  DatasetOptions dataset_options;
  ShowOptions options;
  config::OptionTable table;
  options.describe(table);
  dataset_options.describe(table);
  const auto word = cli::parse_one_word(command, args, table, output, "SET|RUN", program);
  if (!word) return 0;
  const std::string file = set_file(*word);
  options.out.check(FileKind::Picture, file);
  const data::SyntheticSet set = storage::read_set(file);
  std::optional<data::ImageDataset> dataset;
  if (options.real > 0) dataset = open_for_set(dataset_options, table, set);
  std::vector<Tensor> pictures;
  std::string report;
  nlohmann::json document = {
      {"schema", "retort.picture/1"}, {"set", file}, {"out", options.out.path}};
  const auto draw = [&](bool decoded, const std::string& title) {
    const synth::Picture picture = synth::draw_set(
        set,
        {.decoded = decoded, .per_class = options.per_class, .real = options.real, .title = title},
        dataset ? &*dataset : nullptr);
    pictures.push_back(picture.pixels);
    document["clipped"][decoded ? "decoded" : "stored"] = picture.clipped_fraction;
    report += clipped_text(decoded ? "decoded images" : "stored images", picture.clipped_fraction);
  };
  const bool plain = set.decoder.id == "pixels";
  const bool both = options.view == "both" || (options.view == "auto" && !plain);
  if (both || options.view != "decoded") draw(false, both ? "stored images" : "");
  if (both || options.view == "decoded") draw(true, both ? "decoded images" : "");
  vision::write_image(options.out.path, stacked(pictures));
  if (output.json) {
    print_document(document);
  } else {
    cli::print(str(options.out.path, "\n", report));
  }
  return 0;
}

}  // namespace

cli::Command show() {
  return {"show",
          "Draws a set as a picture, one row per class.",
          "SET|RUN [options]",
          {"retort show set.h5 --out grid.png", "retort show set.h5 --real 5 --out beside.png"},
          run};
}

}  // namespace retort::commands
