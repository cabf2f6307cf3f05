#include <cstdio>
#include <filesystem>
#include <utility>
#include <variant>

#include <nlohmann/json.hpp>

#include "apps/commands/class_folder.h"
#include "apps/commands/commands.h"
#include "apps/commands/document.h"
#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/storage/exchange.h"
#include "lib/storage/set_file.h"
#include "lib/synth/parametrization.h"
#include "lib/synth/picture.h"
#include "lib/vision/vision.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;

/// What leaves the program: images with their labels.
struct Exported {
  Tensor images;   ///< [N,C,H,W] float32, preprocessed
  Tensor classes;  ///< int64 [N]
  Tensor soft;     ///< float32 [N,K], undefined for hard labels and stored images
};

Exported choose_images(const data::SyntheticSet& set, bool stored) {
  if (stored) return {set.images, set.class_index, {}};
  const data::LabelledImages decoded = synth::decode(set);
  Exported exported{decoded.images, data::hard_classes(decoded.labels), {}};
  if (const auto* soft = std::get_if<data::SoftLabels>(&decoded.labels)) {
    exported.soft = soft->values;
  }
  return exported;
}

std::vector<std::pair<std::string, Tensor>> named_tensors(const data::SyntheticSet& set,
                                                          const Exported& exported) {
  std::vector<std::pair<std::string, Tensor>> tensors = {{"images", exported.images.contiguous()},
                                                         {"labels", exported.classes.contiguous()}};
  if (exported.soft.defined()) tensors.emplace_back("soft_labels", exported.soft.contiguous());
  if (set.learned_lr) tensors.emplace_back("lr", at::tensor(*set.learned_lr, at::kDouble));
  if (set.preprocessing.kind() == data::Preprocessing::Kind::MeanStd) {
    tensors.emplace_back("mean", at::tensor(set.preprocessing.mean(), at::kDouble));
    tensors.emplace_back("std", at::tensor(set.preprocessing.std(), at::kDouble));
  } else {
    const data::ZcaMatrices& zca = set.preprocessing.zca_matrices();
    tensors.emplace_back("zca_eps", at::tensor(zca.eps, at::kDouble));
    tensors.emplace_back("zca_mean", zca.mean.contiguous());
    tensors.emplace_back("zca_whiten", zca.whiten.contiguous());
    tensors.emplace_back("zca_inverse", zca.inverse.contiguous());
  }
  return tensors;
}

void write_pictures(const fs::path& folder, const data::SyntheticSet& set,
                    const Exported& exported) {
  if (fs::exists(folder) && !fs::is_empty(folder)) {
    throw ConfigError(str("option 'out': '", folder.string(), "' exists and is not empty"));
  }
  const Tensor pixels = synth::to_pixels(exported.images, set.preprocessing).values;
  std::vector<int> next(std::size_t(set.num_classes()), 0);
  for (std::int64_t i = 0; i < pixels.size(0); ++i) {
    const auto c = exported.classes[i].item<std::int64_t>();
    char name[32];
    std::snprintf(name, sizeof name, "%05d.png", next[std::size_t(c)]++);
    const fs::path path = folder / class_folder(set.provenance.class_names, c) / name;
    fs::create_directories(path.parent_path());
    vision::write_image(path, pixels[i]);
  }
}

int run(const cli::Command& command, const std::vector<std::string>& args, cli::Program& program) {
  std::string format = "pt";
  std::string out;
  bool stored = false;
  cli::OutputOptions output;
  config::OptionTable table;
  table.add("format", format, "pt: torch.load, npz: numpy.load, png: a folder per class",
            config::one_of({"pt", "npz", "png"}));
  table.add("out", out, "file to write, or folder for png", config::any_text());
  table.add("stored", stored,
            "images as stored instead of the decoded ones that networks train on");
  output.describe(table);
  const auto words = cli::parse_command(command, args, table, {{"SET"}, 1});
  if (!words) return 0;
  output.apply(program);
  if (out.empty()) throw ConfigError("retort export: give --out, the file or folder to write");
  cli::expect_other_file("out", out, words->front());

  const data::SyntheticSet set = storage::read_set(words->front());
  const Exported exported = choose_images(set, stored);
  if (format == "png") {
    write_pictures(out, set, exported);
  } else if (format == "pt") {
    storage::write_pt(out, named_tensors(set, exported));
  } else {
    storage::write_npz(out, named_tensors(set, exported));
  }
  if (output.json) {
    print_document({{"schema", "retort.export/1"},
                    {"set", words->front()},
                    {"out", out},
                    {"format", format},
                    {"view", stored ? "stored" : "decoded"},
                    {"images", exported.images.size(0)}});
    return 0;
  }
  cli::print(str(out, ": ", exported.images.size(0), stored ? " stored" : " decoded", " images\n"));
  return 0;
}

}  // namespace

cli::Command export_set() {
  return {"export",
          "Writes a set for other programs: tensors of preprocessed images with labels and what "
          "undoes the preprocessing, or plain pictures.",
          "SET --format pt|npz|png --out PATH [options]",
          {"retort export set.h5 --format pt --out set.pt",
           "retort export set.h5 --format png --out pictures"},
          run};
}

}  // namespace retort::commands
