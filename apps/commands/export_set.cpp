#include <cstdio>
#include <filesystem>
#include <utility>
#include <variant>

#include <nlohmann/json.hpp>

#include "apps/commands/class_folder.h"
#include "apps/commands/commands.h"
#include "apps/commands/document.h"
#include "apps/commands/folder_kind.h"
#include "apps/commands/output_file.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/str.h"
#include "lib/data/recorded_views.h"
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
  Tensor images;        ///< [N,C,H,W] float32, preprocessed
  Tensor classes;       ///< int64 [N]
  Tensor soft;          ///< float32 [N,K], undefined for hard labels and stored images
  bool stored = false;  ///< what the decoder needs goes with them
};

Exported choose_images(const data::SyntheticSet& set, bool stored) {
  if (stored) return {set.images, set.class_index, {}, true};
  const data::LabelledImages decoded = synth::decode(set);
  Exported exported{decoded.images, data::hard_classes(decoded.labels), {}, false};
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
  if (exported.stored) {
    for (const auto& [name, values] : set.parameters) tensors.emplace_back(name, values);
  }
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

/// The format that a file's ending promises; "" if it promises none.
std::string promised_format(const fs::path& out) {
  const std::string ending = out.extension().string();
  if (ending == ".pt" || ending == ".pth") return "pt";
  return ending == ".npz" ? "npz" : "";
}

/// @param asked "auto" for what the ending says
std::string choose_format(const std::string& asked, const std::string& out) {
  const std::string ending = fs::path(out).extension().string();
  for (const char* picture : {".png", ".jpg", ".jpeg", ".bmp"}) {
    if (ending != picture) continue;
    throw ConfigError(str("option 'out': '", out,
                          "' names one picture, and png writes a folder "
                          "with one per image; `retort show` draws a set as one picture"));
  }
  const std::string promised = promised_format(out);
  if (asked == "auto" && promised.empty()) {
    throw ConfigError(str("option 'out': the ending of '", out,
                          "' says no format, neither .pt, "
                          ".pth nor .npz; give --format pt, npz or png"));
  }
  if (asked == "auto") return promised;
  if (!promised.empty() && promised != asked) {
    throw ConfigError(str("option 'format': ", asked, " contradicts the ending of '", out,
                          "', which is that of ", promised));
  }
  return asked;
}

void write_pictures(const fs::path& folder, const data::SyntheticSet& set,
                    const Exported& exported) {
  if (fs::exists(folder) && !fs::is_directory(folder)) {
    throw ConfigError(str("option 'out': '", folder.string(), "' is a file, png writes a folder"));
  }
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

/// Other programs have no place for labels of views, and pictures for none but classes.
void warn_of_what_stays(const data::SyntheticSet& set, const Exported& exported,
                        const std::string& format) {
  const bool with_soft = exported.soft.defined() && format != "png";
  std::vector<std::string> staying;
  if (set.views != nullptr) {
    staying.push_back(str("the labels of ", set.views->views(), " views"));
  }
  if (std::holds_alternative<data::SoftLabels>(set.labels) && !with_soft) {
    staying.emplace_back("the soft labels");
  }
  if (staying.empty()) return;
  log::warn(str(join(staying, " and "), " stay in the set file; images and ",
                with_soft ? "their own labels" : "classes", " are exported in full"));
}

int run(const cli::Command& command, const std::vector<std::string>& args, cli::Program& program) {
  std::string format = "auto";
  OutputFile out;
  bool stored = false;
  cli::OutputOptions output;
  config::OptionTable table;
  table.add(
      "format", format,
      "pt: torch.load, npz: numpy.load, png: a folder per class; auto: what the ending of --out "
      "says",
      config::one_of({"auto", "pt", "npz", "png"}));
  out.describe(table, "file to write, or folder for png");
  table.add("stored", stored,
            "images as stored instead of the decoded ones that networks train on");
  const auto word = cli::parse_one_word(command, args, table, output, "SET|RUN", program);
  if (!word) return 0;
  const std::string file = set_file(*word);
  if (out.path.empty()) throw ConfigError("retort export: give --out, the file or folder to write");
  cli::expect_other_file("out", out.path, file);
  format = choose_format(format, out.path);
  if (format != "png") out.check(format == "pt" ? FileKind::PyTorch : FileKind::NumPy, file);

  const data::SyntheticSet set = storage::read_set(file);
  const Exported exported = choose_images(set, stored);
  warn_of_what_stays(set, exported, format);
  if (format == "png") {
    write_pictures(out.path, set, exported);
  } else if (format == "pt") {
    storage::write_pt(out.path, named_tensors(set, exported));
  } else {
    storage::write_npz(out.path, named_tensors(set, exported));
  }
  if (output.json) {
    print_document({{"schema", "retort.export/1"},
                    {"set", file},
                    {"out", out.path},
                    {"format", format},
                    {"view", stored ? "stored" : "decoded"},
                    {"images", exported.images.size(0)}});
    return 0;
  }
  cli::print(
      str(out.path, ": ", exported.images.size(0), stored ? " stored" : " decoded", " images\n"));
  return 0;
}

}  // namespace

cli::Command export_set() {
  return {"export",
          "Writes a set for other programs: tensors of preprocessed images with labels and what "
          "undoes the preprocessing, or plain pictures.",
          "SET|RUN --out PATH [--format pt|npz|png] [options]",
          {"retort export set.h5 --out set.pt", "retort export set.h5 --format png --out pictures"},
          run};
}

}  // namespace retort::commands
