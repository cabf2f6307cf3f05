#include "datasets/cifar_bin/cifar_format.h"

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::datasets {

void append_cifar(std::span<const std::byte> file, CifarLayout layout, const std::string& name,
                  CifarRecords& records) {
  constexpr std::size_t kPixels = kCifarChannels * kCifarSide * kCifarSide;
  const std::size_t label_bytes = layout == CifarLayout::OneLabel ? 1 : 2;
  const std::size_t record = label_bytes + kPixels;
  if (file.empty() || file.size() % record != 0) {
    throw DataError(str("'", name, "': expected a whole number of records of ", record,
                        " bytes, found ", file.size(), " bytes, ", file.size() % record,
                        " more than ", file.size() / record, " records; is the file truncated?"));
  }
  records.labels.reserve(records.labels.size() + file.size() / record);
  records.pixels.reserve(records.pixels.size() + file.size() / record * kPixels);
  for (std::size_t at = 0; at < file.size(); at += record) {
    records.labels.push_back(std::to_integer<std::int64_t>(file[at + label_bytes - 1]));
    const auto pixels = file.subspan(at + label_bytes, kPixels);
    records.pixels.insert(records.pixels.end(), pixels.begin(), pixels.end());
  }
}

}  // namespace retort::datasets
