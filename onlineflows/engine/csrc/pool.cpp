#include "pool.hpp"

#include <chrono>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#define ENGINE_PROCESS() long(getpid())
#else
#define ENGINE_PROCESS() 0L
#endif

namespace onlineflows {

namespace {

constexpr auto kWatch = std::chrono::microseconds(50);

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits for a condition for at most kWatch; returns whether it came true.
template <class Condition>
bool watch(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + kWatch;
  do {
    for (int i = 0; i < 32; ++i) {
      if (condition()) return true;
      relax();
    }
    std::this_thread::yield();  // another thread, perhaps the caller, may need this core
  } while (std::chrono::steady_clock::now() < end);
  return condition();
}

}  // namespace

Pool& Pool::instance() {
  static std::mutex guard;
  static Pool* pool = nullptr;
  static long process = -1;
  const std::lock_guard<std::mutex> lock(guard);
  if (pool == nullptr || process != ENGINE_PROCESS()) {
    // After a fork the old pool can't be destroyed (its threads can't be joined): it is left.
    // Nor is the last one destroyed at exit, when other threads may still use it.
    pool = new Pool();
    process = ENGINE_PROCESS();
  }
  return *pool;
}

Pool::~Pool() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
    ++job_;
  }
  job_opened_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void Pool::run(int n_workers, const std::function<void(int)>& work) {
  const std::unique_lock<std::mutex> user(user_, std::try_to_lock);
  if (n_workers <= 1 || !user.owns_lock()) return work(0);
  open(n_workers, work);
  work(0);
  close();
}

void Pool::open(int n_workers, const std::function<void(int)>& work) {
  grow(n_workers - 1);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    work_ = &work;
    n_workers_ = n_workers;
    ++job_;
  }
  job_opened_.notify_all();
}

void Pool::close() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    work_ = nullptr;
  }
  if (watch([this] { return n_inside_.load(std::memory_order_acquire) == 0; })) return;
  std::unique_lock<std::mutex> lock(mutex_);
  all_left_.wait(lock, [this] { return n_inside_.load() == 0; });
}

void Pool::grow(int n_helpers) {
  while (int(helpers_.size()) < n_helpers) {
    const int index = int(helpers_.size()) + 1;
    helpers_.emplace_back([this, index] { helper(index); });
  }
}

const std::function<void(int)>* Pool::join_job(int index, std::uint64_t& seen) {
  watch([&] { return job_.load(std::memory_order_relaxed) != seen; });
  std::unique_lock<std::mutex> lock(mutex_);
  job_opened_.wait(lock, [&] { return job_.load() != seen; });
  seen = job_.load();
  if (ending_ || work_ == nullptr || index >= n_workers_) return nullptr;
  ++n_inside_;
  return work_;
}

void Pool::leave_job() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (--n_inside_ == 0) all_left_.notify_one();
}

void Pool::helper(int index) {
  std::uint64_t seen = 0;
  while (!ending_) {
    const auto* work = join_job(index, seen);
    if (work == nullptr) continue;
    (*work)(index);
    leave_job();
  }
}

}  // namespace onlineflows
