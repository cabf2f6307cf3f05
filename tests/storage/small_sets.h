#pragma once
// Sets of every kind, and whether one came back.

#include <cstring>
#include <limits>

#include "lib/data/synthetic_set.h"
#include "tests/storage/set_parts.h"
#include "tests/support/catch.h"

namespace retort::testing {

inline data::Provenance provenance() {
  return {.program_version = "0.1.0",
          .method = "dm",
          .config = "method = dm\nipc = 2\n",
          .seed = std::numeric_limits<std::uint64_t>::max(),
          .dataset = "shapes",
          .dataset_sha256 = std::string(64, 'a'),
          .data_path = "",
          .class_names = {"disk", "Dreieck ▲", ""},
          .iterations = 1000,
          .wall_seconds = 12.5,
          .cpu_seconds = 24.75,
          .peak_memory_bytes = 1e9,
          .processor = "a processor",
          .threads = 2};
}

/// Three classes of two images, hard labels.
inline data::SyntheticSet pixels_set() {
  data::SyntheticSet set;
  set.images = numbers({6, 1, 4, 5});
  set.class_index = at::tensor({0, 0, 1, 1, 2, 2}, at::kLong);
  set.labels = data::HardLabels{set.class_index};
  set.preprocessing = data::Preprocessing::mean_std({0.25}, {1.0 / 3});
  set.provenance = provenance();
  return set;
}

/// The same images as canvases of four each, soft labels, ZCA and a learned rate.
inline data::SyntheticSet decoded_set() {
  data::SyntheticSet set = pixels_set();
  set.decoder = {
      .id = "multi-formation", .version = 1, .config = {{"factor", "2"}, {"type", "single"}}};
  set.labels = data::SoftLabels{.classes = set.class_index.repeat_interleave(4),
                                .values = numbers({24, 3}),
                                .kind = data::SoftLabels::Kind::Logit,
                                .learned = true};
  const Tensor matrix = at::eye(20, at::kDouble).add(0.01);
  set.preprocessing = data::Preprocessing::zca({.eps = 0.1,
                                                .mean = at::full({20}, 0.3, at::kDouble),
                                                .whiten = matrix,
                                                .inverse = matrix.inverse()});
  set.learned_lr = 0.0123;
  return set;
}

/// Images of 8-bit pixels, with compensators: two copies of three classes of two images.
inline data::SyntheticSet compensator_set() {
  data::SyntheticSet set = pixels_set();
  set.images = set.preprocessing.apply(at::arange(120, at::kByte).view({6, 1, 4, 5}));
  set.from_bytes = true;
  set.decoder = {.id = "compensator", .version = 1, .config = {{"copies", "2"}}};
  set.parameters["compensators"] = numbers({4, 1, 4, 5});
  set.labels = data::HardLabels{at::arange(3, at::kLong).repeat_interleave(6)};
  return set;
}

/// The same images, each labelled as it is by teachers.
inline data::SyntheticSet taught_set() {
  data::SyntheticSet set = pixels_set();
  set.labels = data::SoftLabels{.classes = set.class_index,
                                .values = numbers({6, 3}).to(at::kHalf).to(at::kFloat),
                                .recipe = "recipe = static\nvote = equal\n"};
  return set;
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() &&
         std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0;
}

inline void check_same(const data::SyntheticSet& actual, const data::SyntheticSet& expected) {
  CHECK(same_bits(actual.images, expected.images));
  CHECK(same_bits(actual.class_index, expected.class_index));
  CHECK(same_bits(data::hard_classes(actual.labels), data::hard_classes(expected.labels)));
  REQUIRE(actual.labels.index() == expected.labels.index());
  if (const auto* soft = std::get_if<data::SoftLabels>(&expected.labels)) {
    const auto& found = std::get<data::SoftLabels>(actual.labels);
    CHECK(same_bits(found.values, soft->values));
    CHECK(found.kind == soft->kind);
    CHECK(found.learned == soft->learned);
    CHECK(found.recipe == soft->recipe);
  }
  CHECK(actual.decoder.id == expected.decoder.id);
  CHECK(actual.decoder.version == expected.decoder.version);
  CHECK(actual.decoder.config == expected.decoder.config);
  REQUIRE(actual.preprocessing.kind() == expected.preprocessing.kind());
  CHECK(actual.preprocessing.mean() == expected.preprocessing.mean());
  CHECK(actual.preprocessing.std() == expected.preprocessing.std());
  if (expected.preprocessing.kind() == data::Preprocessing::Kind::Zca) {
    const auto& a = actual.preprocessing.zca_matrices();
    const auto& b = expected.preprocessing.zca_matrices();
    CHECK(a.eps == b.eps);
    CHECK(same_bits(a.mean, b.mean));
    CHECK(same_bits(a.whiten, b.whiten));
    CHECK(same_bits(a.inverse, b.inverse.contiguous()));
  }
  CHECK(actual.from_bytes == expected.from_bytes);
  REQUIRE(actual.parameters.size() == expected.parameters.size());
  for (const auto& [name, value] : expected.parameters) {
    CHECK(same_bits(actual.parameters.at(name), value));
  }
  CHECK(actual.learned_lr == expected.learned_lr);
  const bool same_assets = actual.assets == expected.assets;  // Catch2 could not print them
  CHECK(same_assets);
  const data::Provenance& p = actual.provenance;
  const data::Provenance& q = expected.provenance;
  CHECK(p.program_version == q.program_version);
  CHECK(p.method == q.method);
  CHECK(p.config == q.config);
  CHECK(p.seed == q.seed);
  CHECK(p.dataset == q.dataset);
  CHECK(p.dataset_sha256 == q.dataset_sha256);
  CHECK(p.data_path == q.data_path);
  CHECK(p.class_names == q.class_names);
  CHECK(p.iterations == q.iterations);
  CHECK(p.wall_seconds == q.wall_seconds);
  CHECK(p.cpu_seconds == q.cpu_seconds);
  CHECK(p.peak_memory_bytes == q.peak_memory_bytes);
  CHECK(p.processor == q.processor);
  CHECK(p.threads == q.threads);
}

}  // namespace retort::testing
