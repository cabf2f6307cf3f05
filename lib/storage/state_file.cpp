#include "lib/storage/state_file.h"

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/storage/hdf5.h"

namespace retort::storage {
namespace {

constexpr char kSchema[] = "retort.state";
constexpr std::int64_t kMajor = 1;
constexpr std::int64_t kMinor = 0;

template <class Map>
std::vector<std::string> keys(const Map& map) {
  std::vector<std::string> names;
  for (const auto& entry : map) names.push_back(entry.first);
  return names;
}

// In front of the names of objects in a group; "" is the root.
std::string inside(const std::string& group) { return group.empty() ? "" : group + "/"; }

std::string count_name(const std::string& name) { return name + "/count"; }

template <class Map>
const typename Map::mapped_type& find(const Map& map, const std::string& name, const char* kind,
                                      const std::string& source) {
  const auto entry = map.find(name);
  if (entry == map.end()) throw StorageError(str(source, ": ", kind, " '", name, "' is missing"));
  return entry->second;
}

}  // namespace

void StateWriter::tensor(const std::string& name, const Tensor& value) {
  if (!value.defined()) throw StorageError(str("state '", name, "': the tensor is undefined"));
  tensors_[name] = value.detach().to(at::kCPU).clone(at::MemoryFormat::Contiguous);
}

void StateWriter::tensors(const std::string& name, const Tensors& values) {
  integer(count_name(name), std::int64_t(values.size()));
  for (std::size_t i = 0; i < values.size(); ++i) tensor(str(name, "/", i), values[i]);
}

void StateWriter::integer(const std::string& name, std::int64_t value) { integers_[name] = value; }
void StateWriter::number(const std::string& name, double value) { numbers_[name] = value; }
void StateWriter::text(const std::string& name, const std::string& value) { texts_[name] = value; }

void StateWriter::save(const std::filesystem::path& path) const {
  H5Writer::create(path, [&](H5Writer& file) {
    file.attribute("", "schema", kSchema);
    file.attribute("", "version_major", kMajor);
    file.attribute("", "version_minor", kMinor);
    write(file, "");
  });
}

// Names are data, not paths: "a" and "a/b" may both be there. Objects are therefore numbered.
void StateWriter::write(H5Writer& file, const std::string& group) const {
  const std::string at_group = inside(group);
  file.texts(at_group + "tensors/names", keys(tensors_));
  std::int64_t index = 0;
  for (const auto& entry : tensors_) file.tensor(str(at_group, "tensors/", index++), entry.second);
  file.texts(at_group + "texts/names", keys(texts_));
  index = 0;
  for (const auto& entry : texts_) file.text(str(at_group, "texts/", index++), entry.second);

  std::vector<std::int64_t> integers;
  for (const auto& entry : integers_) integers.push_back(entry.second);
  file.texts(at_group + "integers/names", keys(integers_));
  file.tensor(at_group + "integers/values", at::tensor(integers, at::kLong));
  std::vector<double> numbers;
  for (const auto& entry : numbers_) numbers.push_back(entry.second);
  file.texts(at_group + "numbers/names", keys(numbers_));
  file.tensor(at_group + "numbers/values", at::tensor(numbers, at::kDouble));
}

StateWriter StateWriter::read(const H5Reader& file, const std::string& group) {
  const std::string at_group = inside(group);
  StateWriter state;
  const auto tensor_names = file.texts(at_group + "tensors/names");
  for (std::size_t i = 0; i < tensor_names.size(); ++i) {
    state.tensors_[tensor_names[i]] = file.tensor(str(at_group, "tensors/", i));
  }
  const auto text_names = file.texts(at_group + "texts/names");
  for (std::size_t i = 0; i < text_names.size(); ++i) {
    state.texts_[text_names[i]] = file.text(str(at_group, "texts/", i));
  }
  const auto read_values = [&](const std::string& kind, at::ScalarType type) {
    const Tensor values = file.tensor(kind + "/values");
    const std::vector<std::string> names = file.texts(kind + "/names");
    if (values.scalar_type() != type || values.dim() != 1 ||
        values.numel() != std::int64_t(names.size())) {
      throw StorageError(str("'", file.path().string(), "': ", kind, "/values: expected ",
                             names.size(), " values, found ", values.numel(), " of type ",
                             c10::toString(values.scalar_type())));
    }
    return std::pair(names, values);
  };
  const auto [integer_names, integers] = read_values(at_group + "integers", at::kLong);
  for (std::size_t i = 0; i < integer_names.size(); ++i) {
    state.integers_[integer_names[i]] = integers.const_data_ptr<std::int64_t>()[i];
  }
  const auto [number_names, numbers] = read_values(at_group + "numbers", at::kDouble);
  for (std::size_t i = 0; i < number_names.size(); ++i) {
    state.numbers_[number_names[i]] = numbers.const_data_ptr<double>()[i];
  }
  return state;
}

StateReader::StateReader(const std::filesystem::path& path)
    : source_(str("'", path.string(), "'")) {
  const H5Reader file(path);
  expect_schema(file, kSchema, kMajor);
  const std::vector<std::string> findings = file.damage();
  if (!findings.empty()) throw StorageError(str(source_, ": is damaged: ", findings.front()));
  data_ = StateWriter::read(file, "");
}

StateReader::StateReader(const StateWriter& writer) : source_("state in memory"), data_(writer) {}

bool StateReader::has(const std::string& name) const {
  return data_.tensors_.contains(name) || data_.integers_.contains(name) ||
         data_.numbers_.contains(name) || data_.texts_.contains(name) ||
         data_.integers_.contains(count_name(name));
}

// A copy, so that whoever trains on it in place leaves the state as it was.
Tensor StateReader::tensor(const std::string& name) const {
  return find(data_.tensors_, name, "tensor", source_).clone();
}

Tensors StateReader::tensors(const std::string& name) const {
  if (!data_.integers_.contains(count_name(name))) {
    throw StorageError(str(source_, ": tensor list '", name, "' is missing"));
  }
  const std::int64_t count = integer(count_name(name));
  Tensors values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(tensor(str(name, "/", i)));
  return values;
}

std::int64_t StateReader::integer(const std::string& name) const {
  return find(data_.integers_, name, "integer", source_);
}

double StateReader::number(const std::string& name) const {
  return find(data_.numbers_, name, "number", source_);
}

std::string StateReader::text(const std::string& name) const {
  return find(data_.texts_, name, "text", source_);
}

}  // namespace retort::storage
