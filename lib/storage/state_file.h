#pragma once
// Checkpoints: named tensors, numbers and texts, exact to the bit.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lib/core/tensor.h"

namespace retort::storage {

/// Collects what a run needs to continue. Names may hold '/' to group them.
class StateWriter {
 public:
  void tensor(const std::string& name, const Tensor& value);  ///< clones to the CPU
  void tensors(const std::string& name, const Tensors& values);
  void integer(const std::string& name, std::int64_t value);
  void number(const std::string& name, double value);
  void text(const std::string& name, const std::string& value);

  /// HDF5, written aside and renamed.
  void save(const std::filesystem::path& path) const;
  /// The same as a group of a file that holds more, and back.
  void write(class H5Writer& file, const std::string& group) const;
  static StateWriter read(const class H5Reader& file, const std::string& group);

 private:
  friend class StateReader;
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::int64_t> integers_;
  std::map<std::string, double> numbers_;
  std::map<std::string, std::string> texts_;
};

class StateReader {
 public:
  explicit StateReader(const std::filesystem::path& path);
  /// The state a writer collected, without a file: for tests.
  explicit StateReader(const StateWriter& writer);

  bool has(const std::string& name) const;
  Tensor tensor(const std::string& name) const;  ///< @throws StorageError if missing
  Tensors tensors(const std::string& name) const;
  std::int64_t integer(const std::string& name) const;
  double number(const std::string& name) const;
  std::string text(const std::string& name) const;

 private:
  std::string source_;
  StateWriter data_;
};

}  // namespace retort::storage
