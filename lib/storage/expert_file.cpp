#include "lib/storage/expert_file.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <mutex>
#include <string_view>

#include "lib/core/error.h"
#include "lib/core/hash.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/storage/expert_content.h"
#include "lib/storage/hdf5.h"
#include "lib/storage/set_file.h"

namespace retort::storage {
namespace {

namespace fs = std::filesystem;
using experts::kComplete;
using experts::kDigestBytes;
using experts::kLog;
using experts::kMaxRank;
using experts::kParams;
using experts::LogColumn;
using experts::parameter_count;
using experts::sha256_of;
using Expert = ExpertSummary::Expert;

std::string numbered(std::int64_t expert, std::int64_t snapshot) {
  return str("expert ", expert, ", snapshot ", snapshot);
}

std::string hex_text(const std::uint8_t* bytes, std::int64_t count) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (std::int64_t i = 0; i < count; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

std::string little_endian(std::initializer_list<std::uint64_t> values) {
  std::string bytes;
  for (const std::uint64_t value : values) {
    for (int shift = 0; shift < 64; shift += 8) bytes += char((value >> shift) & 255);
  }
  return bytes;
}

// @param sizes [kMaxRank], padded with -1
ParameterLayout read_parameter(const std::string& name, const std::int64_t* sizes,
                               std::uint64_t numel, const std::string& source) {
  ParameterLayout parameter{.name = name, .shape = {}};
  for (std::int64_t i = 0; i < kMaxRank && sizes[i] != -1; ++i) parameter.shape.push_back(sizes[i]);
  std::uint64_t product = 1;
  bool fits = !parameter.shape.empty();
  for (std::size_t i = 0; i < std::size_t(kMaxRank); ++i) {
    const bool padding = i >= parameter.shape.size();
    fits = fits && (padding ? sizes[i] == -1
                            : sizes[i] > 0 && !__builtin_mul_overflow(
                                                  product, std::uint64_t(sizes[i]), &product));
  }
  require(fits && product == numel, source,
          str("/layout: '", name, "' must have 1 to ", kMaxRank, " sizes of ", numel,
              " elements, then -1, has [", join(std::vector(sizes, sizes + kMaxRank)), "]"));
  return parameter;
}

std::vector<ParameterLayout> read_layout(const H5Reader& in, std::uint64_t size,
                                         const std::string& source) {
  const auto names = in.texts("layout/name");
  const auto offsets = in.uint64s("layout/offset");
  const auto numels = in.uint64s("layout/numel");
  const Tensor shapes = in.tensor("layout/shape");
  const auto count = std::int64_t(names.size());
  require(offsets.size() == names.size() && numels.size() == names.size() &&
              shapes.scalar_type() == at::kLong &&
              shapes.sizes() == at::IntArrayRef{count, kMaxRank},
          source,
          str("/layout: expected ", count, " offsets, sizes and shapes, found ", offsets.size(),
              ", ", numels.size(), " and shape ", shape_text(shapes)));
  std::vector<ParameterLayout> layout;
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < names.size(); ++i) {
    require(offsets[i] == end && numels[i] <= size - end, source,
            str("/layout must tile [0, ", size, ") in order without gap or overlap; '", names[i],
                "' takes ", numels[i], " from ", offsets[i], ", the one before ends at ", end));
    layout.push_back(
        read_parameter(names[i], shapes.const_data_ptr<std::int64_t>() + std::int64_t(i) * kMaxRank,
                       numels[i], source));
    end += numels[i];
  }
  require(
      end == size, source,
      str("/layout must tile [0, ", size, ") without gap or overlap; the last one ends at ", end));
  return layout;
}

ExpertInfo read_info(const H5Reader& in, const std::string& source) {
  ExpertInfo info;
  static_cast<TrainedOn&>(info) = read_trained_on(in);
  info.recipe = in.text_attribute("", "method");
  info.network = in.text_attribute("", "network");
  const std::string store = in.text_attribute("", "store");
  require(store == "f32" || store == "bf16", source,
          str("attribute 'store' must be f32 or bf16, is '", store, "'"));
  info.store = store == "f32" ? ExpertInfo::Store::F32 : ExpertInfo::Store::Bf16;
  info.options = in.text("options");
  const Tensor epochs = in.tensor("epoch").to(at::kLong);
  require(epochs.dim() == 1, source, str("/epoch: expected a list, found ", shape_text(epochs)));
  const auto* first = epochs.const_data_ptr<std::int64_t>();
  info.epochs.assign(first, first + epochs.numel());
  return info;
}

// The shape [n,s,P] of /params, everything else has to agree with.
std::array<std::int64_t, 3> read_shape(const H5Reader& in, const std::string& source) {
  const auto shape = in.dataset_shape(kParams);
  require(shape.size() == 3, source,
          str("/", kParams, ": expected shape [n, S, P], found [", join(shape), "]"));
  return {shape[0], shape[1], shape[2]};
}

Tensor read_counted(const H5Reader& in, const std::string& path, at::ScalarType type,
                    at::IntArrayRef shape, const std::string& source) {
  const Tensor values = in.tensor(path);
  require(values.scalar_type() == type && values.sizes() == shape, source,
          str("/", path, ": expected shape [", join(shape), "] of type ", c10::toString(type),
              ", found ", shape_text(values), " of type ", c10::toString(values.scalar_type())));
  return values;
}

void read_log(const H5Reader& in, std::vector<Expert>& experts, std::int64_t snapshots,
              const std::string& source) {
  const auto count = std::int64_t(experts.size());
  for (const LogColumn& column : kLog) {
    const Tensor values =
        read_counted(in, str("log/", column.name), column.type, {count, snapshots}, source)
            .to(at::kDouble);
    const double* value = values.const_data_ptr<double>();
    for (std::size_t e = 0; e < experts.size(); ++e) {
      for (std::size_t s = 0; s < experts[e].log.size(); ++s) {
        experts[e].log[s].*column.field = value[e * std::size_t(snapshots) + s];
      }
    }
  }
}

void check_progress(const Expert& expert, std::int64_t index, std::int64_t done,
                    std::int64_t stored, std::int64_t planned, const std::string& source) {
  const bool fits = expert.complete ? done == planned && stored == planned
                                    : done >= 0 && done <= stored && stored <= planned;
  require(fits, source,
          str("expert ", index, " is ", expert.complete ? "complete" : "running", " with ", done,
              " snapshots done of ", planned, ", while /", kParams, " holds ", stored));
}

std::vector<Expert> read_experts(const H5Reader& in, std::int64_t count, std::int64_t snapshots,
                                 std::int64_t planned, const std::string& source) {
  std::vector<Expert> experts(static_cast<std::size_t>(count));
  const auto seeds = [&](const std::string& name, std::uint64_t ExpertSeeds::*field) {
    const auto values = in.uint64s("expert/" + name);
    require(values.size() == experts.size(), source,
            str("/expert/", name, ": expected ", count, " seeds, found ", values.size()));
    for (std::size_t e = 0; e < experts.size(); ++e) experts[e].seeds.*field = values[e];
  };
  seeds("init_seed", &ExpertSeeds::init);
  seeds("data_seed", &ExpertSeeds::data);
  seeds("aug_seed", &ExpertSeeds::augment);
  const auto texts = [&](const std::string& name, std::string Expert::*field) {
    const auto values = in.texts("expert/" + name);
    require(values.size() == experts.size(), source,
            str("/expert/", name, ": expected ", count, " texts, found ", values.size()));
    for (std::size_t e = 0; e < experts.size(); ++e) experts[e].*field = values[e];
  };
  texts("program_version", &Expert::program_version);
  texts("processor", &Expert::processor);
  const Tensor done = read_counted(in, "expert/snapshots_done", at::kInt, {count}, source);
  const Tensor status = read_counted(in, "expert/status", at::kByte, {count}, source);
  for (std::size_t e = 0; e < experts.size(); ++e) {
    const std::int64_t finished = done.const_data_ptr<std::int32_t>()[e];
    experts[e].complete = status.const_data_ptr<std::uint8_t>()[e] == kComplete;
    check_progress(experts[e], std::int64_t(e), finished, snapshots, planned, source);
    experts[e].log.resize(std::size_t(finished));
  }
  read_log(in, experts, snapshots, source);
  return experts;
}

std::string different_texts(const std::vector<Expert>& experts, std::string Expert::*field) {
  std::vector<std::string> found;
  for (const Expert& expert : experts) {
    if (std::find(found.begin(), found.end(), expert.*field) == found.end()) {
      found.push_back(expert.*field);
    }
  }
  return join(found, "; ");
}

ExpertSummary read_summary(const H5Reader& in) {
  const std::string source = source_of(in.path());
  expect_schema(in, kExpertSchema, experts::kMajor);
  // Snapshots have a digest each, which is compared when one is read.
  const std::vector<std::string> findings = in.damage({kParams});
  require(findings.empty(), source, findings.empty() ? "" : "is damaged: " + findings.front());
  const auto [count, snapshots, size] = read_shape(in, source);
  ExpertSummary summary;
  summary.info = read_info(in, source);
  summary.info.layout = read_layout(in, std::uint64_t(size), source);
  experts::check_info(summary.info, source);
  summary.id = sha256_hex(in.text("identity"));
  if (in.has_attribute("", "part")) summary.part = in.int_attribute("", "part");
  const auto planned = std::int64_t(summary.info.epochs.size());
  summary.experts = read_experts(in, count, snapshots, planned, source);
  summary.info.program_version = different_texts(summary.experts, &Expert::program_version);
  summary.info.processor = different_texts(summary.experts, &Expert::processor);
  return summary;
}

// The snapshots of an open file, by their rows.
class Snapshots {
 public:
  Snapshots(const H5Reader& in, ExpertInfo::Store store) : in_(in), type_(experts::type_of(store)) {
    const auto [count, snapshots, size] = read_shape(in, source_of(in.path()));
    digests_ = read_counted(in, "digest/sha256", at::kByte, {count, snapshots, kDigestBytes},
                            source_of(in.path()));
    verified_.resize(std::size_t(count * snapshots), false);
    per_expert_ = snapshots;
  }

