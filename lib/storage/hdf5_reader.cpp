#include <algorithm>
#include <limits>
#include <set>
#include <sstream>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/storage/hdf5.h"
#include "lib/storage/hdf5_internal.h"
#include "lib/storage/hdf5_reader_state.h"

namespace retort::storage {
namespace {

using h5::check;

std::set<std::string> lines_of(const std::string& text) {
  std::set<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.insert(line);
  return lines;
}

}  // namespace

H5Reader::H5Reader(const std::filesystem::path& path) {
  const h5::Guard guard;
  state_ = std::make_unique<State>(path);
}

H5Reader::~H5Reader() {
  const h5::Guard guard;
  state_.reset();
}

H5Reader::H5Reader(H5Reader&&) noexcept = default;

const std::filesystem::path& H5Reader::path() const { return state_->path; }

bool H5Reader::has(const std::string& path) const {
  const h5::Guard guard;
  return state_->exists(path);
}

std::vector<std::string> H5Reader::children(const std::string& group) const {
  const h5::Guard guard;
  std::vector<std::string> names;
  for (const State::Link& link : state_->links(group)) names.push_back(link.name);
  return names;
}

bool H5Reader::is_group(const std::string& path) const {
  const h5::Guard guard;
  return state_->exists(path) && state_->is_group(path);
}

std::vector<std::string> H5Reader::datasets() const {
  const h5::Guard guard;
  std::set<haddr_t> seen;
  std::vector<std::string> groups;
  std::vector<std::string> datasets;
  state_->walk("", 0, seen, groups, datasets);
  std::sort(datasets.begin(), datasets.end());
  return datasets;
}

std::vector<std::string> H5Reader::groups() const {
  const h5::Guard guard;
  std::set<haddr_t> seen;
  std::vector<std::string> groups;
  std::vector<std::string> datasets;
  state_->walk("", 0, seen, groups, datasets);
  std::sort(groups.begin(), groups.end());
  return groups;
}

Tensor H5Reader::tensor(const std::string& path) const {
  const h5::Guard guard;
  const State::Opened opened = state_->dataset(path);
  const h5::ElementType element = state_->element(path, opened);
  Tensor result = at::empty(opened.shape, element.scalar);
  if (opened.count > 0) {
    check(H5Dread(opened.dataset, h5::memory_type(element), H5S_ALL, H5S_ALL, H5P_DEFAULT,
                  result.data_ptr()),
          state_->what(path));
  }
  if (element.name == std::string("uint64") && opened.count > 0 &&
      result.lt(0).any().item<bool>()) {
    state_->refuse(path, "holds integers above 2^63 - 1");
  }
  if (!state_->has_attribute(path, h5::kElementAttribute) || element.scalar != at::kByte) {
    return result;
  }
  if (opened.count > 0 && result.gt(1).any().item<bool>()) {
    state_->refuse(path, "holds truth values other than 0 and 1");
  }
  return result.to(at::kBool);
}

std::vector<std::uint64_t> H5Reader::uint64s(const std::string& path) const {
  const h5::Guard guard;
  const State::Opened opened = state_->dataset(path);
  if (opened.shape.size() != 1 || state_->element(path, opened).name != std::string("uint64")) {
    state_->refuse(path, "must be a list of integers of type uint64");
  }
  std::vector<std::uint64_t> values(opened.count);
  if (!values.empty()) {
    check(H5Dread(opened.dataset, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()),
          state_->what(path));
  }
  return values;
}

Tensor H5Reader::row(const std::string& path, const std::vector<std::int64_t>& index) const {
  const h5::Guard guard;
  return state_->row(path, index);
}

Tensor H5Reader::rows(const std::string& path, std::int64_t begin, std::int64_t end) const {
  const h5::Guard guard;
  return state_->rows(path, begin, end);
}

std::vector<std::int64_t> H5Reader::dataset_shape(const std::string& path) const {
  const h5::Guard guard;
  return state_->dataset(path).shape;
}

std::uint64_t H5Reader::stored_bytes(const std::string& path) const {
  const h5::Guard guard;
  return state_->dataset(path).stored;
}

std::uint64_t H5Reader::payload_bytes(const std::string& path) const {
  const h5::Guard guard;
  const State::Opened opened = state_->dataset(path);
  // Without compression storage is never below the payload: it adds checksums and padding.
  return std::min<std::uint64_t>(opened.stored, opened.count * opened.item_bytes);
}

std::string H5Reader::text(const std::string& path) const {
  const h5::Guard guard;
  const State::TextValues found = state_->texts(path);
  if (found.rank != 0) state_->refuse(path, "must be a single text");
  return found.values.front();
}

std::vector<std::string> H5Reader::texts(const std::string& path) const {
  const h5::Guard guard;
  State::TextValues found = state_->texts(path);
  if (found.rank != 1) state_->refuse(path, "must be a list of texts");
  return std::move(found.values);
}

bool H5Reader::has_attribute(const std::string& path, const std::string& name) const {
  const h5::Guard guard;
  return state_->has_attribute(path, name);
}

std::vector<std::string> H5Reader::attribute_names(const std::string& path) const {
  const h5::Guard guard;
  std::vector<std::string> names;
  const h5::Object object = state_->open(path);
  check(H5Aiterate2(
            object, H5_INDEX_NAME, H5_ITER_INC, nullptr,
            [](hid_t, const char* name, const H5A_info_t*, void* out) -> herr_t {
              static_cast<std::vector<std::string>*>(out)->push_back(name);
              return 0;
            },
            &names),
        state_->what(path));
  std::sort(names.begin(), names.end());
  return names;
}

std::string H5Reader::text_attribute(const std::string& path, const std::string& name) const {
  const h5::Guard guard;
  return state_->text_attribute(path, name);
}

std::int64_t H5Reader::int_attribute(const std::string& path, const std::string& name) const {
  const h5::Guard guard;
  const auto [bits, is_unsigned] = state_->integer(path, name);
  if (is_unsigned && bits > std::uint64_t(std::numeric_limits<std::int64_t>::max())) {
    state_->refuse(path, str("attribute '", name, "' is too large: ", bits));
  }
  return std::int64_t(bits);
}

std::uint64_t H5Reader::uint_attribute(const std::string& path, const std::string& name) const {
  const h5::Guard guard;
  const auto [bits, is_unsigned] = state_->integer(path, name);
  if (!is_unsigned && std::int64_t(bits) < 0) {
    state_->refuse(path,
                   str("attribute '", name, "' must not be negative, is ", std::int64_t(bits)));
  }
  return bits;
}

double H5Reader::double_attribute(const std::string& path, const std::string& name) const {
  const h5::Guard guard;
  const std::vector<double> values = state_->doubles(path, name);
  if (values.size() != 1) {
    state_->refuse(path, str("attribute '", name, "' must be one number, has ", values.size()));
  }
  return values.front();
}

std::vector<double> H5Reader::doubles_attribute(const std::string& path,
                                                const std::string& name) const {
  const h5::Guard guard;
  return state_->doubles(path, name);
}

std::string H5Reader::attribute_text(const std::string& path, const std::string& name) const {
  const h5::Guard guard;
  const H5T_class_t type_class = state_->attribute(path, name).type_class;
  if (type_class == H5T_STRING) return state_->text_attribute(path, name);
  const auto opened = state_->attribute(path, name);
  if (type_class == H5T_FLOAT || opened.count() != 1) {
    return h5::value_text(state_->doubles(path, name));
  }
  const auto [bits, is_unsigned] = state_->integer(path, name);
  return is_unsigned ? h5::value_text(bits) : h5::value_text(std::int64_t(bits));
}

std::string H5Reader::sha256(const std::string& path) const {
  const h5::Guard guard;
  return state_->sha256(path);
}

std::vector<std::string> H5Reader::verify() const {
  const h5::Guard guard;
  std::vector<std::string> findings = damage();
  if (!has("manifest/structure")) return findings;
  const std::set<std::string> expected = lines_of(text("manifest/structure"));
  for (const std::string& line : structure()) {
    if (!expected.contains(line)) findings.push_back("the file has, the manifest lacks: " + line);
  }
  return findings;
}

std::vector<std::string> H5Reader::damage(const std::set<std::string>& unread) const {
  const h5::Guard guard;
  if (!has("manifest/structure")) return {"/manifest is missing: nothing to compare with"};
  const std::vector<std::string> listed = texts("manifest/paths");
  const std::vector<std::string> digests = texts("manifest/sha256");
  if (listed.size() != digests.size()) {
    return {str("/manifest lists ", listed.size(), " paths and ", digests.size(), " digests")};
  }
  std::vector<std::string> findings;
  const std::set<std::string> actual = structure();
  for (const std::string& line : lines_of(text("manifest/structure"))) {
    if (!actual.contains(line)) findings.push_back("the manifest has, the file lacks: " + line);
  }
  for (std::size_t i = 0; i < listed.size(); ++i) {
    if (unread.contains(listed[i])) continue;
    if (!has(listed[i]) || is_group(listed[i])) continue;  // its line was reported above
    try {
      const std::string found = sha256(listed[i]);
      if (found == digests[i]) continue;
      findings.push_back(
          str("/", listed[i], ": SHA-256 is ", found, ", the manifest says ", digests[i]));
    } catch (const StorageError& e) {
      findings.push_back(e.what());
    }
  }
  return findings;
}

std::set<std::string> H5Reader::structure() const {
  std::set<std::string> lines;
  std::vector<std::string> objects = groups();
  objects.push_back("");
  for (const std::string& path : datasets()) {
    if (h5::outside_manifest(path)) continue;
    objects.push_back(path);
    const State::Opened opened = state_->dataset(path);
    const std::string element = opened.is_text ? "text" : h5::recognise(opened.type)->name;
    lines.insert(h5::dataset_line(path, element, opened.shape));
  }
  for (const std::string& path : objects) {
    if (h5::outside_manifest(path)) continue;
    for (const std::string& name : attribute_names(path)) {
      lines.insert(h5::attribute_line(path, name, attribute_text(path, name)));
    }
  }
  return lines;
}

void expect_schema(const H5Reader& file, const std::string& schema, std::int64_t major) {
  const std::string source = str("'", file.path().string(), "'");
  const std::string found =
      file.has_attribute("", "schema") ? file.text_attribute("", "schema") : "none";
  if (found != schema) {
    throw StorageError(str(source, ": expected schema '", schema, "', found '", found, "'"));
  }
  const std::int64_t version = file.int_attribute("", "version_major");
  if (version != major) {
    throw StorageError(str(source, ": expected ", schema, " version ", major, ".x, found ", version,
                           ".x; it needs a newer program"));
  }
}

}  // namespace retort::storage
