#include <limits>

#include "lib/storage/pickle.h"
#include "lib/storage/pickle_language.h"

namespace retort::storage::pickle {
namespace {

void put_unsigned(std::string& out, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) out += char(value >> (8 * i) & 0xff);
}

void put_text(std::string& out, const std::string& text) {
  out += char(kBinUnicode);
  put_unsigned(out, text.size(), 4);
  out += text;
}

void put_integer(std::string& out, std::int64_t value) {
  if (value >= 0 && value <= std::numeric_limits<std::int32_t>::max()) {
    out += char(kBinInt);
    put_unsigned(out, std::uint64_t(value), 4);
    return;
  }
  out += char(kLong1);
  out += char(8);
  put_unsigned(out, std::uint64_t(value), 8);
}

void put_integers(std::string& out, at::IntArrayRef values) {
  out += char(kMark);
  for (const std::int64_t value : values) put_integer(out, value);
  out += char(kTuple);
}

void put_global(std::string& out, const std::string& module, const std::string& name) {
  out += char(kGlobal);
  out += module + "\n" + name + "\n";
}

void put_tensor(std::string& out, const Tensor& tensor, std::size_t index) {
  put_global(out, "torch._utils", "_rebuild_tensor_v2");
  out += char(kMark);
  out += char(kMark);
  put_text(out, "storage");
  put_global(out, "torch", storage_class(tensor.scalar_type()));
  put_text(out, std::to_string(index));
  put_text(out, "cpu");
  put_integer(out, tensor.numel());
  out += char(kTuple);
  out += char(kBinPersId);
  put_integer(out, 0);
  put_integers(out, tensor.sizes());
  put_integers(out, tensor.strides());
  out += char(kNewFalse);
  put_global(out, "collections", "OrderedDict");
  out += char(kEmptyTuple);
  out += char(kReduce);
  out += char(kTuple);
  out += char(kReduce);
}

}  // namespace

std::string write_tensor_dict(const std::vector<std::pair<std::string, Tensor>>& tensors) {
  std::string out;
  out += char(kProto);
  out += char(2);
  out += char(kEmptyDict);
  out += char(kMark);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    put_text(out, tensors[i].first);
    put_tensor(out, tensors[i].second, i);
  }
  out += char(kSetItems);
  out += char(kStop);
  return out;
}

}  // namespace retort::storage::pickle
