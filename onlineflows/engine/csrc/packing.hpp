// Between θ, which holds live weights only, and the padded storage of the kernels.
#pragma once

#include "vector.hpp"
#include "kernels.hpp"

namespace onlineflows::ENGINE_ISA {

// Rows are a few dozen numbers: whole vectors first, then one by one.
template <class T>
ENGINE_INLINE void copy_numbers(const T* from, int n, T* to) {
  int i = 0;
  for (; i + kLanes<T> <= n; i += kLanes<T>) store(to + i, load(from + i));
  for (; i < n; ++i) to[i] = from[i];
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

template <class T>
T lane_sum(const T* partial) {
  T sum = 0;
  for (int lane = 0; lane < kPadding; ++lane) sum += partial[lane];
  return sum;
}

template <class T>
void reduce_layer(const LayerPlan& layer, const T* const* sums, int n_sums, T scale, T* gradient) {
  for (const RowCopy& row : layer.rows) {
    const long from = layer.weight_sums + long(row.row) * layer.leading;
    T* to = gradient + row.theta;
    int i = 0;
    for (; i + kLanes<T> <= row.length; i += kLanes<T>) {
      Vector<T> sum = load(sums[0] + from + i);
      for (int s = 1; s < n_sums; ++s) sum = sum + load(sums[s] + from + i);
      store(to + i, sum * broadcast(scale));
    }
    for (; i < row.length; ++i) {
      T sum = sums[0][from + i];
      for (int s = 1; s < n_sums; ++s) sum += sums[s][from + i];
      to[i] = sum * scale;
    }
    T bias = 0;
    for (int s = 0; s < n_sums; ++s) {
      bias += lane_sum(sums[s] + layer.bias_sums + long(row.row) * kPadding);
    }
    gradient[row.theta_bias] = bias * scale;
  }
}

template <class T>
void reduce_block(const BlockPlan& block, const T* const* sums, int n_sums, T scale,
                  T* gradient) {
  reduce_layer(block.layer_1, sums, n_sums, scale, gradient);
  reduce_layer(block.layer_2, sums, n_sums, scale, gradient);
  reduce_layer(block.layer_out, sums, n_sums, scale, gradient);
}

}  // namespace onlineflows::ENGINE_ISA
