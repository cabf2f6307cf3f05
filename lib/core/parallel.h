#pragma once

#include <cstdint>
#include <functional>

namespace retort {

/// Sets the number of threads that the whole program uses, LibTorch's included (0: all cores).
/// Call once, before any tensor work.
void set_thread_count(int threads);
/// What was set; if nothing was, LibTorch's number at the first call, from then on. Inside a task
/// too, where LibTorch itself has one thread.
int thread_count();

/// Runs body(0) .. body(tasks-1), several at once, each on one thread that uses LibTorch
/// single-threaded. Which task runs on which thread never changes a result: tasks must not share
/// what they write. Gradient mode follows the caller. The first exception (by task number) is
/// rethrown after all tasks ended. Nested calls run serially on the calling thread.
void parallel_tasks(std::int64_t tasks, const std::function<void(std::int64_t task)>& body);

/// LibTorch's own operations on one thread while in scope: tasks then have the cores to themselves,
/// no thread spins between small operations, and reductions do not depend on the number of threads.
/// Tasks still run on all threads.
class SingleThreaded {
 public:
  SingleThreaded();
  ~SingleThreaded();
  SingleThreaded(const SingleThreaded&) = delete;
  SingleThreaded& operator=(const SingleThreaded&) = delete;

 private:
  int saved_;
};

}  // namespace retort
