#include "methods/driver.h"

#include "lib/core/log.h"
#include "lib/core/text.h"
#include "lib/nn/network.h"
#include "lib/storage/set_file.h"
#include "lib/vision/vision.h"
#include "methods/prediction.h"
#include "tests/methods/scripted.h"

using namespace retort;
using namespace retort::methods;
using namespace retort::methods::scripted;
using retort::testing::small_method;

namespace {

/// The pictures that a run left before its last one, in order.
std::vector<std::string> pictures(const RunFolder& run) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(run.root)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("grid-")) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// Takes warnings, which the test program does not expect, while it lives.
class Quiet {
 public:
  Quiet() : before_(log::set_sink({})) {}
  ~Quiet() { log::set_sink(before_); }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;

 private:
  log::Sink before_;
};

/// Keeps what is logged while it lives.
class Heard {
 public:
  Heard()
      : before_(log::set_sink(
            [this](log::Level, const std::string& message) { messages.push_back(message); })) {}
  ~Heard() { log::set_sink(before_); }
  Heard(const Heard&) = delete;
  Heard& operator=(const Heard&) = delete;

  std::vector<std::string> messages;

 private:
  log::Sink before_;
};

class Finishes : public ProgressSink {
 public:
  void finish() override { finished = true; }
  bool finished = false;
};

}  // namespace

TEST_CASE("a run writes its folder: configuration, metrics, log, picture and set",
          "[methods][driver]") {
  const Folder folder;
  Scripted method;
  const RunOutcome outcome = drive(method, folder.options());
  const RunFolder& run = folder.run;
  CHECK(outcome.iterations == 6);
  CHECK(std::filesystem::exists(run.config()));
  CHECK(std::filesystem::exists(run.grid()));
  CHECK_FALSE(std::filesystem::exists(run.checkpoint()));
  const data::SyntheticSet set = storage::read_set(run.set());
  CHECK(first_pixel(set) == 15);
  CHECK(set.provenance.iterations == 6);
  CHECK(set.provenance.dataset_sha256 == shapes().info().sha256);
  const std::string metrics = read_text(run.metrics());
  CHECK(metrics.starts_with("iteration,loss,seconds,sum\n0,1,"));
  CHECK(std::count(metrics.begin(), metrics.end(), '\n') == 7);
}

TEST_CASE("event files tell TensorBoard of every session of a run that asked for them once",
          "[methods][driver]") {
  const Folder folder;
  DriverOptions options = folder.options();
  const auto event_files = [&] {
    std::vector<std::string> texts;
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(folder.run.root)) {
      if (entry.path().filename().string().starts_with("events.out.tfevents.")) {
        paths.push_back(entry.path());
      }
    }
    std::sort(paths.begin(), paths.end());
    for (const auto& path : paths) texts.push_back(read_text(path));
    return texts;
  };
  const auto count = [](const std::string& text, const std::string& what) {
    std::int64_t found = 0;
    for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; ++at) ++found;
    return found;
  };
  SECTION("with their metrics and pictures") {
    options.tensorboard = true;
    options.grid_every = 4;
    StopFlag stop;
    Scripted first;
    first.stop = &stop;
    first.stop_at = 1;
    CHECK_THROWS_AS(drive(first, options, stop), Interrupted);
    options.tensorboard = false;
    options.resume = true;
    Scripted second;
    drive(second, options);
    const auto files = event_files();
    REQUIRE(files.size() == 2);
    CHECK(count(files[0], "\x04loss") == 2);
    CHECK(count(files[1], "\x04loss") == 4);
    CHECK(count(files[1], "\x03sum") == 4);
    CHECK(count(files[0], "\x89PNG") == 0);
    CHECK(count(files[1], "\x89PNG") == 2);  // after 4 iterations, and of the finished set
  }
  SECTION("and no other run has any") {
    Scripted method;
    drive(method, options);
    CHECK(event_files().empty());
    CHECK_FALSE(std::filesystem::exists(folder.run.session()));
  }
}

