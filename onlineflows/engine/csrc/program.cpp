#include "program.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

#include "pool.hpp"

namespace onlineflows {

namespace {

// So many partial gradients are added up, in a fixed order, when the same bits are asked for.
constexpr std::int64_t kFixedGroups = 8;

std::int64_t n_tiles(std::int64_t n) { return (n + kTile - 1) / kTile; }

}  // namespace

template <class T>
Program<T>::Program(const FlowDescription& flow, const Kernels<T>& kernels)
    : plan_(flow, kernels.cut),
      kernels_(kernels),
      numbers_(plan_.packed_size),
      pairs_(plan_.pairs_size),
      packed_{numbers_.get(), pairs_.get()} {}

template <class T>
int Program<T>::n_workers(std::int64_t n_tasks, int threads) const {
  return int(std::max<std::int64_t>(1, std::min<std::int64_t>(threads, n_tasks)));
}

template <class T>
void Program<T>::make_workers(int n) {
  while (int(workers_.size()) < n) {
    workers_.push_back(std::make_unique<Worker>());
    make_worker(*workers_.back());
  }
}

template <class T>
void Program<T>::make_sums(int n) {
  while (int(sums_.size()) < n) sums_.emplace_back(plan_.gradient_size);
}

template <class T>
void Program<T>::make_worker(Worker& worker) const {
  // First the sizes, then, with the memory there, the same walk once more for the addresses.
  std::int64_t used = 0;
  const auto rows = [&](std::int64_t n) {
    T* at = worker.memory.get() == nullptr ? nullptr : worker.memory.get() + used;
    used += round_up(int(n), kPadding) * kTile;
    return at;
  };
  const auto lay_out = [&] {
    used = 0;
    worker.blocks.clear();
    int inputs = 1;
    int hidden = 1;
    int outputs = 1;
    int leading = 1;
    for (const BlockPlan& block : plan_.blocks) {
      worker.blocks.push_back({rows(block.n_inputs), rows(block.hidden_1), rows(block.hidden_2),
                               rows(block.layer_out.n_rows), rows(kSaved * block.n_targets)});
      inputs = std::max(inputs, block.n_inputs);
      hidden = std::max({hidden, block.hidden_1, block.hidden_2});
      outputs = std::max(outputs, block.layer_out.n_rows);
      leading = std::max(
          {leading, block.layer_1.leading, block.layer_2.leading, block.layer_out.leading});
    }
    worker.workspace.x = rows(plan_.n_features + plan_.n_context);
    worker.workspace.log_det = rows(plan_.n_features);
    worker.workspace.slope = rows(plan_.n_features);
    worker.workspace.weight = rows(1);
    // Only bfloat16 has second forms.
    worker.workspace.passing_1 = rows(plan_.paired ? hidden : 0);
    worker.workspace.passing_2 = rows(plan_.paired ? hidden : 0);
    worker.workspace.passing_out = rows(plan_.paired ? outputs : 0);
    worker.workspace.transposed = rows(leading);
    worker.workspace.d_outputs = rows(outputs);
    worker.workspace.d_rows = rows(plan_.n_outputs + 1);
    worker.workspace.d_hidden_2 = rows(hidden);
    worker.workspace.d_hidden_1 = rows(hidden);
    worker.workspace.d_inputs = rows(inputs);
    worker.workspace.blocks = worker.blocks.data();
  };
  lay_out();
  worker.memory = Buffer<T>(used);
  lay_out();
}

template <class T>
Events<T> Program<T>::tile(const BatchView<T>& batch, std::int64_t index) const {
  const std::int64_t first = index * kTile;
  return {batch.x + first * plan_.n_features,
          batch.context == nullptr ? nullptr : batch.context + first * plan_.n_context,
          batch.weight == nullptr ? nullptr : batch.weight + first,
          int(std::min<std::int64_t>(kTile, batch.n - first))};
}

template <class T>
template <class Use>
void Program<T>::for_groups(const T* theta, std::int64_t n_groups, int threads, Use use) {
  const int workers = n_workers(n_groups, threads);
  make_workers(workers);
  std::atomic<int> next_block{0};
  std::atomic<int> n_packed{0};
  std::atomic<std::int64_t> next_group{0};
  const auto work = [&](int worker) {
    for (int block; (block = next_block.fetch_add(1)) < plan_.blocks.size;) {
      kernels_.pack(plan_, plan_.blocks[block], theta, packed_);
      n_packed.fetch_add(1, std::memory_order_release);
    }
    // Another worker is packing its last block: a matter of microseconds.
    while (n_packed.load(std::memory_order_acquire) < plan_.blocks.size) std::this_thread::yield();
    for (std::int64_t group; (group = next_group.fetch_add(1)) < n_groups;) use(group, worker);
  };
  Pool::instance().run(workers, work);
}

template <class T>
template <class Use>
void Program<T>::for_tiles(const T* theta, std::int64_t n, int threads, Use use) {
  for_groups(theta, n_tiles(n), threads, use);
}

template <class T>
void Program<T>::gradient(const T* theta, const BatchView<T>& batch, T* nll, T* gradient,
                          const RunOptions& options) {
  const BatchView<T> taken = selection_.take(batch, plan_.n_features, plan_.n_context);
  if (taken.n == batch.n) return gradient_of_all(theta, batch, batch.n, nll, gradient, options);
  gradient_of_all(theta, taken, batch.n, selection_.nll(), gradient, options);
  selection_.put_back(nll, batch.n);
}

template <class T>
void Program<T>::gradient_of_all(const T* theta, const BatchView<T>& batch, std::int64_t n_mean,
                                 T* nll, T* gradient, const RunOptions& options) {
  // A partial gradient belongs to a worker, or, for the same bits, to a fixed group of tiles.
  const std::int64_t tiles = n_tiles(batch.n);
  const std::int64_t groups = options.deterministic ? std::min(tiles, kFixedGroups) : tiles;
  const int n_sums = options.deterministic ? int(std::max<std::int64_t>(groups, 1))
                                           : n_workers(tiles, options.threads);
  make_sums(n_sums);
  // Fresh for each call: a worker that never woke up adds zeros.
  std::vector<char> used(n_sums, 0);
  for_groups(theta, groups, options.threads, [&](std::int64_t group, int worker) {
    const int at = options.deterministic ? int(group) : worker;
    T* sums = sums_[at].get();
    if (!used[at]) std::memset(sums, 0, std::size_t(plan_.gradient_size) * sizeof(T));
    used[at] = 1;
    for (std::int64_t i = tiles * group / groups; i < tiles * (group + 1) / groups; ++i) {
      kernels_.gradient(plan_, packed_, tile(batch, i), workers_[worker]->workspace,
                        nll + i * kTile, sums);
    }
  });
  std::vector<const T*> parts;
  for (int i = 0; i < n_sums; ++i) {
    if (used[i]) parts.push_back(sums_[i].get());
  }
  if (parts.empty()) {
    std::memset(gradient, 0, std::size_t(plan_.n_theta) * sizeof(T));
    return;
  }
  reduce(parts, T(1) / T(n_mean), gradient, options.threads);
}

template <class T>
void Program<T>::reduce(const std::vector<const T*>& parts, T scale, T* gradient, int threads) {
  std::atomic<int> next_block{0};
  Pool::instance().run(n_workers(plan_.blocks.size, threads), [&](int) {
    for (int block; (block = next_block.fetch_add(1)) < plan_.blocks.size;) {
      kernels_.reduce(plan_.blocks[block], parts.data(), int(parts.size()), scale, gradient);
    }
  });
}

template <class T>
void Program<T>::forward(const T* theta, const BatchView<T>& batch, T* z, T* log_abs_det,
                         const RunOptions& options) {
  for_tiles(theta, batch.n, options.threads, [&](std::int64_t i, int worker) {
    const std::int64_t at = i * kTile * plan_.n_features;
    kernels_.forward(plan_, packed_, tile(batch, i), workers_[worker]->workspace, z + at,
                     log_abs_det + at);
  });
}

template <class T>
void Program<T>::inverse(const T* theta, const BatchView<T>& batch, T* x,
                         const RunOptions& options) {
  for_tiles(theta, batch.n, options.threads, [&](std::int64_t i, int worker) {
    kernels_.inverse(plan_, packed_, tile(batch, i), workers_[worker]->workspace,
                     x + i * kTile * plan_.n_features);
  });
}

template class Program<float>;
template class Program<double>;

}  // namespace onlineflows
