#include "lib/storage/exchange.h"

#include <algorithm>
#include <fstream>

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "lib/storage/pickle.h"
#include "lib/storage/zip.h"

namespace retort::storage {
namespace {

constexpr char kDictEntry[] = "data.pkl";
constexpr std::size_t kMaxNesting = 64;
constexpr std::size_t kMaxVisits = 10'000'000;
constexpr std::uint64_t kBudgetFloor = 1 << 28;

std::string_view bytes_of(const Tensor& tensor) {
  return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
}

std::vector<std::pair<std::string, Tensor>> contiguous(
    const std::filesystem::path& path, const std::vector<std::pair<std::string, Tensor>>& tensors) {
  std::vector<std::pair<std::string, Tensor>> result;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined()) {
      throw StorageError(str("'", path.string(), "': tensor '", name, "' is undefined"));
    }
    const auto same = [&n = name](const auto& other) { return other.first == n; };
    if (std::any_of(result.begin(), result.end(), same)) {
      throw StorageError(str("'", path.string(), "': name '", name, "' occurs twice"));
    }
    result.emplace_back(name, tensor.detach().to(at::kCPU).contiguous());
  }
  return result;
}

/// Copies tensors out of an archive; hostile files may describe far more than they hold.
class TensorLoader {
 public:
  TensorLoader(const ZipReader& archive, std::string folder)
      : archive_(archive),
        folder_(std::move(folder)),
        budget_(2 * archive.file_bytes() + kBudgetFloor) {}

  Tensor load(const pickle::View& view) {
    const Tensor& storage = find(view.storage);
    check_view(view);
    return storage.as_strided(view.sizes, view.strides, view.offset)
        .clone(at::MemoryFormat::Contiguous);
  }

 private:
  void spend(std::uint64_t bytes) {
    if (bytes > budget_) throw StorageError("the tensors are far larger than the file");
    budget_ -= bytes;
  }

  // Several tensors may be views of one storage.
  const Tensor& find(const pickle::Storage& wanted) {
    Tensor& storage = storages_[wanted.key];
    if (!storage.defined()) storage = read(wanted);
    if (storage.scalar_type() != wanted.type || storage.numel() != wanted.numel) {
      throw StorageError(str("storage '", wanted.key, "' is described in two ways"));
    }
    return storage;
  }

  Tensor read(const pickle::Storage& wanted) {
    const std::string_view bytes = archive_.read(folder_ + "data/" + wanted.key);
    const std::size_t item = c10::elementSize(wanted.type);
    if (std::uint64_t(wanted.numel) > bytes.size() / item) {
      throw StorageError(str("storage '", wanted.key, "': expected ", wanted.numel,
                             " elements, found ", bytes.size(), " bytes"));
    }
    // A copy: entries of an archive need not be aligned for their elements.
    spend(std::uint64_t(wanted.numel) * item);
    Tensor storage = at::empty({wanted.numel}, wanted.type);
    std::copy_n(bytes.data(), storage.nbytes(), static_cast<char*>(storage.data_ptr()));
    return storage;
  }

  void check_view(const pickle::View& view) {
    const auto refuse = [&](const std::string& why) {
      throw StorageError(str("tensor of shape [", join(view.sizes), "], strides [",
                             join(view.strides), "], offset ", view.offset, " on ",
                             view.storage.numel, " elements: ", why));
    };
    if (view.sizes.size() != view.strides.size() || view.sizes.size() > 64) {
      refuse("expected one stride per dimension");
    }
    std::int64_t last = view.offset;
    auto bytes = std::int64_t(c10::elementSize(view.storage.type));
    bool empty = false;
    for (std::size_t i = 0; i < view.sizes.size(); ++i) {
      std::int64_t reach = 0;
      if (view.sizes[i] < 0 || view.strides[i] < 0) refuse("sizes must not be negative");
      empty = empty || view.sizes[i] == 0;
      if (__builtin_mul_overflow(std::max<std::int64_t>(view.sizes[i] - 1, 0), view.strides[i],
                                 &reach) ||
          __builtin_add_overflow(last, reach, &last) ||
          __builtin_mul_overflow(bytes, std::max<std::int64_t>(view.sizes[i], 1), &bytes)) {
        refuse("it is too large");
      }
    }
    if (view.offset < 0 || view.offset > view.storage.numel ||
        (!empty && last >= view.storage.numel)) {
      refuse("it reaches outside of its storage");
    }
    if (!empty) spend(std::uint64_t(bytes));
  }

  const ZipReader& archive_;
  std::string folder_;
  std::uint64_t budget_;
  std::map<std::string, Tensor> storages_;
};

/// Collects the tensors of a value under joined names.
class Flattener {
 public:
  void visit(const pickle::Value& value, const std::string& name, std::size_t depth = 0) {
    // Containers may hold each other: depth alone does not bound the work.
    if (depth > kMaxNesting || ++visits_ > kMaxVisits) {
      throw StorageError("values are nested too deeply");
    }
    if (const auto* tensor = std::get_if<Tensor>(&value.data)) {
      if (!tensors.emplace(name, *tensor).second) {
        throw StorageError(str("two tensors are called '", name, "'"));
      }
    } else if (const auto* list = std::get_if<pickle::Sequence>(&value.data)) {
      for (std::size_t i = 0; i < list->items.size(); ++i) {
        visit(*list->items[i], joined(name, std::to_string(i)), depth + 1);
      }
    } else if (const auto* dict = std::get_if<pickle::Dict>(&value.data)) {
      for (const auto& [key, item] : dict->items) {
        visit(*item, joined(name, key_text(*key)), depth + 1);
      }
    }
  }

