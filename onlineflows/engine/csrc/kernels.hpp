// The kernels of one instruction set, as a table of functions over plain pointers.
#pragma once

#include <cstdint>

#include "config.hpp"
#include "plan.hpp"

namespace onlineflows {

// θ in the layout of the plan.
template <class T>
struct Packed {
  T* numbers;
  std::uint32_t* pairs;  // null unless the plan is paired
};

// Up to kTile events, row by row as the caller has them.
template <class T>
struct Events {
  const T* x;        // (n, features); for the inverse z
  const T* context;  // (n, context) or null
  const T* weight;   // (n,) or null for ones
  int n;
};

// Memory of one worker; "rows" are kTile numbers, one for each event.
template <class T>
struct Workspace {
  struct Block {
    T* inputs;    // rows of the network's inputs, in the order of the prefixes
    T* hidden_1;  // activations of the hidden layers
    T* hidden_2;
    T* outputs;  // parameters of the transforms; after them what the backward pass needs
    T* saved;    // more of the latter: kSaved rows for each target
  };
  T* x;        // rows of the variables, features first
  T* log_det;  // rows of log |dz/dx|, feature by feature
  T* slope;    // rows of d(sum w nll)/d(current x)
  T* weight;   // one row
  Block* blocks;
  T* passing_1;  // second forms of a block's activations, and of gradients (arithmetic.hpp)
  T* passing_2;
  T* passing_out;
  T* transposed;  // activations with events first
  T* d_outputs;   // gradients with respect to …
  T* d_rows;      // … one target's parameters
  T* d_hidden_2;
  T* d_hidden_1;
  T* d_inputs;
};

// Rows that a spline keeps for its backward pass, beside its parameters.
inline constexpr int kSaved = 11;

// Constants of one optimiser step (optimiser.hpp), in the order of engine.h.
struct OptimiserStep {
  double learning_rate;  // of this step, warm-up included
  double beta_1;
  double beta_2;
  double correction_1;  // 1 - beta_1^t
  double correction_2;  // 1 - beta_2^t
  double epsilon;
  double weight_decay;
  double average_weight;  // c_{t+1} of the schedule-free average
};

template <class T>
struct Kernels {
  Cut cut;
  void (*pack)(const Plan&, const BlockPlan&, const T* theta, Packed<T>);
  // Adds a tile's gradient of sum(w nll) to `sums` and writes the NLL of its events.
  void (*gradient)(const Plan&, Packed<T>, const Events<T>&, const Workspace<T>&, T* nll, T* sums);
  // Writes z and log_abs_det, both (n, features).
  void (*forward)(const Plan&, Packed<T>, const Events<T>&, const Workspace<T>&, T* z,
                  T* log_abs_det);
  void (*inverse)(const Plan&, Packed<T>, const Events<T>&, const Workspace<T>&, T* x);
  // Adds up a block's sums, in their order, and writes `scale` times them to the gradient.
  void (*reduce)(const BlockPlan&, const T* const* sums, int n_sums, T scale, T* gradient);
  void (*schedule_free)(std::int64_t n, const OptimiserStep&, const T* gradient, T* y, T* z, T* v);
  void (*adam)(std::int64_t n, const OptimiserStep&, const T* gradient, T* theta, T* m, T* v);
};

}  // namespace onlineflows
