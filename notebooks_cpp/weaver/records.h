#pragma once
// What a running notebook leaves for its page: records one behind the other, each with its lengths.
//
//   retort-notebook 1\n
//   <kind> <bytes of the title> <bytes of the body>\n<title><body>\n   any number of times

#include <string>
#include <string_view>
#include <vector>

namespace retort::weaver {

enum class RecordKind {
  Cell,   ///< the cell with this number (the body, from 0) begins
  Text,   ///< plain text
  Svg,    ///< a picture; the title is its description in words
  Png,    ///< the same, bytes of a file
  Html,   ///< markup
  Error,  ///< what an exception said, which ended the notebook; the title is its type
  End     ///< the last cell has ended
};

struct Record {
  RecordKind kind = RecordKind::Text;
  std::string title{};
  std::string body{};
};

inline constexpr std::string_view kRecordsStart = "retort-notebook 1\n";

std::string encoded(const Record& record);

/// As many whole records as there are, and why there are no more.
struct Recording {
  std::vector<Record> records;
  std::string fault;  ///< "record 3 at byte 120: expected ..., found ..."; empty: none
};
Recording read_records(std::string_view bytes);

}  // namespace retort::weaver
