#include "lib/storage/pickle_language.h"

#include <array>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::storage::pickle {
namespace {

constexpr std::array<std::pair<const char*, at::ScalarType>, 10> kStorages{{
    {"ByteStorage", at::kByte},
    {"CharStorage", at::kChar},
    {"ShortStorage", at::kShort},
    {"IntStorage", at::kInt},
    {"LongStorage", at::kLong},
    {"HalfStorage", at::kHalf},
    {"BFloat16Storage", at::kBFloat16},
    {"FloatStorage", at::kFloat},
    {"DoubleStorage", at::kDouble},
    {"BoolStorage", at::kBool},
}};

}  // namespace

std::optional<at::ScalarType> find_storage(const std::string& class_name) {
  for (const auto& [name, type] : kStorages) {
    if (class_name == name) return type;
  }
  return std::nullopt;
}

at::ScalarType storage_type(const std::string& class_name) {
  const auto type = find_storage(class_name);
  if (!type) throw StorageError(str("storages of class '", class_name, "' are not known"));
  return *type;
}

std::string storage_class(at::ScalarType type) {
  for (const auto& [name, known] : kStorages) {
    if (known == type) return name;
  }
  throw StorageError(str("elements of type ", c10::toString(type), " have no storage class"));
}

}  // namespace retort::storage::pickle
