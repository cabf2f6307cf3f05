#include "notebooks_cpp/weaver/records.h"

#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "lib/core/str.h"

namespace retort::weaver {
namespace {

constexpr std::array<std::pair<RecordKind, std::string_view>, 7> kKinds{{
    {RecordKind::Cell, "cell"},
    {RecordKind::Text, "text"},
    {RecordKind::Svg, "svg"},
    {RecordKind::Png, "png"},
    {RecordKind::Html, "html"},
    {RecordKind::Error, "error"},
    {RecordKind::End, "end"},
}};

constexpr std::size_t kLongestHead = 64;

std::string_view name_of(RecordKind kind) {
  for (const auto& [known, name] : kKinds) {
    if (known == kind) return name;
  }
  return "";
}

struct Head {
  RecordKind kind = RecordKind::Text;
  std::size_t title = 0;
  std::size_t body = 0;
};

std::optional<std::size_t> number_of(std::string_view text) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<Head> head_of(std::string_view line) {
  const std::size_t first = line.find(' ');
  if (first == std::string_view::npos) return std::nullopt;
  const std::size_t second = line.find(' ', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  const auto title = number_of(line.substr(first + 1, second - first - 1));
  const auto body = number_of(line.substr(second + 1));
  if (!title || !body) return std::nullopt;
  for (const auto& [kind, name] : kKinds) {
    if (name == line.substr(0, first)) return Head{kind, *title, *body};
  }
  return std::nullopt;
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  Recording read() {
    Recording recording;
    if (!bytes_.starts_with(kRecordsStart)) {
      recording.fault = str("expected records that begin with '",
                            kRecordsStart.substr(0, kRecordsStart.size() - 1), "', found ",
                            bytes_.size(), " other bytes");
      return recording;
    }
    at_ = kRecordsStart.size();
    while (at_ < bytes_.size()) {
      const std::size_t begun = at_;
      auto record = next();
      if (!record) {
        recording.fault =
            str("record ", recording.records.size() + 1, " at byte ", begun, ": ", fault_);
        break;
      }
      recording.records.push_back(std::move(*record));
    }
    return recording;
  }

 private:
  std::optional<Record> next() {
    const std::size_t line = bytes_.substr(at_, kLongestHead).find('\n');
    const std::string_view text =
        bytes_.substr(at_, line == std::string_view::npos ? kLongestHead : line);
    const auto head = line == std::string_view::npos ? std::nullopt : head_of(text);
    if (!head) {
      fault_ = str("expected a kind, two lengths and a line end, found '", text, "'");
      return std::nullopt;
    }
    at_ += line + 1;
    // One by one, since a sum of lengths may be beyond all numbers.
    std::size_t left = bytes_.size() - at_;
    if (head->title > left || head->body > left - head->title ||
        left - head->title - head->body < 1) {
      fault_ = str("expected a title of ", head->title, " bytes, a body of ", head->body,
                   " and a line end, found ", left, " bytes; it was cut short");
      return std::nullopt;
    }
    Record record{head->kind, std::string(bytes_.substr(at_, head->title)),
                  std::string(bytes_.substr(at_ + head->title, head->body))};
    at_ += head->title + head->body;
    if (bytes_[at_] != '\n') {
      fault_ = str("expected a line end behind ", head->title + head->body,
                   " bytes, found another byte: a length is wrong");
      return std::nullopt;
    }
    ++at_;
    return record;
  }

  std::string_view bytes_;
  std::size_t at_ = 0;
  std::string fault_;
};

}  // namespace

std::string encoded(const Record& record) {
  return str(name_of(record.kind), " ", record.title.size(), " ", record.body.size(), "\n",
             record.title, record.body, "\n");
}

Recording read_records(std::string_view bytes) { return Reader(bytes).read(); }

}  // namespace retort::weaver