  std::map<std::string, Tensor> tensors;

 private:
  static std::string joined(const std::string& prefix, const std::string& name) {
    return prefix.empty() ? name : prefix + "/" + name;
  }
  static std::string key_text(const pickle::Value& key) {
    if (const auto* text = std::get_if<std::string>(&key.data)) return *text;
    if (const auto* number = std::get_if<std::int64_t>(&key.data)) return std::to_string(*number);
    throw StorageError("keys of dicts must be texts or integers");
  }

  std::size_t visits_ = 0;
};

// The folder inside the archive, "archive/": everything of a .pt file lies in one.
std::string archive_folder(const ZipReader& archive) {
  std::string folder;
  int found = 0;
  for (const std::string& name : archive.names()) {
    if (!name.ends_with(std::string("/") + kDictEntry)) continue;
    folder = name.substr(0, name.size() - std::string(kDictEntry).size());
    ++found;
  }
  if (found != 1) {
    throw StorageError(str("expected one entry 'NAME/", kDictEntry, "', found ", found,
                           "; is it a file of torch.save?"));
  }
  if (archive.has(folder + "constants.pkl")) {
    throw StorageError("is a TorchScript program, not a file of torch.save");
  }
  return folder;
}

void check_container(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw StorageError("cannot be opened for reading");
  std::string start(2, '\0');
  file.read(start.data(), std::streamsize(start.size()));
  if (start.starts_with("PK")) return;
  // A pickle stream: what torch.save wrote before version 1.6.
  if (std::uint8_t(start[0]) == 0x80) {
    throw StorageError(
        "has the old torch.save format (before PyTorch 1.6); convert it in Python with "
        "torch.save(torch.load(FILE), NEW_FILE)");
  }
  throw StorageError("is no zip archive of torch.save");
}

std::string npy_type(const Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kByte:
      return "|u1";
    case at::kChar:
      return "|i1";
    case at::kShort:
      return "<i2";
    case at::kInt:
      return "<i4";
    case at::kLong:
      return "<i8";
    case at::kHalf:
      return "<f2";
    case at::kFloat:
      return "<f4";
    case at::kDouble:
      return "<f8";
    case at::kBool:
      return "|b1";
    default:
      throw StorageError(str("NumPy has no type for ", c10::toString(tensor.scalar_type())));
  }
}

// NEP 1, version 1.0: the data begins at a multiple of 64 bytes.
std::string npy_header(const Tensor& tensor) {
  constexpr std::size_t kPreamble = 10;
  std::string shape;
  for (const std::int64_t size : tensor.sizes()) shape += std::to_string(size) + ", ";
  if (tensor.dim() > 1) shape.resize(shape.size() - 2);
  if (tensor.dim() == 1) shape.resize(shape.size() - 1);
  std::string text =
      str("{'descr': '", npy_type(tensor), "', 'fortran_order': False, 'shape': (", shape, "), }");
  text.append(63 - (kPreamble + text.size()) % 64, ' ');
  text += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += char(text.size() & 0xff);
  header += char(text.size() >> 8);
  return header + text;
}

}  // namespace

void write_pt(const std::filesystem::path& path,
              const std::vector<std::pair<std::string, Tensor>>& tensors) {
  const auto stored = contiguous(path, tensors);
  const std::string context = str("'", path.string(), "'");
  const std::string dict = with_context(context, [&] { return pickle::write_tensor_dict(stored); });
  ZipWriter::create(path, [&](ZipWriter& archive) {
    archive.add("archive/data.pkl", {dict});
    archive.add("archive/byteorder", {"little"});
    for (std::size_t i = 0; i < stored.size(); ++i) {
      archive.add(str("archive/data/", i), {bytes_of(stored[i].second)});
    }
    archive.add("archive/version", {"3\n"});
  });
}

std::map<std::string, Tensor> read_pt(const std::filesystem::path& path) {
  return with_context(str("'", path.string(), "'"), [&] {
    check_container(path);
    const ZipReader archive(path);
    const std::string folder = archive_folder(archive);
    const std::string order = folder + "byteorder";
    if (archive.has(order) && archive.read(order) != "little") {
      throw StorageError("must hold little-endian numbers");
    }
    TensorLoader loader(archive, folder);
    pickle::Reader reader(archive.read(folder + kDictEntry),
                          [&](const pickle::View& view) { return loader.load(view); });
    Flattener flattener;
    const pickle::Value& root = reader.read();
    // A bare tensor has no name of its own.
    flattener.visit(root, std::holds_alternative<Tensor>(root.data) ? "0" : "");
    if (flattener.tensors.empty()) throw StorageError("holds no tensor");
    return std::move(flattener.tensors);
  });
}

void write_npz(const std::filesystem::path& path,
               const std::vector<std::pair<std::string, Tensor>>& tensors) {
  const auto stored = contiguous(path, tensors);
  ZipWriter::create(path, [&](ZipWriter& archive) {
    for (const auto& [name, tensor] : stored) {
      const std::string header = with_context(str("'", path.string(), "': tensor '", name, "'"),
                                              [&t = tensor] { return npy_header(t); });
      archive.add(name + ".npy", {header, bytes_of(tensor)});
    }
  });
}

}  // namespace retort::storage