TEST_CASE("how long a run is predicted to take is said before it starts", "[methods][driver]") {
  const Folder folder;
  StopFlag stop;
  Scripted method;
  method.stop = &stop;
  method.stop_while_initializing = true;  // whatever is heard was said before
  const RunContext context{.dataset = shapes(), .ipc = 1, .rng = Rng(1)};
  DriverOptions options = folder.options();
  Heard heard;

  SECTION("with its parts and the time budget") {
    method.setup_flops = 1e17;
    method.iteration_flops = 1e18;
    options.time_budget_seconds = 1e9;
    CHECK_THROWS_AS(drive(method, options, stop), Interrupted);
    const Prediction prediction = predict(method, context);
    CHECK(prediction.total_seconds == Approx(61 * prediction.setup_seconds));
    REQUIRE(heard.messages.size() == 1);
    CHECK(heard.messages.front() ==
          "predicted: " + duration_text(prediction.total_seconds) + " for 6 iterations (" +
              duration_text(prediction.setup_seconds) + " of preparation, then " +
              duration_text(prediction.iteration_seconds) + " each), cut at " + duration_text(1e9));
    CHECK(read_text(folder.run.log()).find(heard.messages.front()) != std::string::npos);
  }
  SECTION("unless it is over at once") {
    CHECK_THROWS_AS(drive(method, options, stop), Interrupted);
    CHECK(heard.messages.empty());
  }
}

TEST_CASE("a run leaves pictures of its way, about ten unless it is told how often",
          "[methods][driver]") {
  const Folder folder;
  Scripted method;
  DriverOptions options = folder.options();
  SECTION("as often as asked, and none that grid.png repeats") {
    options.grid_every = 2;
    drive(method, options);
    CHECK(pictures(folder.run) == std::vector<std::string>{"grid-000002.png", "grid-000004.png"});
    const Folder shorter;
    Scripted two;
    two.count = 2;
    drive(two, shorter.options());
    CHECK(read_text(folder.run.grid(2)) == read_text(shorter.run.grid()));
    CHECK(read_text(folder.run.grid(4)) != read_text(shorter.run.grid()));
  }
  SECTION("about every tenth of the iterations") {
    const std::vector<std::pair<std::int64_t, std::size_t>> numbers{
        {9, 0}, {10, 9}, {25, 8}, {100, 9}};
    for (const auto& [iterations, expected] : numbers) {
      INFO(iterations);
      const Folder own;
      method.count = iterations;
      drive(method, own.options());
      CHECK(pictures(own.run).size() == expected);
      CHECK(std::filesystem::exists(own.run.grid()));
      CHECK(std::filesystem::exists(own.run.grid(3)) == (iterations == 10 || iterations == 25));
    }
  }
  SECTION("of ten images of a class, however many there are") {
    options.grid_every = 3;
    method.per_class = 12;
    drive(method, options);
    const auto width = [](const std::filesystem::path& path) {
      return vision::read_image(path).size(2);
    };
    constexpr std::int64_t kColumn = 64 + 4;  // an enlarged image and the gap before the next
    CHECK(width(folder.run.grid()) - width(folder.run.grid(3)) == 2 * kColumn);
  }
}

TEST_CASE("a run that the data does not allow leaves no folder behind", "[methods][driver]") {
  const Folder folder;
  Scripted method;
  method.refuse_data = true;
  CHECK_THROWS_WITH_TEXT(drive(method, folder.options()), ConfigError, "too small");
  CHECK(std::filesystem::is_empty(folder.root));
}

TEST_CASE("an error after an iteration leaves the folder and clears the progress",
          "[methods][driver]") {
  const Folder folder;
  Scripted method;
  Finishes progress;
  SECTION("of the options") {
    method.on_update = [](std::int64_t iteration) {
      if (iteration == 2) throw ConfigError("found out late");
    };
    CHECK_THROWS_WITH_TEXT(drive(method, folder.options(), progress), ConfigError, "late");
  }
  SECTION("of the numbers") {
    method.on_update = [](std::int64_t iteration) {
      if (iteration == 2) throw NumericalError("lost its meaning");
    };
    CHECK_THROWS_WITH_TEXT(drive(method, folder.options(), progress), NumericalError, "lost");
  }
  SECTION("of anything else") {
    method.on_update = [](std::int64_t iteration) { TORCH_CHECK(iteration != 2, "in a library"); };
    CHECK_THROWS_AS(drive(method, folder.options(), progress), c10::Error);
  }
  CHECK(progress.finished);
  CHECK(rows(folder.run.metrics()) == 2);
}

