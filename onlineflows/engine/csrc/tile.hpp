// One tile of events through all blocks, forward and backward, without leaving the core's cache.
#pragma once

#include "affine.hpp"
#include "network.hpp"
#include "spline.hpp"

namespace onlineflows::ENGINE_ISA {

template <class T>
ENGINE_INLINE void copy_row(const T* from, T* to) {
  ENGINE_UNROLL
  for (int event = 0; event < kTile; event += kLanes<T>) store(to + event, load(from + event));
}

template <class T>
ENGINE_INLINE void fill_row(T value, T* to) {
  ENGINE_UNROLL
  for (int event = 0; event < kTile; event += kLanes<T>) store(to + event, broadcast(value));
}

// Rows of variables from the caller's (n, n_columns); events beyond the last are zero.
template <class T>
void read_columns(const T* from, int n_columns, int n, T* rows) {
  for (int column = 0; column < n_columns; ++column) {
    T* row = rows + long(column) * kTile;
    for (int event = 0; event < n; ++event) row[event] = from[long(event) * n_columns + column];
    for (int event = n; event < kTile; ++event) row[event] = T(0);
  }
}

template <class T>
void write_columns(const T* rows, int n_columns, int n, T* to) {
  for (int column = 0; column < n_columns; ++column) {
    const T* row = rows + long(column) * kTile;
    for (int event = 0; event < n; ++event) to[long(event) * n_columns + column] = row[event];
  }
}

// Calls `use` with the transform of the plan, specialised for common numbers of bins.
template <class A, class Use>
ENGINE_INLINE void with_transform(const Plan& plan, Use use) {
  using T = typename A::Real;
  if (plan.transform == Transform::affine) return use(Affine<T>());
  if (plan.bins == 8) return use(Spline<T, 8, A::kAccuracy>());
  if (plan.bins == 16) return use(Spline<T, 16, A::kAccuracy>());
  use(Spline<T, 0, A::kAccuracy>());
}

template <class A>
class Tile {
 public:
  using T = typename A::Real;

  Tile(const Plan& plan, Packed<T> packed, const Workspace<T>& workspace)
      : plan_(plan), packed_(packed), workspace_(workspace) {}

  void read(const Events<T>& events) const {
    T* context = workspace_.x + long(plan_.n_features) * kTile;
    read_columns(events.x, plan_.n_features, events.n, workspace_.x);
    if (plan_.n_context > 0) read_columns(events.context, plan_.n_context, events.n, context);
    for (int event = 0; event < kTile; ++event) {
      const T weight =
          events.weight == nullptr ? T(1) : events.weight[event < events.n ? event : 0];
      workspace_.weight[event] = event < events.n ? weight : T(0);
    }
  }

  template <bool kSave>
  void forward() const {
    for (int i = 0; i < plan_.n_features; ++i) fill_row(T(0), workspace_.log_det + i * kTile);
    for (int i = 0; i < plan_.blocks.size; ++i) forward_block<kSave>(i);
  }

  // NLL of the events and the gradient of its weighted sum with respect to z.
  void nll(T* nll, int n) const {
    constexpr T kHalfLogTwoPi = T(0.91893853320467274178);
    alignas(64) T row[kTile];
    for (int event = 0; event < kTile; event += kLanes<T>) {
      Vector<T> sum = broadcast(kHalfLogTwoPi * plan_.n_features);
      const Vector<T> weight = load(workspace_.weight + event);
      for (int i = 0; i < plan_.n_features; ++i) {
        const Vector<T> z = load(workspace_.x + i * kTile + event);
        sum = fma(z * broadcast(T(0.5)), z, sum) - load(workspace_.log_det + i * kTile + event);
        store(workspace_.slope + i * kTile + event, z * weight);
      }
      store(row + event, sum);
    }
    for (int event = 0; event < n; ++event) nll[event] = row[event];
  }

  void backward(T* sums) const {
    for (int i = plan_.blocks.size - 1; i >= 0; --i) backward_block(i, sums);
  }

  void inverse() const {
    for (int i = plan_.blocks.size - 1; i >= 0; --i) inverse_block(i);
  }

 private:
  Network<A> network(int block) const {
    return Network<A>(plan_.blocks[block], packed_, workspace_.blocks[block], workspace_);
  }

  void gather(int block) const {
    const BlockPlan& plan = plan_.blocks[block];
    for (int i = 0; i < plan.n_inputs; ++i) {
      copy_row(workspace_.x + long(plan.inputs[i]) * kTile,
               workspace_.blocks[block].inputs + i * kTile);
    }
  }

  template <bool kSave>
  void forward_block(int block) const {
    const BlockPlan& plan = plan_.blocks[block];
    const auto& memory = workspace_.blocks[block];
    const Network<A> net = network(block);
    gather(block);
    net.forward_hidden(plan.layer_1.forward, plan.layer_2.forward);
    for (int i = 0; i < plan.n_targets; ++i) {
      net.forward_outputs(plan.outputs[i]);
      T* rows = memory.outputs + long(i) * plan.target_rows * kTile;
      T* saved = memory.saved + long(i) * kSaved * kTile;
      const long feature = long(plan.targets[i]) * kTile;
      with_transform<A>(plan_, [&](auto transform) {
        transform.template forward<kSave>(plan_, rows, saved, workspace_.x + feature,
                                          workspace_.log_det + feature);
      });
    }
  }

  void backward_block(int block, T* sums) const {
    const BlockPlan& plan = plan_.blocks[block];
    const auto& memory = workspace_.blocks[block];
    const Network<A> net = network(block);
    for (int i = 0; i < plan.n_targets; ++i) {
      const T* rows = memory.outputs + long(i) * plan.target_rows * kTile;
      T* saved = memory.saved + long(i) * kSaved * kTile;
      T* slope = workspace_.slope + long(plan.targets[i]) * kTile;
      T* d_rows = net.d_rows(i);
      with_transform<A>(plan_, [&](auto transform) {
        transform.backward(plan_, rows, saved, workspace_.weight, slope, d_rows);
      });
      net.take_d_rows(i, sums);
    }
    net.backward(sums);
    if (block == 0) return;
    net.backward_inputs();
    for (int i = 0; i < plan.n_inputs; ++i) {
      if (plan.inputs[i] < plan_.n_features) add_row(i, plan.inputs[i]);
    }
  }

  void add_row(int input, int feature) const {
    const T* from = workspace_.d_inputs + long(input) * kTile;
    T* to = workspace_.slope + long(feature) * kTile;
    for (int event = 0; event < kTile; event += kLanes<T>) {
      store(to + event, load(to + event) + load(from + event));
    }
  }

  // Target by target: each hidden unit is computed once, as soon as its prefix is known.
  void inverse_block(int block) const {
    const BlockPlan& plan = plan_.blocks[block];
    const Network<A> net = network(block);
    for (int i = 0; i < plan.n_targets; ++i) {
      const InverseStep& step = plan.inverse[i];
      gather(block);
      net.forward_hidden(step.layer_1, step.layer_2);
      net.forward_outputs(step.layer_out);
      T* rows = workspace_.blocks[block].outputs + long(i) * plan.target_rows * kTile;
      T* x = workspace_.x + long(plan.targets[i]) * kTile;
      T* saved = workspace_.blocks[block].saved + long(i) * kSaved * kTile;
      with_transform<A>(plan_, [&](auto transform) { transform.inverse(plan_, rows, saved, x); });
    }
  }

  const Plan& plan_;
  Packed<T> packed_;
  const Workspace<T>& workspace_;
};

}  // namespace onlineflows::ENGINE_ISA
