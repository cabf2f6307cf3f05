#include "tests/apps/program.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <thread>

#include "apps/program.h"
#include "lib/core/error.h"
#include "lib/core/files.h"
#include "lib/core/log.h"
#include "lib/core/parallel.h"
#include "tests/support/catch.h"

namespace retort::testing {

Words joined(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

Workspace::Workspace() : folder_("retort-apps") {}

Process Workspace::start(const Words& words) const {
  return Process(joined({RETORT_PROGRAM}, words), folder_.path(),
                 {"XDG_CACHE_HOME=" + path("cache").string(), "RETORT_DATA="});
}

namespace {

/// Sends the program's outputs, its working folder and its cache elsewhere while it lives.
class Redirection {
 public:
  explicit Redirection(const std::filesystem::path& folder)
      : folder_before_(std::filesystem::current_path()),
        cout_before_(std::cout.rdbuf(out_.rdbuf())),
        err_(open_memstream(&err_text_, &err_size_)),
        terminal_(err_, false),
        sink_before_(log::set_sink([this](log::Level level, const std::string& message) {
          terminal_.log(level, message);
        })) {
    std::filesystem::current_path(folder);
    setenv("XDG_CACHE_HOME", (folder / "cache").c_str(), 1);
    unsetenv("RETORT_DATA");
  }
  ~Redirection() {
    log::set_sink(sink_before_);
    std::cout.rdbuf(cout_before_);
    std::filesystem::current_path(folder_before_);
    std::fclose(err_);
    std::free(err_text_);
    set_thread_count(1);
  }
  Redirection(const Redirection&) = delete;
  Redirection& operator=(const Redirection&) = delete;

  cli::Terminal& terminal() { return terminal_; }
  std::string out() const { return out_.str(); }
  std::string err() const {
    std::fflush(err_);
    return {err_text_, err_size_};
  }

 private:
  std::filesystem::path folder_before_;
  std::ostringstream out_;
  std::streambuf* cout_before_;
  char* err_text_ = nullptr;
  std::size_t err_size_ = 0;
  std::FILE* err_;
  cli::Terminal terminal_;
  log::Sink sink_before_;
};

}  // namespace

ProcessResult Workspace::succeed(const Words& words) const {
  ProcessResult result = retort(words);
  INFO(result.err);
  REQUIRE(result.exit_code == 0);
  return result;
}

ProcessResult Workspace::retort(const Words& words) const {
  Redirection redirection(folder_.path());
  const StopFlag stop;
  cli::Program program{redirection.terminal(), stop};
  ProcessResult result;
  result.exit_code = run_program(words, program);
  result.out = redirection.out();
  result.err = redirection.err();
  return result;
}

void wait_until(const std::function<bool()>& reached) {
  for (int wait = 0; wait < 60'000 && !reached(); ++wait) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

ProcessResult signal_when(Process& running, int number, const std::function<bool()>& reached) {
  wait_until(reached);
  running.signal(number);
  return running.wait();
}

const Workspace& condensed_shapes() {
  static const Workspace workspace;
  static const bool made = [] {
    const auto result =
        workspace.retort({"condense", "--method", "random", "--dataset", "shapes", "--ipc", "2",
                          "--threads", "1", "--run-dir", "run", "--out", "set.h5"});
    if (result.exit_code != 0) throw Error("condensing shapes failed: " + result.err);
    return true;
  }();
  (void)made;
  return workspace;
}

std::string tiny_protocol(const Workspace& workspace) {
  const auto file = workspace.path("tiny.cfg");
  write_text(file,
             "source = for tests\nepochs = 1\nschedule = steps\nnetworks = 2\n"
             "net = ConvNet-2-w8\n");
  return file.string();
}

}  // namespace retort::testing