  /// The digests of all snapshots of an expert, one after the other.
  std::string_view digests(std::int64_t expert) const {
    const auto size = std::size_t(per_expert_ * kDigestBytes);
    return {static_cast<const char*>(digests_.const_data_ptr()) + std::size_t(expert) * size, size};
  }

  Tensor read(std::int64_t expert, std::int64_t snapshot) {
    return with_context(numbered(expert, snapshot), [&] {
      const Tensor stored = in_.row(kParams, {expert, snapshot});
      require(stored.scalar_type() == type_, source_of(in_.path()),
              str("/", kParams, ": expected elements of type ", c10::toString(type_), ", found ",
                  c10::toString(stored.scalar_type())));
      const Tensor values = stored.to(at::kFloat);
      verify(values, expert * per_expert_ + snapshot);
      return values;
    });
  }

 private:
  void verify(const Tensor& values, std::int64_t row) {
    {
      const std::lock_guard lock(mutex_);
      if (verified_[std::size_t(row)]) return;
    }
    const std::string found = sha256_of(values);
    const std::string expected =
        hex_text(digests_.const_data_ptr<std::uint8_t>() + row * kDigestBytes, kDigestBytes);
    require(found == expected, source_of(in_.path()),
            str("is damaged: /", kParams, ": SHA-256 of the values is ", found,
                ", /digest/sha256 says ", expected));
    const std::lock_guard lock(mutex_);
    verified_[std::size_t(row)] = true;
  }

