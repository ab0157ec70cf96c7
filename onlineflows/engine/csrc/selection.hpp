// The events of a batch that weigh something, gathered side by side.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace onlineflows {

// A batch as the caller has it, row-major.
template <class T>
struct BatchView {
  const T* x;        // (n, features); for the inverse z
  const T* context;  // (n, context) or null
  const T* weight;   // (n,) or null
  std::int64_t n;
};

// Of Poisson(1) weights 37 % are zero. Leaving those events out costs a copy of the others, and
// what a flow does with an event costs a thousand times more.
template <class T>
class Selection {
 public:
  // Returns the events with a weight other than zero, in their order: the batch itself if all have
  // one, or copies that last until the next call.
  BatchView<T> take(const BatchView<T>& batch, int n_features, int n_context) {
    rows_.clear();
    if (batch.weight == nullptr) return batch;
    const std::int64_t n_zero = std::count(batch.weight, batch.weight + batch.n, T(0));
    if (n_zero == 0) return batch;
    rows_.reserve(std::size_t(batch.n));
    for (std::int64_t i = 0; i < batch.n; ++i) {
      if (batch.weight[i] != T(0)) rows_.push_back(i);
    }
    gather(batch.x, n_features, x_);
    gather(batch.weight, 1, weight_);
    if (n_context > 0) gather(batch.context, n_context, context_);
    nll_.resize(rows_.size());
    return {x_.data(), n_context > 0 ? context_.data() : nullptr, weight_.data(),
            std::int64_t(rows_.size())};
  }

  // Room for the NLL of the events taken.
  T* nll() { return nll_.data(); }

  // Writes the NLL of the events taken to their places in the batch, and 0 to all others.
  void put_back(T* nll, std::int64_t n) const {
    std::fill(nll, nll + n, T(0));
    for (std::size_t i = 0; i < rows_.size(); ++i) nll[rows_[i]] = nll_[i];
  }

 private:
  void gather(const T* from, std::int64_t n_columns, std::vector<T>& to) const {
    to.resize(rows_.size() * std::size_t(n_columns));
    T* at = to.data();
    for (const std::int64_t row : rows_) at = std::copy_n(from + row * n_columns, n_columns, at);
  }

  std::vector<std::int64_t> rows_;
  std::vector<T> x_, context_, weight_, nll_;
};

}  // namespace onlineflows
