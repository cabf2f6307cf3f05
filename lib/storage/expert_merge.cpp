#include <algorithm>
#include <memory>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/storage/expert_content.h"
#include "lib/storage/expert_file.h"
#include "lib/storage/expert_identity.h"

namespace retort::storage {
namespace {

namespace fs = std::filesystem;
using Expert = ExpertSummary::Expert;

// Where some of the experts come from. Its snapshots stay in the file, and so does what all share:
// ZCA matrices of every part at once would fill the memory.
struct Source {
  fs::path path;
  std::int64_t number = 0;
  std::vector<Expert> experts;
};

struct Sources {
  std::vector<Source> files;
  ExpertInfo info;  // of the first
};

void keep_complete(std::vector<Expert>& experts) {
  std::erase_if(experts, [](const Expert& expert) { return !expert.complete; });
}

void add(Sources& sources, const fs::path& path, bool is_part) {
  ExpertSummary summary = read_expert_summary(path);
  if (is_part && !summary.part) {
    throw StorageError(str(source_of(path),
                           ": expected a part of one expert, found a finished file of ",
                           summary.experts.size()));
  }
  const std::size_t all = summary.experts.size();
  keep_complete(summary.experts);
  if (summary.experts.empty()) {
    throw StorageError(str(source_of(path), ": expected a complete expert, found ", all,
                           " that are not; a run that goes on completes them"));
  }
  if (sources.files.empty()) {
    sources.info = std::move(summary.info);
  } else if (const auto different = experts::difference(sources.info, summary.info)) {
    throw StorageError(str(source_of(path),
                           ": experts of one file must differ in nothing but seeds; ",
                           different->field, ": ", source_of(sources.files.front().path), " has ",
                           different->expected, ", found ", different->found));
  }
  sources.files.push_back({path, summary.part.value_or(-1), std::move(summary.experts)});
}

void refuse_duplicates(const std::vector<Source>& sources) {
  struct Seen {
    ExpertSeeds seeds;
    std::string where;
  };
  std::vector<Seen> seen;
  for (const Source& source : sources) {
    for (std::size_t e = 0; e < source.experts.size(); ++e) {
      const ExpertSeeds& seeds = source.experts[e].seeds;
      const std::string where = str("expert ", e, " of ", source_of(source.path));
      for (const Seen& other : seen) {
        if (other.seeds != seeds) continue;
        throw StorageError(str(where, " has the seeds of ", other.where, ": init ", seeds.init,
                               ", data ", seeds.data, ", augment ", seeds.augment,
                               "; no expert may count twice"));
      }
      seen.push_back({seeds, where});
    }
  }
}

// Snapshots of all sources in order, with one file open at a time.
class Stream {
 public:
  explicit Stream(const std::vector<Source>& sources) : sources_(sources) {}

  Tensor read(std::int64_t expert, std::int64_t snapshot) {
    while (expert - before_ >= std::int64_t(sources_[source_].experts.size())) {
      before_ += std::int64_t(sources_[source_].experts.size());
      ++source_;
      reader_.reset();
    }
    if (!reader_) reader_ = std::make_unique<ExpertReader>(sources_[source_].path);
    return reader_->snapshot(expert - before_, snapshot);
  }

 private:
  const std::vector<Source>& sources_;
  std::size_t source_ = 0;
  std::int64_t before_ = 0;  // experts of the sources before this one
  std::unique_ptr<ExpertReader> reader_;
};

}  // namespace

void merge_experts(const fs::path& out, const std::optional<fs::path>& existing,
                   const std::vector<fs::path>& parts) {
  Sources sources;
  if (existing) add(sources, *existing, /*is_part=*/false);
  for (const fs::path& part : parts) add(sources, part, /*is_part=*/true);
  if (sources.files.empty()) {
    throw StorageError(
        str(source_of(out), ": expected a complete expert or more, found none to merge"));
  }
  std::stable_sort(sources.files.begin() + (existing ? 1 : 0), sources.files.end(),
                   [](const Source& a, const Source& b) { return a.number < b.number; });
  refuse_duplicates(sources.files);

  std::vector<Expert> experts;
  for (const Source& source : sources.files) {
    experts.insert(experts.end(), source.experts.begin(), source.experts.end());
  }
  Stream stream(sources.files);
  H5Writer::create(out, [&](H5Writer& file) {
    experts::write_content(file, {.info = sources.info,
                                  .experts = experts,
                                  .part = {},
                                  .snapshot = [&](std::int64_t expert, std::int64_t snapshot) {
                                    return stream.read(expert, snapshot);
                                  }});
  });
}

}  // namespace retort::storage
