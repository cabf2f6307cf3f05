#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <variant>

#include <nlohmann/json.hpp>

#include "apps/commands/class_folder.h"
#include "apps/commands/commands.h"
#include "apps/commands/dataset_options.h"
#include "apps/commands/document.h"
#include "apps/commands/output_file.h"
#include "lib/core/error.h"
#include "lib/core/log.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/storage/exchange.h"
#include "lib/storage/set_file.h"
#include "lib/vision/vision.h"

namespace retort::commands {
namespace {

namespace fs = std::filesystem;

struct ImportOptions {
  OutputFile out{.path = "set.h5"};
  std::string labels;
  std::int64_t entry = 0;
  std::string values = "preprocessed";
  std::string mean;
  std::string std;
  std::string soft_labels = "logit";

  void describe(config::OptionTable& table) {
    out.describe(table, "set file to write");
    table.add("labels", labels, "second .pt file with the labels, where images stand alone",
              config::any_text());
    table.add("entry", entry, "which set of a .pt file that holds several", config::at_least(0));
    table.add("values", values,
              "what the numbers of a .pt file are: preprocessed as networks see them, or in [0,1]",
              config::one_of({"preprocessed", "unit"}));
    table.add("mean", mean,
              "per channel, what the file's images were normalised with; else the "
              "dataset's",
              config::any_text());
    table.add("std", std, "per channel, beside --mean", config::any_text());
    table.add("soft-labels", soft_labels, "what labels with one number per class are",
              config::one_of({"logit", "probability"}));
  }
};

/// "0.49, 0.48,0.44" as one number per channel.
std::vector<double> channel_numbers(const std::string& option, const std::string& text,
                                    std::int64_t channels) {
  std::vector<double> numbers;
  config::OptionTable table;
  std::vector<std::string> entries;
  table.add(option, entries, "", config::any_text());
  table.set(option, text, config::Origin::Flag);
  for (const auto& entry : entries) {
    double value = 0;
    config::OptionTable one;
    one.add(option, value, "",
            option == "std" ? config::positive()
                            : config::Rule<double>{"", [](const double&) { return true; }});
    one.set(option, entry, config::Origin::Flag);
    numbers.push_back(value);
  }
  if (std::int64_t(numbers.size()) != channels) {
    throw ConfigError(
        str("option '", option, "': expected ", channels, " numbers, found ", numbers.size()));
  }
  return numbers;
}

/// The whitening that `retort export` writes beside the images.
data::Preprocessing whitening(const std::map<std::string, Tensor>& tensors, const fs::path& path,
                              std::int64_t size) {
  const auto part = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
    const auto found = tensors.find(name);
    if (found == tensors.end()) {
      throw DataError(str("'", path.string(), "': expected '", name,
                          "' beside 'zca_mean', found none; export the set again"));
    }
    const Tensor values = found->second.detach().to(at::kDouble);
    const bool fits =
        shape.empty() ? values.numel() == 1 : values.sizes() == at::IntArrayRef(shape);
    if (!fits || !at::isfinite(values).all().item<bool>()) {
      throw DataError(str("'", path.string(), "': expected '", name, "' of finite numbers [",
                          join(shape), "], found ", shape_text(values)));
    }
    return values.contiguous();
  };
  return data::Preprocessing::zca({.eps = part("zca_eps", {}).item<double>(),
                                   .mean = part("zca_mean", {size}),
                                   .whiten = part("zca_whiten", {size, size}),
                                   .inverse = part("zca_inverse", {size, size})});
}

data::Preprocessing file_preprocessing(const ImportOptions& options,
                                       const std::map<std::string, Tensor>& tensors,
                                       const fs::path& path, const data::ImageDataset& dataset) {
  if (options.mean.empty() != options.std.empty()) throw ConfigError("give both --mean and --std");
  const auto numbers = [](const Tensor& tensor) {
    const Tensor values = tensor.to(at::kDouble).flatten().contiguous();
    return std::vector<double>(values.const_data_ptr<double>(),
                               values.const_data_ptr<double>() + values.numel());
  };
  if (!options.mean.empty()) {
    const std::int64_t channels = dataset.shape().channels;
    return data::Preprocessing::mean_std(channel_numbers("mean", options.mean, channels),
                                         channel_numbers("std", options.std, channels));
  }
  // `retort export` writes them beside the images.
  if (tensors.contains("zca_mean")) return whitening(tensors, path, dataset.shape().numel());
  if (tensors.contains("mean") && tensors.contains("std")) {
    try {
      return data::Preprocessing::mean_std(numbers(tensors.at("mean")), numbers(tensors.at("std")));
    } catch (const ConfigError& e) {  // here it is the file that is wrong
      throw DataError(str("'", path.string(), "': ", e.what()));
    }
  }
  return dataset.preprocessing();
}

/// A file that says how its images were preprocessed is not overruled by a guess.
void check_flags(const config::Option& zca, const data::Preprocessing& own, const fs::path& path) {
  if (zca.origin != config::Origin::Flag) return;
  if ((zca.value() == "true") == (own.kind() == data::Preprocessing::Kind::Zca)) return;
  throw ConfigError(str("--zca=", zca.value(), " does not fit '", path.string(),
                        "', whose images are preprocessed by ", own.description(),
                        "; leave the option away"));
}

std::optional<double> learned_lr(const std::map<std::string, Tensor>& tensors,
                                 const fs::path& path) {
  const auto found = tensors.find("lr");
  if (found == tensors.end() || tensors.size() == 1) return std::nullopt;
  const Tensor& lr = found->second;
  const double value = lr.numel() == 1 ? lr.to(at::kDouble).flatten()[0].item<double>() : 0;
  if (std::isfinite(value) && value > 0) return value;
  throw DataError(str("'", path.string(), "': expected 'lr' to be one positive number, found ",
                      lr.numel() == 1 ? str(value) : shape_text(lr)));
}

/// Finds a tensor by the layouts in use: bare, by name, or the n-th pair of DC's list.
Tensor find_tensor(const std::map<std::string, Tensor>& tensors, const fs::path& path,
                   const std::string& name, std::int64_t entry, int position) {
  if (tensors.size() == 1) return tensors.begin()->second;
  if (const auto found = tensors.find(name); found != tensors.end()) return found->second;
  const std::string in_list = str("data/", entry, "/", position);
  if (const auto found = tensors.find(in_list); found != tensors.end()) return found->second;
  std::vector<std::string> keys;
  for (const auto& [key, tensor] : tensors) keys.push_back(key);
  throw DataError(str("'", path.string(), "': expected one tensor, '", name, "', or '", in_list,
                      "', found ", keys.empty() ? "nothing" : join(keys)));
}

void check_images(const Tensor& images, const fs::path& path, const data::ImageDataset& dataset) {
  const data::ImageShape shape = dataset.shape();
  const bool fits = images.dim() == 4 && images.size(0) > 0 && images.size(1) == shape.channels &&
                    images.size(2) == shape.height && images.size(3) == shape.width;
  if (!fits) {
    throw DataError(str("'", path.string(), "': expected images [*, ", shape.channels, ", ",
                        shape.height, ", ", shape.width, "] as in dataset '", dataset.info().name,
                        "', found ", shape_text(images)));
  }
  if (!at::isfinite(images).all().item<bool>()) {
    throw DataError(str("'", path.string(), "': the images hold values that are not finite"));
  }
}

data::Labels make_labels(const Tensor& values, const fs::path& path, std::int64_t count,
                         std::int64_t classes, const std::string& kind) {
  if (values.dim() == 2 && values.is_floating_point()) {
    if (values.size(0) != count || values.size(1) != classes) {
      throw DataError(str("'", path.string(), "': expected labels [", count, ", ", classes,
                          "], found ", shape_text(values)));
    }
    data::SoftLabels soft;
    soft.values = values.to(at::kFloat).contiguous();
    soft.classes = soft.values.argmax(1);
    soft.kind =
        kind == "logit" ? data::SoftLabels::Kind::Logit : data::SoftLabels::Kind::Probability;
    return soft;
  }
  if (values.dim() != 1 || values.size(0) != count) {
    throw DataError(str("'", path.string(), "': expected labels [", count, "] or [", count, ", ",
                        classes, "], found ", shape_text(values)));
  }
  const Tensor indices = values.to(at::kLong);
  const auto low = indices.min().item<std::int64_t>();
  const auto high = indices.max().item<std::int64_t>();
  if (low < 0 || high >= classes) {
    throw DataError(str("'", path.string(), "': expected labels in 0 .. ", classes - 1, ", found ",
                        low < 0 ? low : high));
  }
  return data::HardLabels{indices};
}

/// Class-major order, stable within a class.
void sort_by_class(data::SyntheticSet& set) {
  const Tensor order =
      std::get<1>(at::sort(data::hard_classes(set.labels), /*stable=*/true, 0, false));
  set.images = set.images.index_select(0, order);
  if (auto* soft = std::get_if<data::SoftLabels>(&set.labels)) {
    soft->values = soft->values.index_select(0, order);
    soft->classes = soft->classes.index_select(0, order);
  } else {
    auto& hard = std::get<data::HardLabels>(set.labels);
    hard.classes = hard.classes.index_select(0, order);
  }
  set.class_index = data::hard_classes(set.labels).clone();
}

data::SyntheticSet from_pt(const fs::path& path, const ImportOptions& options,
                           const data::ImageDataset& dataset) {
  const auto tensors = storage::read_pt(path);
  Tensor images = find_tensor(tensors, path, "images", options.entry, 0).detach().to(at::kFloat);
  check_images(images, path, dataset);
  const fs::path label_path = options.labels.empty() ? path : fs::path(options.labels);
  if (options.labels.empty() && tensors.size() == 1) {
    throw ConfigError(str("'", path.string(), "' holds images alone; give --labels FILE"));
  }
  const auto label_tensors = options.labels.empty() ? tensors : storage::read_pt(label_path);
  const std::string name = label_tensors.contains("soft_labels") ? "soft_labels" : "labels";
  const Tensor labels = find_tensor(label_tensors, label_path, name, options.entry, 1).detach();

  data::SyntheticSet set;
  set.preprocessing = file_preprocessing(options, tensors, path, dataset);
  set.learned_lr = learned_lr(tensors, path);
  set.images = (options.values == "unit" ? set.preprocessing.apply(images) : images).contiguous();
  set.labels =
      make_labels(labels, label_path, images.size(0), dataset.num_classes(), options.soft_labels);
  return set;
}

/// A class folder is called as `retort export` does ("003-cat"), or by the class's name or number
/// ("cat", "3", "00003").
std::int64_t class_of_folder(const std::string& folder, const data::ImageDataset& dataset) {
  const auto& names = dataset.info().class_names;
  const auto named = std::find(names.begin(), names.end(), folder);
  if (named != names.end()) return named - names.begin();
  for (std::int64_t c = 0; c < dataset.num_classes(); ++c) {
    if (folder == class_folder(names, c)) return c;
  }
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(folder.data(), folder.data() + folder.size(), number);
  const bool whole = error == std::errc() && end == folder.data() + folder.size();
  if (whole && number >= 0 && number < dataset.num_classes()) return number;
  throw DataError(str("folder '", folder, "' is no class of dataset '", dataset.info().name,
                      "'; classes: ", join(names)));
}

std::vector<fs::path> sorted_entries(const fs::path& folder, bool folders) {
  std::vector<fs::path> entries;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory() == folders) entries.push_back(entry.path());
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

/// @return uint8 [C,H,W] in the dataset's shape
Tensor read_as(const fs::path& path, data::ImageShape shape) {
  Tensor image = vision::read_image(path);
  if (image.size(0) != shape.channels) {
    if (image.size(0) != 1) {
      throw DataError(
          str("'", path.string(), "': expected a gray image, found ", image.size(0), " channels"));
    }
    image = image.expand({shape.channels, image.size(1), image.size(2)}).contiguous();
  }
  if (image.size(1) == shape.height && image.size(2) == shape.width) return image;
  if (shape.height != shape.width) {
    throw DataError(str("'", path.string(), "': expected ", shape.height, "x", shape.width,
                        " pixels, found ", image.size(1), "x", image.size(2)));
  }
  return vision::resize_and_crop(image, shape.height);
}

data::SyntheticSet from_folder(const fs::path& root, const data::ImageDataset& dataset) {
  std::vector<Tensor> images;
  std::vector<std::int64_t> classes;
  for (const auto& folder : sorted_entries(root, true)) {
    const std::int64_t c = class_of_folder(folder.filename().string(), dataset);
    for (const auto& file : sorted_entries(folder, false)) {
      images.push_back(read_as(file, dataset.shape()));
      classes.push_back(c);
    }
  }
  if (images.empty()) {
    throw DataError(str("'", root.string(), "': expected folders of images, one per class"));
  }
  data::SyntheticSet set;
  set.preprocessing = dataset.preprocessing();
  set.images = set.preprocessing.apply(at::stack(images)).contiguous();
  set.labels = data::HardLabels{at::tensor(classes, at::kLong)};
  return set;
}

/// A set has images of every class: methods, baselines and pictures rely on it.
void check_classes(const data::SyntheticSet& set, const fs::path& path,
                   const data::ImageDataset& dataset) {
  const Tensor counts = at::bincount(set.class_index, {}, dataset.num_classes());
  const auto empty = counts.eq(0).sum().item<std::int64_t>();
  if (empty == 0) return;
  const auto first = counts.argmin().item<std::int64_t>();
  throw DataError(str("'", path.string(), "': expected images of every class of dataset '",
                      dataset.info().name, "', found none of '",
                      dataset.info().class_names[std::size_t(first)], "' (", empty, " of ",
                      dataset.num_classes(), " classes without images)"));
}

/// A flag that changes nothing is a misunderstanding to tell.
void refuse_flag(config::OptionTable& table, const std::string& option, const fs::path& path,
                 const std::string& why) {
  if (table.find(option).origin != config::Origin::Flag) return;
  throw ConfigError(str("--", option, " means nothing for '", path.string(), "', ", why,
                        "; leave the option away"));
}

void check_folder_flags(config::OptionTable& table, const fs::path& path) {
  for (const char* option : {"labels", "entry", "values", "mean", "std", "soft-labels"}) {
    refuse_flag(table, option, path, "a folder of pictures");
  }
}

void check_pt_flags(config::OptionTable& table, const fs::path& path,
                    const data::SyntheticSet& set) {
  if (std::holds_alternative<data::HardLabels>(set.labels)) {
    refuse_flag(table, "soft-labels", path, "whose labels are one class per image");
  }
  if (table.find("entry").origin != config::Origin::Flag) return;
  for (const auto& [name, tensor] : storage::read_pt(path)) {
    if (name.starts_with("data/")) return;
  }
  refuse_flag(table, "entry", path, "which holds one set");
}

int run(const cli::Command& command, const std::vector<std::string>& args, cli::Program& program) {
  cli::OutputOptions output;
  DatasetOptions dataset_options;
  ImportOptions options;
  config::OptionTable table;
  options.describe(table);
  dataset_options.describe(table);
  const config::OptionTable recorded = table;
  const auto file = cli::parse_one_word(command, args, table, output, "PATH", program);
  if (!file) return 0;

  const fs::path path = *file;
  if (!fs::exists(path)) throw ConfigError(str("there is no '", path.string(), "'"));
  const bool pictures = fs::is_directory(path);
  options.out.check(FileKind::Set, *file);
  if (pictures) check_folder_flags(table, path);
  const data::ImageDataset dataset = dataset_options.open(0);
  data::SyntheticSet set = pictures ? from_folder(path, dataset) : from_pt(path, options, dataset);
  if (!pictures) check_pt_flags(table, path, set);
  check_flags(table.find("zca"), set.preprocessing, path);
  sort_by_class(set);
  check_classes(set, path, dataset);
  set.provenance.program_version = cli::program_version();
  set.provenance.method = "import";
  set.provenance.config =
      str("imported = ", path.filename().string(), "\n") + config::config_text(recorded);
  set.provenance.dataset = dataset.info().name;
  set.provenance.dataset_sha256 = dataset.info().sha256;
  set.provenance.data_path = dataset_options.data;
  set.provenance.class_names = dataset.info().class_names;
  storage::write_set(options.out.path, set);
  if (output.json) {
    print_document({{"schema", "retort.import/1"},
                    {"from", path.string()},
                    {"set", options.out.path},
                    {"images", set.images.size(0)},
                    {"classes", set.num_classes()},
                    {"preprocessing", set.preprocessing.description()}});
    return 0;
  }
  cli::print(str(options.out.path, ": ", set.images.size(0), " images of ", set.num_classes(),
                 " classes\n"));
  return 0;
}

}  // namespace

cli::Command import_set() {
  return {"import",
          "Makes a set file from pictures in a folder per class, or from tensors in .pt files.",
          "PATH --dataset NAME --out SET [options]",
          {"retort import pictures --dataset cifar10 --out set.h5",
           "retort import images_best.pt --labels labels_best.pt --dataset cifar10 --out set.h5",
           "retort import res_DM_CIFAR10_ConvNet_10ipc.pt --dataset cifar10 --out set.h5"},
          run};
}

}  // namespace retort::commands
