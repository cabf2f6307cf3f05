#include "lib/train/weights.h"

#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/storage/exchange.h"
#include "lib/train/teachers.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"
#include "tests/train/separable.h"

using namespace retort;
using namespace retort::testing;
using Weights = std::map<std::string, Tensor>;

namespace {

std::unique_ptr<nn::Network> network() { return nn::make_network("ConvNet-1-BN-w8", {1, 8, 8}, 3); }

nn::NetworkState state() { return network()->initialize(Rng(4)); }

/// The network's tensors as PyTorch would save them.
Weights saved(const std::string& prefix = "") {
  Weights weights;
  const auto teacher = train::as_teacher(*network(), state());
  for (const auto* list : {&teacher.parameters, &teacher.buffers}) {
    for (const auto& [name, value] : *list) weights[prefix + name] = value;
  }
  const std::string first = teacher.buffers.front().name;
  const std::string layer = first.substr(0, first.rfind('.'));
  weights[prefix + layer + ".num_batches_tracked"] = at::full({}, 9, at::kLong);
  return weights;
}

storage::Teacher taken(const Weights& weights) {
  return train::teacher_of_weights(*network(), weights, "'w.pt'");
}

}  // namespace

TEST_CASE("weights are taken by name, whatever wrapper they were saved from", "[train][weights]") {
  const std::string expected = train::as_teacher(*network(), state()).sha256();
  for (const std::string prefix :
       {"", "module.", "model.", "module.model.", "state_dict/", "checkpoint/model/module."}) {
    INFO(prefix);
    CHECK(taken(saved(prefix)).sha256() == expected);
  }
  Weights beside = saved("model/");
  beside["optimizer/state/0/momentum_buffer"] = at::ones({3});
  beside["epoch"] = at::full({1}, 90, at::kLong);
  CHECK(taken(beside).sha256() == expected);
  Weights half;
  for (const auto& [name, value] : saved()) half[name] = value.to(at::kHalf);
  CHECK(taken(half).parameters.front().value.scalar_type() == at::kFloat);
}

TEST_CASE("weights come from a safetensors file as from any other", "[train][weights]") {
  const testing::TemporaryFolder folder("retort-weights");
  const std::filesystem::path path = folder.path() / "w.safetensors";
  std::string data;
  nlohmann::json header;
  for (const auto& [name, tensor] : saved("model.")) {
    const Tensor values = tensor.contiguous();
    const std::size_t begin = data.size();
    data.append(static_cast<const char*>(values.const_data_ptr()), values.nbytes());
    header[name] = {{"dtype", values.scalar_type() == at::kLong ? "I64" : "F32"},
                    {"shape", values.sizes().vec()},
                    {"data_offsets", {begin, data.size()}}};
  }
  const std::string text = header.dump();
  std::string length;
  for (int i = 0; i < 8; ++i) length += char((text.size() >> (8 * i)) & 0xff);
  write_text(path, length + text + data);
  CHECK(taken(train::read_weights(path)).sha256() ==
        train::as_teacher(*network(), state()).sha256());
}

TEST_CASE("weights that do not match are told apart: missing, unexpected, of another shape",
          "[train][weights]") {
  Weights weights = saved();
  const auto teacher = train::as_teacher(*network(), state());
  const std::string missing = teacher.parameters[0].name;
  const std::string wide = teacher.parameters.back().name;
  weights.erase(missing);
  weights[wide] = at::ones({17});
  weights["fc2.weight"] = at::ones({2});
  try {
    taken(weights);
    FAIL("was accepted");
  } catch (const DataError& e) {
    CHECK_THAT(e.what(), Catch::Matchers::Contains(
                             "'w.pt': the weights are not those of ConvNet-1-BN-w8; 1 missing: " +
                             missing + "; 1 unexpected: fc2.weight; 1 of another shape: " + wide +
                             " (expected [3], found [17])"));
  }
  CHECK_THROWS_WITH_TEXT(taken({}), DataError, " missing: ");
  Weights broken = saved();
  broken[missing] = at::full_like(broken[missing], NAN);
  CHECK_THROWS_WITH_TEXT(taken(broken), DataError,
                         "'w.pt': '" + missing + "' holds values that are not finite");
}

TEST_CASE("a file that is no dict of tensors is answered with lines of Python that make one",
          "[train][weights]") {
  const TemporaryFolder folder("retort-weights");
  const auto good = folder.path() / "good.pt";
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const auto& [name, value] : saved("module.")) tensors.emplace_back(name, value);
  storage::write_pt(good, tensors);
  CHECK(taken(train::read_weights(good)).sha256() ==
        train::as_teacher(*network(), state()).sha256());
  const auto bad = folder.path() / "script.pt";
  std::ofstream(bad) << "\x80\x02nothing";
  CHECK_THROWS_WITH_TEXT(train::read_weights(bad), StorageError, "torch.jit.load('script.pt'");
  CHECK_THROWS_WITH_TEXT(train::read_weights(bad), StorageError, "save_file(");
  const auto other = folder.path() / "weights.bin";
  std::ofstream(other) << "nothing";
  CHECK_THROWS_WITH_TEXT(train::read_weights(other), StorageError, "expected a safetensors file");
}
