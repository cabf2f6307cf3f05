#include "tests/bench/peak_memory.h"

#include <cstdio>
#include <exception>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/core/error.h"

namespace retort::bench {
namespace {

constexpr double kFailed = -1;

using Work = std::function<void(const MemoryRequest&)>;

/// Requests and replies are smaller than PIPE_BUF, so one call moves all of it or nothing.
template <class T>
bool receive(int pipe, T& value) {
  return read(pipe, &value, sizeof value) == ssize_t(sizeof value);
}

template <class T>
bool send(int pipe, const T& value) {
  return write(pipe, &value, sizeof value) == ssize_t(sizeof value);
}

[[noreturn]] void work_and_leave(const Work& work, const MemoryRequest& request) {
  try {
    work(request);
    _exit(0);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "retort_bench, measuring memory: %s\n", error.what());
    _exit(1);
  }
}

double peak_of_child(const Work& work, const MemoryRequest& request) {
  const pid_t child = fork();
  if (child < 0) return kFailed;
  if (child == 0) work_and_leave(work, request);
  int status = 0;
  rusage usage{};
  if (wait4(child, &status, 0, &usage) != child || status != 0) return kFailed;
  return double(usage.ru_maxrss) * 1024;
}

[[noreturn]] void serve(const Work& work, int requests, int replies) {
  MemoryRequest request;
  while (receive(requests, request)) {
    if (!send(replies, peak_of_child(work, request))) break;
  }
  _exit(0);
}

}  // namespace

PeakMemory::PeakMemory(const Work& work) {
  int request_ends[2];
  int reply_ends[2];
  if (pipe(request_ends) != 0) throw Error("measuring memory: no pipe to be had");
  if (pipe(reply_ends) != 0) throw Error("measuring memory: no second pipe to be had");
  server_ = fork();
  if (server_ < 0) throw Error("measuring memory: no process to be had");
  if (server_ == 0) {
    close(request_ends[1]);
    close(reply_ends[0]);
    serve(work, request_ends[0], reply_ends[1]);
  }
  close(request_ends[0]);
  close(reply_ends[1]);
  requests_ = request_ends[1];
  replies_ = reply_ends[0];
}

PeakMemory::~PeakMemory() {
  close(requests_);  // which the server takes as the end
  close(replies_);
  waitpid(server_, nullptr, 0);
}

double PeakMemory::of(const MemoryRequest& request) {
  double bytes = kFailed;
  if (!send(requests_, request) || !receive(replies_, bytes) || bytes == kFailed) {
    throw Error("measuring memory: the process that did the work failed");
  }
  return bytes;
}

}  // namespace retort::bench
