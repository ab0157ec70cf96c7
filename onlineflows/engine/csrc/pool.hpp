// A pool of threads that helps where it can and is never waited for without need.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace onlineflows {

// The caller works, too: it opens a job, works on it, and closes it when nothing is left to take.
// A helper that wakes up late (because another process has its core) finds the job closed and
// goes back to sleep, so that a busy machine costs help, not time.
//
// Between jobs a helper watches for the next one for kWatch before it sleeps: waking a sleeping
// thread costs tens of microseconds, a tenth of a training step.
class Pool {
 public:
  // The process' pool. After a fork the child gets a new one: its parent's threads don't exist
  // there.
  static Pool& instance();

  // Calls work(0) here and work(1) … work(n_workers - 1) on as many helpers as wake up in time.
  // If another thread is using the pool, only work(0) is called. `work` must be able to finish
  // the whole job from any one of its calls, and must not throw.
  void run(int n_workers, const std::function<void(int)>& work);

  ~Pool();

 private:
  Pool() = default;
  void helper(int index);
  // Waits for a job newer than `seen`; null if it is closed already or isn't for this helper.
  const std::function<void(int)>* join_job(int index, std::uint64_t& seen);
  void leave_job();
  void grow(int n_helpers);
  void open(int n_workers, const std::function<void(int)>& work);
  void close();

  std::mutex user_;  // held by the thread that runs a job
  std::mutex mutex_;
  std::condition_variable job_opened_;
  std::condition_variable all_left_;
  std::atomic<std::uint64_t> job_{0};               // number of the latest job
  std::atomic<int> n_inside_{0};                    // helpers working on it
  const std::function<void(int)>* work_ = nullptr;  // null when closed
  int n_workers_ = 0;
  std::atomic<bool> ending_{false};
  std::vector<std::thread> helpers_;
};

}  // namespace onlineflows
