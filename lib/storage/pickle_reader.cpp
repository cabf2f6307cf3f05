#include <bit>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/storage/pickle.h"
#include "lib/storage/pickle_language.h"

namespace retort::storage::pickle {
namespace {

constexpr char kRebuildTensor[] = "torch._utils._rebuild_tensor_v2";
constexpr char kRebuildParameter[] = "torch._utils._rebuild_parameter";
constexpr char kOrderedDict[] = "collections.OrderedDict";
constexpr std::size_t kMaxValues = 10'000'000;

// Accuracies beside the images are often NumPy numbers; their values are not needed.
bool is_skipped(const std::string& name) {
  return name == "numpy.core.multiarray.scalar" || name == "numpy._core.multiarray.scalar" ||
         name == "numpy.dtype" || name == "_codecs.encode";
}

bool is_known(const std::string& name) {
  return name == kRebuildTensor || name == kRebuildParameter || name == kOrderedDict ||
         is_skipped(name) || (name.starts_with("torch.") && find_storage(name.substr(6)));
}

}  // namespace

Reader::Reader(std::string_view bytes, MakeTensor make_tensor)
    : bytes_(bytes), make_tensor_(std::move(make_tensor)) {}

void Reader::refuse(const std::string& why) const {
  throw StorageError(str("pickle, byte ", position_, ": ", why));
}

std::string_view Reader::take(std::size_t count) {
  if (count > bytes_.size() - position_) refuse("it ends too early");
  const std::string_view taken = bytes_.substr(position_, count);
  position_ += count;
  return taken;
}

std::uint64_t Reader::take_unsigned(std::size_t bytes) {
  std::uint64_t value = 0;
  std::size_t shift = 0;
  for (const char byte : take(bytes)) {
    value |= std::uint64_t(std::uint8_t(byte)) << shift;
    shift += 8;
  }
  return value;
}

std::int64_t Reader::take_long() {
  const std::size_t bytes = take_unsigned(1);
  if (bytes > 8) refuse("integers above 64 bits are not read");
  if (bytes == 0) return 0;
  const std::uint64_t value = take_unsigned(bytes);
  const std::size_t shift = 64 - 8 * bytes;  // two's complement of that many bytes
  return std::int64_t(value << shift) >> shift;
}

std::string Reader::take_line() {
  const std::size_t end = bytes_.find('\n', position_);
  if (end == std::string_view::npos) refuse("it ends too early");
  const std::string line(take(end - position_));
  take(1);
  return line;
}

void Reader::push(Value value) {
  if (values_.size() >= kMaxValues) refuse("it holds too many values");
  stack_.push_back(&values_.emplace_back(std::move(value)));
}

Value* Reader::pop() {
  if (stack_.empty() || (!marks_.empty() && stack_.size() <= marks_.back())) {
    refuse("a value is missing");
  }
  Value* value = stack_.back();
  stack_.pop_back();
  return value;
}

std::vector<Value*> Reader::pop_to_mark() {
  if (marks_.empty()) refuse("a mark is missing");
  std::vector<Value*> values(stack_.begin() + std::ptrdiff_t(marks_.back()), stack_.end());
  stack_.resize(marks_.back());
  marks_.pop_back();
  return values;
}

Value* Reader::from_memo(std::uint64_t index) {
  const auto found = memo_.find(index);
  if (found == memo_.end()) refuse("it refers to a value that was not stored");
  return found->second;
}

void Reader::push_tuple(std::size_t count) {
  Sequence tuple;
  for (std::size_t i = 0; i < count; ++i) tuple.items.insert(tuple.items.begin(), pop());
  push({std::move(tuple)});
}

void Reader::push_global(const std::string& module, const std::string& name) {
  const std::string full = module + "." + name;
  if (!is_known(full)) {
    refuse(str("it needs '", full,
               "'; only tensors, numbers, texts, dicts, lists and tuples are "
               "read"));
  }
  push({Global{full}});
}

void Reader::append(Value* container, const std::vector<Value*>& items) {
  auto* list = std::get_if<Sequence>(&container->data);
  if (list == nullptr) refuse("expected a list to append to");
  list->items.insert(list->items.end(), items.begin(), items.end());
}

void Reader::set_items(Value* container, const std::vector<Value*>& items) {
  auto* dict = std::get_if<Dict>(&container->data);
  if (dict == nullptr || items.size() % 2 != 0) refuse("expected a dict and pairs to put into it");
  for (std::size_t i = 0; i < items.size(); i += 2) {
    dict->items.emplace_back(items[i], items[i + 1]);
  }
}

// ('storage', class, key, location, number of elements)
void Reader::resolve_storage() {
  const Value* value = pop();
  const auto& id = expect<Sequence>(value, "the description of a storage").items;
  if (id.size() != 5 || expect<std::string>(id[0], "a text") != "storage") {
    refuse("expected the description of a storage");
  }
  const std::string name = expect<Global>(id[1], "a storage class").name;
  if (!name.starts_with("torch.") || !find_storage(name.substr(6))) {
    refuse(str("'", name, "' is no storage class"));
  }
  const auto numel = expect<std::int64_t>(id[4], "a number of elements");
  if (numel < 0) refuse("a storage cannot have a negative size");
  push({Storage{storage_type(name.substr(6)), expect<std::string>(id[2], "a key"), numel}});
}

std::vector<std::int64_t> Reader::integers(const Value* value) const {
  std::vector<std::int64_t> result;
  for (const Value* item : expect<Sequence>(value, "a tuple of integers").items) {
    result.push_back(expect<std::int64_t>(item, "an integer"));
  }
  return result;
}

// (storage, offset, sizes, strides, requires_grad, hooks[, metadata])
Tensor Reader::rebuild_tensor(const Sequence& arguments) {
  const auto& items = arguments.items;
  if (items.size() < 6) refuse("a tensor has too few arguments");
  return make_tensor_({.storage = expect<Storage>(items[0], "a storage"),
                       .offset = expect<std::int64_t>(items[1], "an offset"),
                       .sizes = integers(items[2]),
                       .strides = integers(items[3])});
}

void Reader::call() {
  const Value* arguments_value = pop();
  const Value* callee = pop();
  if (std::holds_alternative<Opaque>(callee->data)) return push({Opaque{}});
  const std::string& name = expect<Global>(callee, "something to call").name;
  const auto& arguments = expect<Sequence>(arguments_value, "a tuple of arguments");
  if (is_skipped(name)) return push({Opaque{}});
  if (name == kRebuildTensor) return push({rebuild_tensor(arguments)});
  if (name == kRebuildParameter && !arguments.items.empty()) {
    return push({expect<Tensor>(arguments.items[0], "a tensor")});
  }
  if (name != kOrderedDict) refuse(str("'", name, "' cannot be called"));
  push({Dict{}});
  // OrderedDict([[key, value], ...])
  if (arguments.items.empty()) return;
  for (const Value* pair : expect<Sequence>(arguments.items[0], "a list of pairs").items) {
    set_items(stack_.back(), expect<Sequence>(pair, "a pair").items);
  }
}

bool Reader::step_constant(std::uint8_t opcode) {
  switch (opcode) {
    case kNone:
      push({None{}});
      return true;
    case kNewTrue:
      push({true});
      return true;
    case kNewFalse:
      push({false});
      return true;
    case kBinInt:
      push({std::int64_t(std::int32_t(take_unsigned(4)))});
      return true;
    case kBinInt1:
      push({std::int64_t(take_unsigned(1))});
      return true;
    case kBinInt2:
      push({std::int64_t(take_unsigned(2))});
      return true;
    case kLong1:
      push({take_long()});
      return true;
    case kBinFloat: {  // the one big-endian value
      std::uint64_t bits = 0;
      for (const char byte : take(8)) bits = bits << 8 | std::uint8_t(byte);
      push({std::bit_cast<double>(bits)});
      return true;
    }
    case kBinUnicode:
    case kBinString:
    case kBinBytes:
      push({std::string(take(take_unsigned(4)))});
      return true;
    case kShortBinUnicode:
    case kShortBinString:
    case kShortBinBytes:
      push({std::string(take(take_unsigned(1)))});
      return true;
    default:
      return false;
  }
}

bool Reader::step_memo(std::uint8_t opcode) {
  const auto top = [&] {
    Value* value = pop();
    stack_.push_back(value);
    return value;
  };
  switch (opcode) {
    case kBinPut:
      memo_[take_unsigned(1)] = top();
      return true;
    case kLongBinPut:
      memo_[take_unsigned(4)] = top();
      return true;
    case kMemoize:
      memo_[memo_.size()] = top();
      return true;
    case kBinGet:
      stack_.push_back(from_memo(take_unsigned(1)));
      return true;
    case kLongBinGet:
      stack_.push_back(from_memo(take_unsigned(4)));
      return true;
    default:
      return false;
  }
}

bool Reader::step_container(std::uint8_t opcode) {
  switch (opcode) {
    case kEmptyDict:
      push({Dict{}});
      return true;
    case kEmptyList:
    case kEmptyTuple:
      push({Sequence{}});
      return true;
    case kTuple:
      push({Sequence{pop_to_mark()}});
      return true;
    case kTuple1:
    case kTuple2:
    case kTuple3:
      push_tuple(std::size_t(opcode - kTuple1 + 1));
      return true;
    case kAppend: {
      Value* item = pop();
      append(stack_.empty() ? pop() : stack_.back(), {item});
      return true;
    }
    case kAppends: {
      const auto items = pop_to_mark();
      append(stack_.empty() ? pop() : stack_.back(), items);
      return true;
    }
    case kSetItem: {
      Value* value = pop();
      Value* key = pop();
      set_items(stack_.empty() ? pop() : stack_.back(), {key, value});
      return true;
    }
    case kSetItems: {
      const auto items = pop_to_mark();
      set_items(stack_.empty() ? pop() : stack_.back(), items);
      return true;
    }
    default:
      return false;
  }
}

void Reader::step(std::uint8_t opcode) {
  if (step_constant(opcode) || step_memo(opcode) || step_container(opcode)) return;
  switch (opcode) {
    case kProto:
      if (take_unsigned(1) > 5) refuse("its protocol is newer than 5");
      return;
    case kFrame:
      take(8);
      return;
    case kMark:
      marks_.push_back(stack_.size());
      return;
    case kGlobal: {
      const std::string module = take_line();
      return push_global(module, take_line());
    }
    case kStackGlobal: {
      const Value* name = pop();
      const Value* module = pop();
      return push_global(expect<std::string>(module, "a module"),
                         expect<std::string>(name, "a name"));
    }
    case kBinPersId:
      return resolve_storage();
    case kReduce:
      return call();
    case kBuild:  // extra attributes of an OrderedDict or a NumPy type: nothing that is read here
      pop();
      return;
    case kStop:
      stopped_ = true;
      return;
    default:
      refuse(str("opcode ", int(opcode), " is not known"));
  }
}

const Value& Reader::read() {
  while (!stopped_) step(std::uint8_t(take(1)[0]));
  return *pop();
}

}  // namespace retort::storage::pickle
