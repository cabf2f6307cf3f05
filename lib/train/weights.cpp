#include "lib/train/weights.h"

#include <algorithm>
#include <fstream>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/core/error.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/storage/exchange.h"
#include "lib/storage/safetensors.h"

namespace retort::train {
namespace {

using Weights = std::map<std::string, Tensor>;
using Shapes = std::map<std::string, std::vector<std::int64_t>>;

constexpr std::size_t kNamesShown = 8;
constexpr std::string_view kBatchCounter = "num_batches_tracked";

bool is_archive(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string start(2, '\0');
  in.read(start.data(), std::streamsize(start.size()));
  return start == "PK";
}

std::string converter(const std::filesystem::path& path) {
  return str("\nThese lines of Python make a file of it that can be read:\n", "    import torch\n",
             "    from safetensors.torch import save_file\n", "    try:\n",
             "        model = torch.jit.load('", path.filename().string(), "', 'cpu')\n",
             "    except RuntimeError:\n", "        model = torch.load('", path.filename().string(),
             "', 'cpu', weights_only=False)\n",
             "    state = model if isinstance(model, dict) else model.state_dict()\n",
             "    state = state.get('state_dict', state.get('model', state))\n",
             "    save_file({k: v.contiguous().clone() for k, v in state.items()}, "
             "'weights.safetensors')\n");
}

/// The names that a network gives to its tensors, with their shapes.
Shapes wanted_shapes(const nn::Network& network) {
  Shapes wanted;
  for (const auto& p : network.parameters()) wanted[p.name] = p.shape;
  for (const auto& b : network.buffers()) wanted[b.name] = b.shape;
  return wanted;
}

/// Without what wrappers put in front.
std::string plain_name(std::string_view name) {
  for (bool again = true; again;) {
    again = false;
    for (const std::string_view prefix : {"module.", "model."}) {
      if (!name.starts_with(prefix)) continue;
      name.remove_prefix(prefix.size());
      again = true;
    }
  }
  return std::string(name);
}

/// "state_dict/conv1.weight" -> "state_dict" and "conv1.weight"
std::pair<std::string, std::string> split_path(const std::string& name) {
  const std::size_t slash = name.rfind('/');
  if (slash == std::string::npos) return {"", name};
  return {name.substr(0, slash), name.substr(slash + 1)};
}

/// The dict among nested ones that is the network's, under plain names.
Weights own_weights(const Weights& weights, const Shapes& wanted) {
  std::map<std::string, Weights> dicts;
  for (const auto& [name, value] : weights) {
    const auto [dict, rest] = split_path(name);
    // A name that the network itself gives needs nothing taken off.
    dicts[dict][wanted.contains(rest) ? rest : plain_name(rest)] = value;
  }
  const auto known = [&](const Weights& dict) {
    return std::count_if(dict.begin(), dict.end(),
                         [&](const auto& entry) { return wanted.contains(entry.first); });
  };
  const auto best = std::max_element(dicts.begin(), dicts.end(), [&](const auto& a, const auto& b) {
    return known(a.second) < known(b.second);
  });
  return best == dicts.end() ? Weights{} : best->second;
}

/// What of a list is shown, and how many more there are.
std::string listed(const std::string& what, const std::vector<std::string>& names) {
  if (names.empty()) return "";
  const std::size_t shown = std::min(names.size(), kNamesShown);
  const std::vector<std::string> first(names.begin(), names.begin() + std::ptrdiff_t(shown));
  const std::string more = names.size() > shown ? str(", ", names.size() - shown, " more") : "";
  return str("; ", names.size(), " ", what, ": ", join(first), more);
}

void expect_matching(const Weights& found, const Shapes& wanted, const std::string& network,
                     const std::string& source) {
  std::vector<std::string> missing;
  std::vector<std::string> unexpected;
  std::vector<std::string> other_shape;
  for (const auto& [name, shape] : wanted) {
    const auto entry = found.find(name);
    if (entry == found.end()) {
      missing.push_back(name);
    } else if (entry->second.sizes() != at::IntArrayRef(shape)) {
      other_shape.push_back(
          str(name, " (expected [", join(shape), "], found ", shape_text(entry->second), ")"));
    }
  }
  for (const auto& [name, value] : found) {
    if (!wanted.contains(name) && !name.ends_with(kBatchCounter)) unexpected.push_back(name);
  }
  if (missing.empty() && unexpected.empty() && other_shape.empty()) return;
  throw DataError(str(source, ": the weights are not those of ", network,
                      listed("missing", missing), listed("unexpected", unexpected),
                      listed("of another shape", other_shape)));
}

template <class Info>
std::vector<storage::NamedTensor> taken(const Weights& found, const std::vector<Info>& infos,
                                        const std::string& source) {
  std::vector<storage::NamedTensor> result;
  for (const Info& info : infos) {
    const Tensor value = found.at(info.name).detach().to(at::kCPU, at::kFloat).contiguous();
    if (!value.isfinite().all().item<bool>()) {
      throw DataError(str(source, ": '", info.name, "' holds values that are not finite"));
    }
    result.push_back({info.name, value});
  }
  return result;
}

}  // namespace

std::map<std::string, Tensor> read_weights(const std::filesystem::path& path) {
  if (!is_archive(path) && path.extension() != ".pt" && path.extension() != ".pth") {
    return storage::read_safetensors(path);
  }
  try {
    return storage::read_pt(path);
  } catch (const StorageError& e) {
    throw StorageError(e.what() + converter(path));
  }
}

storage::Teacher teacher_of_weights(const nn::Network& network,
                                    const std::map<std::string, Tensor>& weights,
                                    const std::string& source) {
  const auto wanted = wanted_shapes(network);
  const Weights found = own_weights(weights, wanted);
  expect_matching(found, wanted, network.name(), source);
  storage::Teacher teacher;
  teacher.network = network.name();
  teacher.parameters = taken(found, network.parameters(), source);
  teacher.buffers = taken(found, network.buffers(), source);
  return teacher;
}

}  // namespace retort::train
