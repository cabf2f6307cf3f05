#include "lib/storage/teacher_file.h"

#include <set>

#include "lib/core/error.h"
#include "lib/core/hash.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/storage/checks.h"
#include "lib/storage/hdf5.h"
#include "lib/storage/identity.h"
#include "lib/storage/set_file.h"

namespace retort::storage {
namespace {

constexpr std::int64_t kMajor = 1;
constexpr std::int64_t kMinor = 2;

using Named = std::vector<NamedTensor>;

/// The lists of a teacher, by the names of their groups.
struct NamedList {
  const char* group;
  Named Teacher::*values;
};
constexpr NamedList kLists[] = {{"parameters", &Teacher::parameters},
                                {"buffers", &Teacher::buffers},
                                {"class_statistics", &Teacher::class_statistics}};

constexpr char kClassAverage[] = "class_average";          // since 1.1
constexpr char kStatisticsSha256[] = "statistics_sha256";  // since 1.2

std::string group_of(std::int64_t index) { return str("teacher/", index); }

void check_list(const Named& list, const std::string& what, const std::string& source) {
  std::set<std::string> names;
  for (const auto& [name, value] : list) {
    require(!name.empty() && name.find('/') == std::string::npos && name != "." && name != "..",
            source, str(what, ": '", name, "' cannot be the name of a tensor"));
    require(names.insert(name).second, source, str(what, ": '", name, "' stands twice"));
    require(value.defined() && value.scalar_type() == at::kFloat, source,
            str(what, ": '", name, "' must be float32"));
  }
}

void check_class_statistics(const Teacher& teacher, std::int64_t classes,
                            const std::string& source) {
  if (teacher.class_statistics.empty()) return;
  require(teacher.class_statistics.size() == teacher.buffers.size(), source,
          str("expected statistics of classes for all ", teacher.buffers.size(), " buffers, found ",
              teacher.class_statistics.size()));
  for (std::size_t i = 0; i < teacher.buffers.size(); ++i) {
    const auto& buffer = teacher.buffers[i];
    const auto& statistics = teacher.class_statistics[i];
    std::vector<std::int64_t> expected = buffer.value.sizes().vec();
    expected.insert(expected.begin(), classes);
    require(statistics.name == buffer.name && statistics.value.sizes() == expected, source,
            str("statistics of classes: expected '", buffer.name, "' [", join(expected),
                "], found '", statistics.name, "' ", shape_text(statistics.value)));
  }
}

void check_teacher(const Teacher& teacher, const TrainedOn& data, const std::string& source) {
  require(!teacher.network.empty(), source, "the name of the network must be there, is missing");
  require(!teacher.parameters.empty(), source, "expected parameters, found none");
  for (const auto& [group, values] : kLists) check_list(teacher.*values, group, source);
  check_class_statistics(teacher, std::int64_t(data.class_names.size()), source);
}

void write_teacher(H5Writer& out, const std::string& group, const Teacher& teacher) {
  out.group(group);
  out.attribute(group, "network", teacher.network);
  out.attribute(group, "seed", teacher.seed);
  out.attribute(group, "epochs", teacher.epochs);
  out.attribute(group, "accuracy", teacher.accuracy);
  out.attribute(group, "tested_on", teacher.tested_on);
  out.attribute(group, "wall_seconds", teacher.wall_seconds);
  out.attribute(group, "program_version", teacher.program_version);
  out.attribute(group, "processor", teacher.processor);
  out.attribute(group, "sha256", teacher.sha256());
  if (!teacher.class_statistics.empty()) {
    out.attribute(group, kStatisticsSha256, teacher.statistics_sha256());
  }
  if (!teacher.class_average.empty()) {
    out.attribute(group, kClassAverage, teacher.class_average);
  }
  out.text(group + "/options", teacher.options);
  for (const auto& [list, values] : kLists) {
    std::vector<std::string> names;
    for (const auto& [name, value] : teacher.*values) {
      names.push_back(name);
      out.tensor(str(group, "/", list, "/", name), value);
    }
    // HDF5 lists by name, networks count in another order.
    if (!names.empty()) out.texts(str(group, "/order/", list), names);
  }
}

Named read_list(const H5Reader& in, const std::string& group, const std::string& list) {
  Named values;
  const std::string order = str(group, "/order/", list);
  if (!in.has(order)) return values;
  for (const std::string& name : in.texts(order)) {
    values.push_back({name, in.tensor(str(group, "/", list, "/", name))});
  }
  return values;
}

std::string digest_of(const std::string& begin, const std::vector<const Named*>& lists) {
  Sha256 hash;
  hash.update(begin);
  for (const Named* list : lists) {
    for (const auto& [name, value] : *list) {
      const Tensor values = value.to(at::kCPU).contiguous();
      hash.update(str("\n", name, " ", shape_text(values), "\n"));
      hash.update(std::string_view(static_cast<const char*>(values.const_data_ptr()),
                                   std::size_t(values.nbytes())));
    }
  }
  return hash.hex();
}

void check_digest(const std::string& what, const std::string& found, const std::string& expected,
                  const std::string& source) {
  require(found == expected, source, str(what, " SHA-256 ", found, ", it says ", expected));
}

/// That a teacher is what its file says.
void check_digests(const H5Reader& in, const std::string& group, const Teacher& teacher,
                   const std::string& source) {
  const std::string expected = in.text_attribute(group, "sha256");
  if (teacher.class_statistics.empty()) {
    check_digest("its tensors have", teacher.sha256(), expected, source);
  } else if (in.has_attribute(group, kStatisticsSha256)) {
    check_digest("its tensors have", teacher.sha256(), expected, source);
    check_digest("its statistics of classes have", teacher.statistics_sha256(),
                 in.text_attribute(group, kStatisticsSha256), source);
  } else {
    // Before 1.2 both were one.
    const std::string all = digest_of(
        teacher.network, {&teacher.parameters, &teacher.buffers, &teacher.class_statistics});
    check_digest("its tensors have", all, expected, source);
  }
}

/// What a dataset must share with that of the teachers.
std::vector<Field> fields(const TrainedOn& data) {
  std::vector<Field> result = {{"image shape", image_shape_text(data.image)}};
  append(result, class_fields(data.class_names));
  append(result, preprocessing_fields(data.preprocessing));
  result.push_back({"dataset SHA-256", data.dataset_sha256});
  return result;
}

}  // namespace

std::string Teacher::sha256() const { return digest_of(network, {&parameters, &buffers}); }

std::string Teacher::statistics_sha256() const {
  return class_statistics.empty() ? "" : digest_of("", {&class_statistics});
}

void write_teachers(const std::filesystem::path& path, const TrainedOn& data,
                    const std::vector<Teacher>& teachers) {
  const std::string source = str(source_of(path), ": cannot be written");
  require(!teachers.empty(), source, "expected one teacher or more, found none");
  check_trained_on(data, source);
  for (const Teacher& teacher : teachers) check_teacher(teacher, data, source);
  H5Writer::create(path, [&](H5Writer& out) {
    out.attribute("", "schema", kTeacherSchema);
    out.attribute("", "version_major", kMajor);
    out.attribute("", "version_minor", kMinor);
    write_trained_on(out, data);
    for (std::size_t i = 0; i < teachers.size(); ++i) {
      write_teacher(out, group_of(std::int64_t(i)), teachers[i]);
    }
  });
}

struct TeacherReader::State {
  H5Reader file;
  TrainedOn data;
  std::int64_t count = 0;
};

TeacherReader::TeacherReader(const std::filesystem::path& path)
    : state_(std::make_unique<State>(H5Reader(path), TrainedOn{}, 0)) {
  const H5Reader& in = state_->file;
  const std::string source = source_of(path);
  expect_schema(in, kTeacherSchema, kMajor);
  const std::vector<std::string> findings = in.damage();
  require(findings.empty(), source, findings.empty() ? "" : "is damaged: " + findings.front());
  state_->data = read_trained_on(in);
  check_trained_on(state_->data, source);
  while (in.has(group_of(state_->count))) ++state_->count;
  require(state_->count > 0, source, "expected one teacher or more, found none");
}

TeacherReader::~TeacherReader() = default;
TeacherReader::TeacherReader(TeacherReader&&) noexcept = default;

const std::filesystem::path& TeacherReader::path() const { return state_->file.path(); }
const TrainedOn& TeacherReader::data() const { return state_->data; }
std::int64_t TeacherReader::count() const { return state_->count; }

Teacher TeacherReader::teacher(std::int64_t index) const {
  const H5Reader& in = state_->file;
  const std::string source = source_of(path());
  require(index >= 0 && index < state_->count, source,
          str("has ", state_->count, " teachers, numbered from 0; asked for ", index));
  const std::string group = group_of(index);
  Teacher teacher;
  teacher.network = in.text_attribute(group, "network");
  teacher.seed = in.uint_attribute(group, "seed");
  teacher.epochs = in.int_attribute(group, "epochs");
  teacher.accuracy = in.double_attribute(group, "accuracy");
  teacher.tested_on = in.text_attribute(group, "tested_on");
  teacher.wall_seconds = in.double_attribute(group, "wall_seconds");
  teacher.program_version = in.text_attribute(group, "program_version");
  teacher.processor = in.text_attribute(group, "processor");
  teacher.options = in.text(group + "/options");
  if (in.has_attribute(group, kClassAverage)) {
    teacher.class_average = in.text_attribute(group, kClassAverage);
  }
  for (const auto& [list, values] : kLists) teacher.*values = read_list(in, group, list);
  check_teacher(teacher, state_->data, str(source, ": teacher ", index));
  check_digests(in, group, teacher, str(source, ": teacher ", index));
  return teacher;
}

void expect_fitting(const TeacherReader& teachers, const data::ImageDataset& dataset) {
  const auto different = difference(fields(TrainedOn::of(dataset)), fields(teachers.data()));
  if (!different) return;
  throw DataError(
      str(source_of(teachers.path()), ": the teachers do not fit '", dataset.info().name,
          "': they must share images, classes in their order, preprocessing and data; ",
          different->field, ": expected ", different->expected, ", found ", different->found));
}

}  // namespace retort::storage
