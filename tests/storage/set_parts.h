#pragma once
// Sets whose parts are written by hand.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "lib/storage/hdf5.h"
#include "tests/support/catch.h"

namespace retort::testing {

/// Different numbers, some of them negative.
inline Tensor numbers(at::IntArrayRef shape) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return at::arange(count, at::kFloat).sub(10).div(7).reshape(shape);
}

/// A file with everything that a set of two images has, where `change` then overwrites a part.
/// @param omit a dataset that is left out
inline void write_parts(const std::filesystem::path& path,
                        const std::function<void(storage::H5Writer&)>& change,
                        const std::string& omit = "") {
  storage::H5Writer::create(path, [&](storage::H5Writer& file) {
    file.attribute("", "schema", "retort.set");
    file.attribute("", "version_major", std::int64_t{1});
    file.attribute("", "version_minor", std::int64_t{0});
    if (omit != "images/data") file.tensor("images/data", numbers({2, 1, 2, 2}));
    if (omit != "images/class_index") {
      file.tensor_as_int32("images/class_index", at::tensor({0, 1}, at::kLong));
    }
    if (omit != "labels/hard") {
      file.tensor_as_int32("labels/hard", at::tensor({0, 1}, at::kLong));
    }
    file.attribute("labels", "layout_major", std::int64_t{1});
    file.attribute("labels", "num_images", std::int64_t{2});
    file.attribute("labels", "num_classes", std::int64_t{2});
    file.attribute("labels", "default", "hard");
    if (omit != "preprocessing/mean") file.tensor("preprocessing/mean", at::ones({1}, at::kDouble));
    if (omit != "preprocessing/std") file.tensor("preprocessing/std", at::ones({1}, at::kDouble));
    file.attribute("preprocessing", "kind", "mean-std");
    file.text("provenance/config", "");
    file.texts("provenance/class_names", {});
    for (const char* name :
         {"program_version", "method", "dataset", "dataset_sha256", "data_path", "processor"}) {
      file.attribute("provenance", name, "");
    }
    for (const char* name : {"seed", "iterations", "threads"}) {
      file.attribute("provenance", name, std::int64_t{0});
    }
    for (const char* name : {"wall_seconds", "cpu_seconds", "peak_memory_bytes"}) {
      file.attribute("provenance", name, 0.0);
    }
    change(file);
  });
}

}  // namespace retort::testing
