#include "lib/core/parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

namespace retort {
namespace {

thread_local bool inside_task = false;

struct Job {
  std::int64_t tasks = 0;
  const std::function<void(std::int64_t)>* body = nullptr;
  bool grad_mode = false;
  std::atomic<std::int64_t> next{0};
  std::vector<std::exception_ptr> errors;

  void work() {
    const bool saved_grad = c10::GradMode::is_enabled();
    c10::GradMode::set_enabled(grad_mode);
    inside_task = true;
    for (std::int64_t task = next++; task < tasks; task = next++) {
      try {
        (*body)(task);
      } catch (...) {
        errors[std::size_t(task)] = std::current_exception();
      }
    }
    inside_task = false;
    c10::GradMode::set_enabled(saved_grad);
  }
};

// Workers live as long as the program: starting a thread that uses LibTorch's kernels anew would
// cost its thread-local scratch memory each time.
class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 0; i < threads; ++i) {
      workers_.emplace_back([this](const std::stop_token& stop) { serve(stop); });
    }
  }
  ~Pool() {
    for (auto& worker : workers_) worker.request_stop();
    wake_.notify_all();
  }

  void run(Job& job) {
    {
      const std::lock_guard lock(mutex_);
      job_ = &job;
      ++generation_;
      running_ = int(workers_.size());
    }
    wake_.notify_all();
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return running_ == 0; });
    job_ = nullptr;
  }

  std::size_t size() const { return workers_.size(); }

 private:
  void serve(const std::stop_token& stop) {
    at::set_num_threads(1);
    std::uint64_t seen = 0;
    while (true) {
      Job* job = nullptr;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, stop, [&] { return generation_ != seen; });
        if (stop.stop_requested()) return;
        seen = generation_;
        job = job_;
      }
      job->work();
      {
        const std::lock_guard lock(mutex_);
        --running_;
      }
      done_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::condition_variable_any done_;
  Job* job_ = nullptr;
  std::uint64_t generation_ = 0;
  int running_ = 0;
  std::vector<std::jthread> workers_;  // last: joined before the rest is destroyed
};

// 0: not known yet.
std::atomic<int>& configured_threads() {
  static std::atomic<int> threads{0};
  return threads;
}

std::mutex& pool_mutex() {
  static std::mutex mutex;
  return mutex;
}

}  // namespace

void set_thread_count(int threads) {
  const int all = std::max(1, int(std::thread::hardware_concurrency()));
  const int chosen = threads > 0 ? threads : all;
  configured_threads() = chosen;
  at::set_num_threads(chosen);
}

int thread_count() {
  int known = configured_threads();
  // Two first calls at once: one of them wins, and both return what it found.
  if (known == 0) {
    const int found = at::get_num_threads();
    if (configured_threads().compare_exchange_strong(known, found)) known = found;
  }
  return known;
}

void parallel_tasks(std::int64_t tasks, const std::function<void(std::int64_t)>& body) {
  const int threads = thread_count();
  if (tasks <= 0) return;
  if (inside_task) {
    for (std::int64_t task = 0; task < tasks; ++task) body(task);
    return;
  }
  Job job;
  job.tasks = tasks;
  job.body = &body;
  job.grad_mode = c10::GradMode::is_enabled();
  job.errors.resize(std::size_t(tasks));
  {
    // One worker even for one thread: tasks then always see the same single-threaded LibTorch.
    const std::lock_guard lock(pool_mutex());
    static std::unique_ptr<Pool> pool;
    if (!pool || pool->size() != std::size_t(threads)) pool = std::make_unique<Pool>(threads);
    pool->run(job);
  }
  for (const auto& error : job.errors) {
    if (error) std::rethrow_exception(error);
  }
}

SingleThreaded::SingleThreaded() : saved_(at::get_num_threads()) {
  thread_count();  // its first call fixes it, and from here on LibTorch says 1
  if (saved_ != 1) at::set_num_threads(1);
}

SingleThreaded::~SingleThreaded() {
  if (saved_ != 1) at::set_num_threads(saved_);
}

}  // namespace retort