TEST_CASE("a check names its spread and its seeds", "[methods][driver]") {
  const Folder folder;
  Scripted method;
  DriverOptions options = folder.checking();
  options.eval_protocol.networks = 2;
  drive(method, options);
  CHECK(rows(folder.run.evaluations()) == 2);
  CHECK(read_text(folder.run.evaluations()).find(",2,0 1\n") != std::string::npos);
  const std::string log = read_text(folder.run.log());
  CHECK(log.find("after 3 iterations: ") != std::string::npos);
  CHECK(log.find(" ± ") != std::string::npos);
  CHECK(log.find("(protocol short, seeds 0, 1)") != std::string::npos);
}

TEST_CASE("checks that cannot be made are refused before the method starts", "[methods][driver]") {
  const Folder folder;
  Scripted method;
  method.refuse_data = true;  // heard of only if the method was asked first
  DriverOptions options = folder.checking();
  options.eval_protocol.net = "ConvNet-9";  // too deep for the images
  CHECK_THROWS_WITH_TEXT(drive(method, options), ConfigError, "protocol short: ");
  CHECK(std::filesystem::is_empty(folder.root));
}

TEST_CASE("a check that diverges is a warning and a row without a result", "[methods][driver]") {
  const Folder folder;
  Scripted method;
  DriverOptions options = folder.checking();
  options.eval_protocol.lr = 1e38;
  const Quiet quiet;
  CHECK(drive(method, options).iterations == 6);
  const std::string table = read_text(folder.run.evaluations());
  CHECK(table.find("\n3,short,held-out training images,,,1,0\n") != std::string::npos);
  CHECK(table.find("\n6,short,held-out training images,,,1,0\n") != std::string::npos);
  CHECK(read_text(folder.run.log()).find("warning: the check after 3 iterations has no result: ") !=
        std::string::npos);
}

TEST_CASE("choosing real images and training networks for the method heed a stop",
          "[methods][driver]") {
  StopFlag stop;
  RunContext run{.dataset = shapes(), .ipc = 1, .rng = Rng(1), .stop = &stop};
  const auto coreset = small_method("k-means", "1", {{"feature-epochs", "1"}});
  coreset->initialize(run);
  const auto trained = small_method("dm", "3", {{"networks", "trained"}, {"net-period", "2"}});
  trained->initialize(run);
  const auto pool = small_method("dm", "3", {{"networks", "pool"}, {"pool-size", "2"}});
  pool->initialize(run);
  trained->update(0);
  stop.request();
  CHECK_THROWS_WITH_TEXT(coreset->update(0), Interrupted, "training was interrupted");
  CHECK_THROWS_WITH_TEXT(trained->update(1), Interrupted, "networks on real data was interrupted");
  CHECK_THROWS_WITH_TEXT(pool->update(0), Interrupted, "networks on real data was interrupted");
  const auto chosen = small_method("dm", "3", {{"init", "random"}});
  CHECK_THROWS_WITH_TEXT(chosen->initialize(run), Interrupted, "choosing real images");
}

TEST_CASE("choosing by features costs a coreset and a method that begins with it the same",
          "[methods][prediction]") {
  const RunContext run{.dataset = shapes(), .ipc = 1, .rng = Rng(1)};
  const auto setup = [&](const std::string& name,
                         const std::vector<std::pair<std::string, std::string>>& more) {
    return small_method(name, "1", more)->work(run).setup.fused;
  };
  const auto network = nn::make_network("ConvNet-2-w8", shapes().shape(), shapes().num_classes());
  const double pass = 2.0 * double(network->macs()) * double(shapes().size(data::Split::Train));
  CHECK(setup("herding", {{"feature-epochs", "2"}}) == Approx(7 * pass));
  CHECK(setup("dm", {{"feature-epochs", "2"}, {"init", "herding"}}) == Approx(7 * pass));
  CHECK(setup("dm", {{"init", "k-means"}, {"features", "pixels"}}) == 0);
  CHECK(setup("dm", {{"init", "random"}}) == 0);
}
