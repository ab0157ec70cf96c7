// Between θ, which holds live weights only, and the padded storage of the kernels.
#pragma once

#include "kernels.hpp"
#include "vector.hpp"

namespace onlineflows::ENGINE_ISA {

template <class T>
ENGINE_INLINE void copy_numbers(const T* from, int n, T* to) {
  int i = 0;
  for (; i + kLanes<T> <= n; i += kLanes<T>) store(to + i, load(from + i));
  if (i < n) store_first(to + i, n - i, load_first(from + i, n - i));
}

// Padding was zeroed with the storage and stays so.
template <class T>
void pack_layer(const LayerPlan& layer, const T* theta, Packed<T> packed) {
  for (const RowCopy& row : layer.rows) {
    copy_numbers(theta + row.theta, row.length,
                 packed.numbers + layer.weights + long(row.row) * layer.leading);
    packed.numbers[layer.biases + row.row] = theta[row.theta_bias];
  }
}

template <class T>
void pack_block(const Plan&, const BlockPlan& block, const T* theta, Packed<T> packed) {
  pack_layer(block.layer_1, theta, packed);
  pack_layer(block.layer_2, theta, packed);
  pack_layer(block.layer_out, theta, packed);
}

// Partial gradients of several workers, each in the layout of the plan.
template <class T>
struct PartialSums {
  const T* const* sums;
  int n;

  Vector<T> vector(long at) const {
    Vector<T> sum = load(sums[0] + at);
    for (int s = 1; s < n; ++s) sum = sum + load(sums[s] + at);
    return sum;
  }

  // The sum over the kPadding partial sums of one number, of which a vector's width is in use.
  T over_lanes(long at) const { return sum_of_lanes(vector(at)); }
};

template <class T>
void reduce_weights(PartialSums<T> sums, long from, int n, T scale, T* to) {
  int i = 0;
  for (; i + kLanes<T> <= n; i += kLanes<T>) {
    store(to + i, sums.vector(from + i) * broadcast(scale));
  }
  // Rows are padded: there is a whole vector to read.
  if (i < n) store_first(to + i, n - i, sums.vector(from + i) * broadcast(scale));
}

template <class T>
void reduce_layer(const LayerPlan& layer, PartialSums<T> sums, T scale, T* gradient) {
  for (const RowCopy& row : layer.rows) {
    T* to = gradient + row.theta;
    if (layer.partial) {
      const long from = layer.weight_sums + long(row.row) * layer.n_columns * kPadding;
      for (int i = 0; i < row.length; ++i) to[i] = sums.over_lanes(from + i * kPadding) * scale;
    } else {
      reduce_weights(sums, layer.weight_sums + long(row.row) * layer.leading, row.length, scale,
                     to);
    }
    gradient[row.theta_bias] = sums.over_lanes(layer.bias_sums + long(row.row) * kPadding) * scale;
  }
}

template <class T>
void reduce_block(const BlockPlan& block, const T* const* sums, int n_sums, T scale, T* gradient) {
  reduce_layer<T>(block.layer_1, {sums, n_sums}, scale, gradient);
  reduce_layer<T>(block.layer_2, {sums, n_sums}, scale, gradient);
  reduce_layer<T>(block.layer_out, {sums, n_sums}, scale, gradient);
}

}  // namespace onlineflows::ENGINE_ISA