  const H5Reader& in_;
  at::ScalarType type_;
  Tensor digests_;
  std::int64_t per_expert_ = 0;
  std::mutex mutex_;
  std::vector<bool> verified_;
};

std::string progress_text(const ExpertSummary& summary) {
  if (summary.experts.empty()) return "found none";
  const Expert& first = summary.experts.front();
  return str("found ", summary.experts.size(), " with ", first.log.size(), " of ",
             summary.info.epochs.size(), " snapshots; is it a part of a run that goes on?");
}

}  // namespace

struct ExpertReader::State {
  explicit State(const fs::path& path)
      : file(path), summary(read_summary(file)), snapshots(file, summary.info.store) {
    for (std::size_t e = 0; e < summary.experts.size(); ++e) {
      if (summary.experts[e].complete) complete.push_back(std::int64_t(e));
    }
    require(!complete.empty(), source_of(path),
            "expected a complete expert, " + progress_text(summary));
  }

  std::int64_t row(std::int64_t expert) const {
    const auto count = std::int64_t(complete.size());
    require(expert >= 0 && expert < count, source_of(file.path()),
            str("expected expert 0 .. ", count - 1, ", asked for ", expert));
    return complete[std::size_t(expert)];
  }

  const Expert& expert(std::int64_t index) const {
    return summary.experts[std::size_t(row(index))];
  }

