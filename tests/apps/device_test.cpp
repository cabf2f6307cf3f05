#include <cstdlib>

#include <nlohmann/json.hpp>

#include "lib/core/files.h"
#include "lib/storage/set_file.h"
#include "tests/apps/program.h"
#include "tests/support/catch.h"

using namespace retort;
using namespace retort::testing;
using Catch::Matchers::Contains;

namespace {

std::vector<std::string> condense_on(const std::string& device, const std::string& method) {
  return {"condense", "--method", method,   "--dataset", "shapes", "--ipc",
          "1",        "--seed",   "3",      "--threads", "1",      "--device",
          device,     "--out",    "set.h5", "--run-dir", "run"};
}

bool names_what_is_missing(const std::string& message) {
  for (const char* text : {"the CUDA module was not built", "there is no NVIDIA driver",
                           "scripts/setup --cuda", "there is no usable CUDA device"}) {
    if (message.find(text) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("a device that is not there ends with code 2, says what is missing and leaves nothing",
          "[apps]") {
  const Workspace workspace;
  const auto condensed = workspace.start(condense_on("cuda", "random")).wait();
  if (condensed.exit_code == 0) {
    WARN("SKIPPED: this machine has a device");
    return;
  }
  INFO(condensed.err);
  CHECK(condensed.exit_code == 2);
  CHECK(condensed.out.empty());
  CHECK_THAT(condensed.err, Catch::Matchers::StartsWith("error: --device cuda: "));
  CHECK(names_what_is_missing(condensed.err));
  CHECK(!std::filesystem::exists(workspace.path("run")));

  const auto& made = condensed_shapes();
  const auto evaluated = made.start({"evaluate", "set.h5", "--device", "cuda:1"}).wait();
  INFO(evaluated.err);
  CHECK(evaluated.exit_code == 2);
  CHECK_THAT(evaluated.err, Catch::Matchers::StartsWith("error: --device cuda:1: "));
  CHECK(names_what_is_missing(evaluated.err));
}

TEST_CASE("wrong devices, and a module named by the environment, are refused by name", "[apps]") {
  const Workspace workspace;
  const auto unknown = workspace.retort(condense_on("gpu", "random"));
  CHECK(unknown.exit_code == 2);
  CHECK_THAT(unknown.err, Contains("expected cpu, cuda or cuda:n, found 'gpu'"));
  CHECK(workspace.retort({"evaluate", "set.h5", "--device", "cuda:x"}).exit_code == 2);

  setenv("RETORT_CUDA_MODULE", "/nowhere/module.so", 1);
  const auto missing = workspace.retort(condense_on("cuda", "random"));
  unsetenv("RETORT_CUDA_MODULE");
  CHECK(missing.exit_code == 2);
  CHECK_THAT(missing.err, Contains("there is no '/nowhere/module.so'"));

  auto words = condense_on("cuda", "dm");
  words.push_back("--dry-run");
  const auto predicted = workspace.retort(words);
  CHECK(predicted.exit_code == 2);
  CHECK_THAT(predicted.err, Contains("--dry-run predicts for --device cpu only, found 'cuda'"));
}

TEST_CASE("a run records its device and a document names it", "[apps]") {
  const Workspace workspace;
  auto words = condense_on("cpu", "random");
  words.push_back("--json");
  const auto result = workspace.retort(words);
  REQUIRE(result.exit_code == 0);
  CHECK(nlohmann::json::parse(result.out)["device"] == "cpu");
  CHECK_THAT(read_text(workspace.path("run/config.cfg")), Contains("device = cpu"));
  const auto evaluated = workspace.retort(
      {"evaluate", "set.h5", "--protocol", tiny_protocol(workspace), "--threads", "1", "--json"});
  REQUIRE(evaluated.exit_code == 0);
  CHECK(nlohmann::json::parse(evaluated.out)["device"] == "cpu");
}

TEST_CASE("on a device: condensing and evaluating give what the CPU gives", "[cuda]") {
  const Workspace workspace;
  for (const char* device : {"cpu", "cuda"}) {
    std::vector<std::string> words = condense_on(device, "dm");
    words[words.size() - 3] = std::string(device) + ".h5";
    words.back() = std::string("run-") + device;
    words.insert(words.end(), {"--net", "ConvNet-2-w8", "--iterations", "3", "--batch-real", "16",
                               "--networks", "trained", "--checkpoint-every", "1"});
    const auto made = workspace.start(words).wait();
    if (made.exit_code == 2) {
      WARN("SKIPPED: " << made.err);
      return;
    }
    INFO(made.err);
    REQUIRE(made.exit_code == 0);
  }
  // The device's additions run in another order; three steps of size one keep that small.
  CHECK_CLOSE(storage::read_set(workspace.path("cuda.h5")).images,
              storage::read_set(workspace.path("cpu.h5")).images, 1e-3);
  const auto judged = workspace
                          .start({"evaluate", "cuda.h5", "--device", "cuda", "--protocol",
                                  tiny_protocol(workspace), "--baselines", "random,k-means"})
                          .wait();
  INFO(judged.err);
  CHECK(judged.exit_code == 0);
}
