#include "apps/cli/child_process.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "lib/core/error.h"
#include "lib/core/str.h"

namespace retort::cli {
namespace {

/// An open file of this process alone.
class OpenFile {
 public:
  OpenFile(const std::filesystem::path& path, int flags)
      : file_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
    if (file_ >= 0) return;
    throw StorageError(
        str("'", path.string(), "': cannot be opened for writing: ", std::strerror(errno)));
  }
  ~OpenFile() { ::close(file_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int number() const { return file_; }

 private:
  int file_;
};

constexpr int kAppend = O_WRONLY | O_CREAT | O_APPEND;

/// Between fork and exec: async-signal-safe calls only, as other threads may have held locks.
[[noreturn]] void become(char* const* words, const int (&streams)[3], int kept, pid_t parent) {
  ::setpgid(0, 0);  // Ctrl-C goes to the parent, which passes it on once
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(130);  // it died before that
  for (int i = 0; i < 3; ++i) ::dup2(streams[i], i);
  if (kept >= 0) ::fcntl(kept, F_SETFD, 0);
  ::execv("/proc/self/exe", words);
  ::_exit(127);
}

}  // namespace

std::string Ended::text() const {
  if (signal == 0) return str("exit code ", code);
  return str("signal ", signal, " (", ::strsignal(signal), ")");
}

ChildProcess::ChildProcess(const std::vector<std::string>& words, const Outputs& outputs,
                           int kept) {
  const OpenFile nothing("/dev/null", O_RDONLY);
  const OpenFile out(outputs.out, kAppend);
  const OpenFile err(outputs.err, kAppend);
  const int streams[3] = {nothing.number(), out.number(), err.number()};
  std::vector<std::string> texts{"retort"};
  texts.insert(texts.end(), words.begin(), words.end());
  std::vector<char*> pointers;
  for (auto& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) become(pointers.data(), streams, kept, parent);
  if (pid_ < 0) throw Error(str("no process can be started: ", std::strerror(errno)));
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}

ChildProcess::~ChildProcess() {
  if (pid_ < 0) return;
  interrupt();
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

std::optional<Ended> ChildProcess::poll() {
  int status = 0;
  if (pid_ < 0 || ::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  pid_ = -1;
  Ended ended;
  if (WIFEXITED(status)) ended.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) ended.signal = WTERMSIG(status);
  return ended;
}

void ChildProcess::interrupt() const {
  if (pid_ > 0) ::kill(pid_, SIGTERM);
}

}  // namespace retort::cli
