#pragma once
// A reader for the part of Python's pickle language that torch.save writes for tensors in dicts,
// lists and tuples, and a writer of dicts of tensors. The reader executes nothing: a pickle names
// functions, and this one knows five of them. Private to lib/storage.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <c10/core/ScalarType.h>

#include "lib/core/str.h"
#include "lib/core/tensor.h"

namespace retort::storage::pickle {

struct Value;

struct None {};
/// A value that is skipped: NumPy scalars beside the tensors.
struct Opaque {};
struct Sequence {
  std::vector<Value*> items;  ///< of a list or tuple
};
struct Dict {
  std::vector<std::pair<Value*, Value*>> items;
};
/// A name that a pickle may call, "module.name".
struct Global {
  std::string name;
};
/// Raw numbers of an archive, by key.
struct Storage {
  at::ScalarType type;
  std::string key;
  std::int64_t numel;
};

struct Value {
  std::variant<None, Opaque, bool, std::int64_t, double, std::string, Sequence, Dict, Global,
               Storage, Tensor>
      data;
};

/// The numbers of a storage and a view on them, copied into a tensor of its own.
struct View {
  Storage storage;
  std::int64_t offset;
  std::vector<std::int64_t> sizes;
  std::vector<std::int64_t> strides;
};
using MakeTensor = std::function<Tensor(const View& view)>;

/// Owns every value of one pickle: containers may contain themselves, so they cannot own each
/// other.
class Reader {
 public:
  /// @param make_tensor called for every tensor
  Reader(std::string_view bytes, MakeTensor make_tensor);
  /// @throws StorageError with the position for anything outside of the known language
  const Value& read();

 private:
  void step(std::uint8_t opcode);
  bool step_constant(std::uint8_t opcode);
  bool step_memo(std::uint8_t opcode);
  bool step_container(std::uint8_t opcode);

  [[noreturn]] void refuse(const std::string& why) const;
  std::string_view take(std::size_t count);
  std::uint64_t take_unsigned(std::size_t bytes);
  std::int64_t take_long();
  std::string take_line();

  void push(Value value);
  Value* pop();
  std::vector<Value*> pop_to_mark();
  Value* from_memo(std::uint64_t index);
  void push_tuple(std::size_t count);
  void push_global(const std::string& module, const std::string& name);
  void append(Value* container, const std::vector<Value*>& items);
  void set_items(Value* container, const std::vector<Value*>& items);
  void resolve_storage();
  void call();
  Tensor rebuild_tensor(const Sequence& arguments);

  template <class T>
  const T& expect(const Value* value, const char* what) const {
    const T* found = std::get_if<T>(&value->data);
    if (found == nullptr) refuse(str("expected ", what));
    return *found;
  }
  std::vector<std::int64_t> integers(const Value* value) const;

  std::string_view bytes_;
  std::size_t position_ = 0;
  MakeTensor make_tensor_;
  std::deque<Value> values_;
  std::vector<Value*> stack_;
  std::vector<std::size_t> marks_;
  std::map<std::uint64_t, Value*> memo_;
  bool stopped_ = false;
};

/// Writes {name: tensor, ...} of contiguous tensors whose storages are "0", "1", ... in order.
std::string write_tensor_dict(const std::vector<std::pair<std::string, Tensor>>& tensors);

}  // namespace retort::storage::pickle
