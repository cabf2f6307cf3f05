#include "lib/storage/expert_content.h"

#include <algorithm>

#include "lib/core/error.h"
#include "lib/core/hash.h"
#include "lib/core/shape.h"
#include "lib/core/str.h"
#include "lib/storage/expert_identity.h"
#include "lib/storage/set_file.h"

namespace retort::storage {
namespace experts {
namespace {

using Expert = ExpertSummary::Expert;

void hex_bytes(const std::string& text, std::uint8_t* bytes) {
  for (std::size_t i = 0; i < text.size() / 2; ++i) {
    bytes[i] = std::uint8_t(std::stoi(text.substr(2 * i, 2), nullptr, 16));
  }
}

void check_epochs(const std::vector<std::int64_t>& epochs, const std::string& source) {
  require(!epochs.empty() && epochs.front() == 0, source,
          str("the first snapshot must be of epoch 0, ",
              epochs.empty() ? std::string("there is none") : str("is of ", epochs.front())));
  for (std::size_t i = 1; i < epochs.size(); ++i) {
    require(epochs[i] > epochs[i - 1], source,
            str("epochs of snapshots must ascend, ", epochs[i], " follows ", epochs[i - 1]));
  }
}

void write_info(H5Writer& out, const ExpertInfo& info) {
  out.attribute("", "method", info.recipe);
  write_trained_on(out, info);
  out.attribute("", "network", info.network);
  out.attribute("", "store", info.store == ExpertInfo::Store::F32 ? "f32" : "bf16");
  out.text("identity", identity_text(info));
  out.text("options", info.options);
  out.tensor_as_int32("epoch", at::tensor(info.epochs, at::kLong));
}

void write_layout(H5Writer& out, const std::vector<ParameterLayout>& layout) {
  std::vector<std::string> names;
  std::vector<std::uint64_t> offsets;
  std::vector<std::uint64_t> numels;
  Tensor shapes = at::full({std::int64_t(layout.size()), kMaxRank}, -1, at::kLong);
  std::uint64_t offset = 0;
  for (const ParameterLayout& parameter : layout) {
    const auto row = std::int64_t(names.size());
    shapes[row]
        .narrow(0, 0, std::int64_t(parameter.shape.size()))
        .copy_(at::tensor(parameter.shape, at::kLong));
    names.push_back(parameter.name);
    offsets.push_back(offset);
    numels.push_back(std::uint64_t(parameter.numel()));
    offset += numels.back();
  }
  out.texts("layout/name", names);
  out.uint64s("layout/offset", offsets);
  out.uint64s("layout/numel", numels);
  out.tensor("layout/shape", shapes);
}

void write_experts(H5Writer& out, const std::vector<Expert>& written) {
  const auto column = [&](auto value) {
    std::vector<decltype(value(written.front()))> values;
    for (const Expert& expert : written) values.push_back(value(expert));
    return values;
  };
  out.uint64s("expert/init_seed", column([](const Expert& e) { return e.seeds.init; }));
  out.uint64s("expert/data_seed", column([](const Expert& e) { return e.seeds.data; }));
  out.uint64s("expert/aug_seed", column([](const Expert& e) { return e.seeds.augment; }));
  const auto done = column([](const Expert& e) { return std::int64_t(e.log.size()); });
  out.tensor_as_int32("expert/snapshots_done", at::tensor(done, at::kLong));
  const auto status =
      column([](const Expert& e) { return std::int64_t(e.complete ? kComplete : kRunning); });
  out.tensor("expert/status", at::tensor(status, at::kLong).to(at::kByte));
  out.texts("expert/program_version", column([](const Expert& e) { return e.program_version; }));
  out.texts("expert/processor", column([](const Expert& e) { return e.processor; }));
}

void write_log(H5Writer& out, const std::vector<Expert>& written, std::int64_t snapshots) {
  for (const LogColumn& column : kLog) {
    std::vector<double> values;
    for (const Expert& expert : written) {
      for (const SnapshotLog& entry : expert.log) values.push_back(entry.*column.field);
    }
    out.tensor(str("log/", column.name), at::tensor(values, at::kDouble)
                                             .to(column.type)
                                             .view({std::int64_t(written.size()), snapshots}));
  }
}

void write_snapshots(H5Writer& out, const Content& content, std::int64_t snapshots) {
  const auto count = std::int64_t(content.experts.size());
  const std::int64_t size = parameter_count(content.info);
  const at::ScalarType type = type_of(content.info.store);
  Tensor digests = at::empty({count, snapshots, kDigestBytes}, at::kByte);
  out.rows(kParams, type, {count, snapshots, size}, [&](std::int64_t row) {
    const std::int64_t expert = row / snapshots;
    const std::int64_t snapshot = row % snapshots;
    const Tensor stored = content.snapshot(expert, snapshot).to(type).contiguous();
    hex_bytes(sha256_of(stored.to(at::kFloat)),
              digests.data_ptr<std::uint8_t>() + row * kDigestBytes);
    return stored;
  });
  out.tensor("digest/sha256", digests);
}

}  // namespace

std::int64_t parameter_count(const ExpertInfo& info) {
  std::int64_t count = 0;
  for (const ParameterLayout& parameter : info.layout) count += parameter.numel();
  return count;
}

at::ScalarType type_of(ExpertInfo::Store store) {
  switch (store) {
    case ExpertInfo::Store::F32:
      return at::kFloat;
    case ExpertInfo::Store::Bf16:
      return at::kBFloat16;
  }
  throw Error("unknown store");
}

std::string sha256_of(const Tensor& values) {
  return sha256_hex({static_cast<const char*>(values.const_data_ptr()), values.nbytes()});
}

void check_info(const ExpertInfo& info, const std::string& source) {
  require(!info.layout.empty(), source, "the layout must name a parameter or more, names none");
  for (const ParameterLayout& parameter : info.layout) {
    const auto rank = std::int64_t(parameter.shape.size());
    require(rank >= 1 && rank <= kMaxRank &&
                *std::min_element(parameter.shape.begin(), parameter.shape.end()) > 0,
            source,
            str("/layout: '", parameter.name, "' must have 1 to ", kMaxRank,
                " positive sizes, has [", join(parameter.shape), "]"));
  }
  check_epochs(info.epochs, source);
  check_trained_on(info, source);
}

void write_content(H5Writer& out, const Content& content) {
  const auto snapshots = std::int64_t(content.experts.front().log.size());
  out.attribute("", "schema", kExpertSchema);
  out.attribute("", "version_major", kMajor);
  out.attribute("", "version_minor", kMinor);
  if (content.part) out.attribute("", "part", *content.part);
  write_info(out, content.info);
  write_layout(out, content.info.layout);
  write_experts(out, content.experts);
  write_log(out, content.experts, snapshots);
  write_snapshots(out, content, snapshots);
}

}  // namespace experts

namespace {

void check_part(const ExpertPart& part, const std::string& source) {
  experts::check_info(part.info, source);
  const std::size_t planned = part.info.epochs.size();
  const std::size_t done = part.snapshots.size();
  require(done >= 1 && done <= planned && part.log.size() == done, source,
          str("expected 1 to ", planned, " snapshots and a log entry for each, found ", done,
              " and ", part.log.size(), " entries"));
  require(part.complete == (done == planned), source,
          str("an expert is complete with ", planned, " snapshots and not before; this one is ",
              part.complete ? "complete" : "running", " with ", done));
  const std::int64_t size = experts::parameter_count(part.info);
  for (std::size_t i = 0; i < done; ++i) {
    const Tensor& values = part.snapshots[i];
    require(values.defined() && values.scalar_type() == at::kFloat &&
                values.sizes() == at::IntArrayRef{size},
            source,
            str("snapshot ", i, ": expected ", size, " values of type Float, found ",
                values.defined() ? shape_text(values) : std::string("none")));
  }
}

}  // namespace

std::int64_t ParameterLayout::numel() const {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return count;
}

std::filesystem::path part_path(const std::filesystem::path& out, std::int64_t number) {
  return std::filesystem::path(out.string() + ".parts") / str("expert-", number, ".h5");
}

void write_part(const std::filesystem::path& path, const ExpertPart& part) {
  check_part(part, str(source_of(path), ": cannot be written"));
  const std::vector<ExpertSummary::Expert> experts = {{.seeds = part.seeds,
                                                       .complete = part.complete,
                                                       .log = part.log,
                                                       .program_version = part.info.program_version,
                                                       .processor = part.info.processor}};
  H5Writer::create(path, [&](H5Writer& out) {
    experts::write_content(out, {.info = part.info,
                                 .experts = experts,
                                 .part = part.number,
                                 .snapshot = [&](std::int64_t, std::int64_t snapshot) {
                                   return part.snapshots[std::size_t(snapshot)];
                                 }});
    part.state.write(out, "state");
  });
}

}  // namespace retort::storage
