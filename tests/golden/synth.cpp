// Synthetic set: decode, decode_zoom* and init of condense.py, herding_select of coreset.py
// (snu-mllab/Efficient-Dataset-Condensation).

#include <algorithm>
#include <map>

#include <torch/csrc/autograd/autograd.h>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/synth/parametrization.h"
#include "lib/synth/selection.h"
#include "tests/golden/golden.h"
#include "tests/support/catch.h"

namespace retort::testing::golden {
namespace {

/// The reference works in [0,1], where mid-gray is 0.5.
Tensor gray(const Tensor& x) { return at::full({x.size(1)}, 0.5, at::TensorOptions(at::kDouble)); }

struct Decoded {
  Tensor images;                   // [N,C,H,W]
  std::vector<std::int64_t> rows;  // the stored image behind each
};

/// The authors' "bound" for large sets, used while distilling only and not offered by Retort: as
/// many images as it allows, the first ones at the full factor, the others at smaller ones.
/// @param stored [n,C,H,W]  @param bound images wanted, at least n
Decoded decode_bounded(const Tensor& stored, std::int64_t factor, std::int64_t bound) {
  const std::int64_t n = stored.size(0);
  Decoded out;
  Tensors decoded;
  std::int64_t first = 0;
  std::int64_t made = 0;
  for (std::int64_t f = factor; f >= 1 && first < n; --f) {
    // Every later stored image gives at least one. The authors count the f*f new images against
    // what is left, although they replace one that was set aside.
    const std::int64_t left = bound - made - (n - first);
    const std::int64_t taken = f == 1 ? n - first : std::min(left / (f * f), n - first);
    if (taken == 0) continue;
    const auto decoder = synth::make_multi_formation(f, "single", gray(stored));
    decoded.push_back(decoder->decode(stored.slice(0, first, first + taken)));
    for (std::int64_t tile = 0; tile < f * f; ++tile) {
      for (std::int64_t i = 0; i < taken; ++i) out.rows.push_back(first + i);
    }
    first += taken;
    made += taken * f * f;
  }
  out.images = at::cat(decoded);
  return out;
}

/// Images and the stored row behind each.
Decoded decode(const Tensor& x, const std::string& type, std::int64_t factor, std::int64_t bound) {
  if (type == "bound") return decode_bounded(x, factor, bound);
  Decoded out;
  out.images = synth::make_multi_formation(factor, type, gray(x))->decode(x);
  for (std::int64_t i = 0; i < out.images.size(0); ++i) out.rows.push_back(i % x.size(0));
  return out;
}

/// All images decoded from one stored row carry one label.
void check_targets(const Tensor& targets, const std::vector<std::int64_t>& rows) {
  REQUIRE(targets.numel() == std::int64_t(rows.size()));
  std::map<std::int64_t, std::int64_t> label_of;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto label = targets[std::int64_t(i)].item<std::int64_t>();
    INFO("decoded image " << i << " of stored image " << rows[i]);
    CHECK(label_of.try_emplace(rows[i], label).first->second == label);
  }
}

/// @param group "H4/single_f2": type and factor are in the name
void check_decode(const GoldenFile& file, const std::string& size, const std::string& name) {
  const std::string group = size + "/" + name;
  const auto split = name.rfind("_f");
  REQUIRE(split != std::string::npos);
  const std::string type = name.substr(0, split);
  const std::int64_t factor = std::stoll(name.substr(split + 2));
  const std::int64_t bound = file.integer_or(group, "bound", 0);
  for (const auto& precision : precisions()) {
    INFO(group << ", " << precision.name);
    const at::AutoGradMode gradients(true);
    const Tensor x = file.tensor(size + "/x", precision.dtype).requires_grad_();
    const auto decoded = decode(x, type, factor, bound);
    CHECK_CLOSE(decoded.images, file.tensor(group + "/output", precision.dtype),
                precision.tolerance);
    check_targets(file.stored(group + "/targets"), decoded.rows);
    const Tensor weight = file.tensor(group + "/weight", precision.dtype);
    const Tensor gradient = torch::autograd::grad({decoded.images}, {x}, {weight})[0];
    CHECK_CLOSE(gradient, file.tensor(group + "/grad_x", precision.dtype), precision.tolerance);
  }
}

void check_mix_init(const GoldenFile& file) {
  const std::int64_t factor = file.integer("mix_init", "factor");
  const std::int64_t ipc = file.integer("mix_init", "ipc");
  for (const auto& precision : precisions()) {
    INFO("mix_init, " << precision.name);
    const Tensor pool = file.tensor("mix_init/pool", precision.dtype);
    const auto decoder = synth::make_multi_formation(factor, "single", gray(pool));
    Tensors packed;
    for (const Tensor& images : pool.split(ipc * decoder->images_per_packed())) {
      packed.push_back(decoder->pack(images));
    }
    CHECK_CLOSE(at::cat(packed), file.tensor("mix_init/data", precision.dtype),
                precision.tolerance);
  }
}

}  // namespace

void check_idc_decode(const GoldenFile& file) {
  std::int64_t compared = 0;
  for (const auto& size : file.children("")) {
    if (!file.has(size + "/x")) continue;
    for (const auto& name : file.children(size)) {
      if (name == "x") continue;
      check_decode(file, size, name);
      ++compared;
    }
  }
  CHECK(compared > 0);
  if (file.has("mix_init")) check_mix_init(file);
}

void check_herding(const GoldenFile& file) {
  const Tensor labels = file.stored("herding/labels");
  std::int64_t compared = 0;
  for (const auto& name : file.children("herding")) {
    if (!name.starts_with("ipc")) continue;
    ++compared;
    const Tensor stored = file.stored("herding/" + name).to(at::kLong);  // [K,ipc]
    for (const auto& precision : precisions()) {
      const Tensor features = file.tensor("herding/features", precision.dtype);
      for (std::int64_t c = 0; c < stored.size(0); ++c) {
        INFO(name << ", class " << c << ", " << precision.name);
        const Tensor rows = (labels == c).nonzero().view({-1});
        const auto chosen = synth::herding(features.index_select(0, rows), stored.size(1));
        CHECK(at::equal(rows.index_select(0, at::tensor(chosen, at::kLong)), stored[c]));
      }
    }
  }
  CHECK(compared > 0);
}

}  // namespace retort::testing::golden
