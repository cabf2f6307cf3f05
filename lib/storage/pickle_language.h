#pragma once
// The words of Python's pickle language that reader and writer share. Private to lib/storage.

#include <cstdint>
#include <optional>
#include <string>

#include <c10/core/ScalarType.h>

namespace retort::storage::pickle {

// The opcodes, by their names in Python's pickletools.
enum Opcode : std::uint8_t {
  kMark = '(',
  kStop = '.',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kGlobal = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kEmptyList = ']',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kEmptyTuple = ')',
  kSetItems = 'u',
  kBinFloat = 'G',
  kEmptyDict = '}',
  kProto = 0x80,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kShortBinUnicode = 0x8c,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
};

/// The scalar type of "FloatStorage", ..., if it is one.
std::optional<at::ScalarType> find_storage(const std::string& class_name);
/// The scalar type of "FloatStorage", ... and back. @throws StorageError naming what is unknown
at::ScalarType storage_type(const std::string& class_name);
std::string storage_class(at::ScalarType type);

}  // namespace retort::storage::pickle
