#include "lib/storage/safetensors.h"

#include "lib/core/error.h"
#include "lib/core/str.h"
#include "tests/storage/support.h"
#include "tests/support/catch.h"

using namespace retort;
using storage::read_safetensors;
using testing::spit;
using testing::TemporaryFolder;

namespace {

std::string file_text(const std::string& header, const std::string& data) {
  std::string length;
  for (int i = 0; i < 8; ++i) length += char((header.size() >> (8 * i)) & 0xff);
  return length + header + data;
}

std::string bytes_of(const Tensor& tensor) {
  return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
}

}  // namespace

TEST_CASE("a safetensors file gives its tensors, whatever order its header has",
          "[storage][safetensors]") {
  const TemporaryFolder folder("safetensors");
  const Tensor a = at::arange(6, at::kFloat).view({2, 3}).div(7);
  const Tensor b = at::tensor({1.5, -2.0}, at::kFloat).to(at::kHalf);
  const Tensor c = at::tensor({0.25, 3.0}, at::kFloat).to(at::kBFloat16);
  const Tensor d = at::full({}, 7, at::kLong);
  const std::string header = R"({"__metadata__":{"format":"pt"},)"
                             R"("d":{"dtype":"I64","shape":[],"data_offsets":[32,40]},)"
                             R"("a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                             R"("c":{"dtype":"BF16","shape":[2],"data_offsets":[28,32]},)"
                             R"("b":{"dtype":"F16","shape":[2],"data_offsets":[24,28]}}  )";
  const auto path = folder / "w.safetensors";
  spit(path, file_text(header, bytes_of(a) + bytes_of(b) + bytes_of(c) + bytes_of(d)));
  const auto found = read_safetensors(path);
  REQUIRE(found.size() == 4);
  CHECK(at::equal(found.at("a"), a));
  const std::vector<std::pair<std::string, Tensor>> others = {{"b", b}, {"c", c}, {"d", d}};
  for (const auto& [name, expected] : others) {
    CHECK(found.at(name).scalar_type() == expected.scalar_type());
    CHECK(at::equal(found.at(name), expected));
  }
}

TEST_CASE("a damaged safetensors file is refused with its name and the rule",
          "[storage][safetensors]") {
  const TemporaryFolder folder("safetensors-bad");
  const auto path = folder / "w.safetensors";
  const auto refused = [&](const std::string& bytes, const std::string& text) {
    spit(path, bytes);
    CHECK_THROWS_WITH_TEXT(read_safetensors(path), StorageError, text);
    CHECK_THROWS_WITH_TEXT(read_safetensors(path), StorageError, "'" + path.string() + "'");
  };
  const auto entry = [](const std::string& body) { return str(R"({"a":{)", body, "}}"); };
  const std::string data(8, '\0');
  refused("abc", "found 3 bytes");
  refused(std::string(20, '\xff'), "give the length of its header");
  refused(file_text("[1, 2]", ""), "must be a JSON object");
  refused(file_text("{\"a\":", ""), "is no JSON object");
  refused(file_text(entry(R"("shape":[2],"data_offsets":[0,8])"), data),
          "tensor 'a': expected dtype, shape and data_offsets");
  refused(file_text(entry(R"("dtype":"F4","shape":[2],"data_offsets":[0,8])"), data),
          "dtype 'F4' is none that is read here");
  refused(file_text(entry(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"), data),
          "expected the 12 bytes of shape [3] from 0 on");
  refused(file_text(entry(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])"), data),
          "expected the 4 bytes of shape [1] from 0 on, behind those before it, found 4 .. 8");
  refused(file_text(entry(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), data),
          "expected begin and end");
  refused(file_text(entry(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), data),
          "shape [-2] cannot be");
  refused(file_text(entry(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8])"),
                    data),
          "cannot be");
  refused(file_text(entry(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])"), data + "x"),
          "expected 8 bytes behind the header, found 9");
  refused(file_text(entry(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])"), "1234"),
          "expected 8 bytes behind the header, found 4");
  std::filesystem::remove(path);
  CHECK_THROWS_WITH_TEXT(read_safetensors(path), StorageError, "cannot be opened");
}