  void check_snapshot(std::int64_t snapshot) const {
    const auto count = std::int64_t(summary.info.epochs.size());
    require(snapshot >= 0 && snapshot < count, source_of(file.path()),
            str("expected snapshot 0 .. ", count - 1, ", asked for ", snapshot));
  }

  H5Reader file;
  ExpertSummary summary;
  Snapshots snapshots;
  std::vector<std::int64_t> complete;  // the rows of what readers may use
};

ExpertReader::ExpertReader(const fs::path& path) : state_(std::make_unique<State>(path)) {}
ExpertReader::~ExpertReader() = default;
ExpertReader::ExpertReader(ExpertReader&&) noexcept = default;

void ExpertReader::keep_first(std::int64_t count) {
  require(count >= 1 && count <= experts(), source_of(path()),
          str("expected ", count, " complete experts, found ", experts()));
  state_->complete.resize(std::size_t(count));
}

const fs::path& ExpertReader::path() const { return state_->file.path(); }
const ExpertInfo& ExpertReader::info() const { return state_->summary.info; }
const std::string& ExpertReader::id() const { return state_->summary.id; }
std::string ExpertReader::sha256() const {
  Sha256 hash;
  for (const std::int64_t row : state_->complete) {
    const ExpertSeeds& seeds = state_->summary.experts[std::size_t(row)].seeds;
    hash.update(little_endian({seeds.init, seeds.data, seeds.augment}));
    hash.update(state_->snapshots.digests(row));
  }
  return hash.hex();
}

std::int64_t ExpertReader::experts() const { return std::int64_t(state_->complete.size()); }
std::int64_t ExpertReader::parameters() const { return parameter_count(state_->summary.info); }

Tensor ExpertReader::snapshot(std::int64_t expert, std::int64_t snapshot) const {
  state_->check_snapshot(snapshot);
  return state_->snapshots.read(state_->row(expert), snapshot);
}

const SnapshotLog& ExpertReader::log(std::int64_t expert, std::int64_t snapshot) const {
  state_->check_snapshot(snapshot);
  return state_->expert(expert).log[std::size_t(snapshot)];
}

const ExpertSeeds& ExpertReader::seeds(std::int64_t expert) const {
  return state_->expert(expert).seeds;
}

ExpertSummary read_expert_summary(const fs::path& path) { return read_summary(H5Reader(path)); }

ExpertPart read_part(const fs::path& path) {
  const H5Reader in(path);
  ExpertSummary summary = read_summary(in);
  require(summary.part.has_value() && summary.experts.size() == 1, source_of(path),
          str("expected a part of one expert, found a finished file of ", summary.experts.size()));
  Expert& expert = summary.experts.front();
  ExpertPart part{.info = std::move(summary.info),
                  .number = *summary.part,
                  .seeds = expert.seeds,
                  .snapshots = {},
                  .log = std::move(expert.log),
                  .complete = expert.complete,
                  .state = StateWriter::read(in, "state")};
  Snapshots snapshots(in, part.info.store);
  for (std::size_t s = 0; s < part.log.size(); ++s) {
    part.snapshots.push_back(snapshots.read(0, std::int64_t(s)));
  }
  return part;
}

std::vector<std::string> damaged_snapshots(const fs::path& path) {
  const H5Reader in(path);
  const ExpertSummary summary = read_summary(in);
  Snapshots snapshots(in, summary.info.store);
  std::vector<std::string> findings;
  for (std::size_t e = 0; e < summary.experts.size(); ++e) {
    for (std::size_t s = 0; s < summary.experts[e].log.size(); ++s) {
      try {
        const Tensor values = snapshots.read(std::int64_t(e), std::int64_t(s));
        const auto bad = values.numel() - at::isfinite(values).sum().item<std::int64_t>();
        if (bad > 0) {
          findings.push_back(
              str(numbered(std::int64_t(e), std::int64_t(s)), ": ", bad, " values are not finite"));
        }
      } catch (const StorageError& error) {
        findings.emplace_back(error.what());
      }
    }
  }
  return findings;
}

}  // namespace retort::storage
