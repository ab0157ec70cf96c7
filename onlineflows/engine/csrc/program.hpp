// A flow compiled for one precision: its plan, its storage, and the three things it can do.
#pragma once

#include <memory>
#include <vector>

#include "buffer.hpp"
#include "kernels.hpp"
#include "selection.hpp"

namespace onlineflows {

struct RunOptions {
  int threads;
  bool deterministic;
};

template <class T>
class Program {
 public:
  Program(const FlowDescription& flow, const Kernels<T>& kernels);

  const Plan& plan() const { return plan_; }

  // NLL of each event and the gradient of sum(w nll) / n. Events that weigh nothing are left out:
  // their NLL is 0.
  void gradient(const T* theta, const BatchView<T>& batch, T* nll, T* gradient,
                const RunOptions& options);
  void forward(const T* theta, const BatchView<T>& batch, T* z, T* log_abs_det,
               const RunOptions& options);
  void inverse(const T* theta, const BatchView<T>& batch, T* x, const RunOptions& options);

 private:
  // Memory of one worker.
  struct Worker {
    Buffer<T> memory;
    std::vector<typename Workspace<T>::Block> blocks;
    Workspace<T> workspace;
  };

  // Calls use(tile, worker) for every tile, on several threads, with θ packed before.
  template <class Use>
  void for_tiles(const T* theta, std::int64_t n, int threads, Use use);
  // As for_tiles, over groups of tiles: use(group, worker).
  template <class Use>
  void for_groups(const T* theta, std::int64_t n_groups, int threads, Use use);
  // As `gradient`, of all events of a batch, with sum(w nll) / n_mean.
  void gradient_of_all(const T* theta, const BatchView<T>& batch, std::int64_t n_mean, T* nll,
                       T* gradient, const RunOptions& options);
  // Adds up partial gradients; helpers are still awake from the tiles.
  void reduce(const std::vector<const T*>& parts, T scale, T* gradient, int threads);
  void make_workers(int n);
  void make_sums(int n);
  void make_worker(Worker& worker) const;
  Events<T> tile(const BatchView<T>& batch, std::int64_t index) const;
  int n_workers(std::int64_t n_tasks, int threads) const;

  Plan plan_;
  Kernels<T> kernels_;
  Buffer<T> numbers_;
  Buffer<std::uint32_t> pairs_;
  Packed<T> packed_;
  Selection<T> selection_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<Buffer<T>> sums_;
};

}  // namespace onlineflows
