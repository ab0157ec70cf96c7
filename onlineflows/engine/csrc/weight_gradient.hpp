// Weight gradients: sums over the events of d(loss)/d(output row) times input activation.
//
// The inputs come with events first (transpose.hpp), so that a row of weights is a row of vectors
// and each output's gradient is broadcast.
#pragma once

#include "product.hpp"
#include "transpose.hpp"

namespace onlineflows::ENGINE_ISA {

template <class A>
struct GradientOperands {
  const typename A::Element* d_outputs;  // (rows, kTile / A::kPer)
  const typename A::Element* inputs;     // (kTile / A::kPer, leading)
  typename A::Real* sums;                // (rows, leading)
  int leading;
};

template <class A, int M, int N>
ENGINE_NOINLINE void gradient_piece(const GradientOperands<A>& operands, int first, int column) {
  using Real = typename A::Real;
  constexpr int kSteps = kTile / A::kPer;
  Vector<Real> sums[M][N];
  Real* at = operands.sums + long(first) * operands.leading + column;
  ENGINE_UNROLL
  for (int m = 0; m < M; ++m) {
    ENGINE_UNROLL
    for (int n = 0; n < N; ++n) sums[m][n] = load(at + m * operands.leading + n * kLanes<Real>);
  }
  accumulate<A, M, N>(sums, operands.d_outputs + first * kSteps, kSteps, 1,
                      operands.inputs + column, operands.leading, kSteps);
  ENGINE_UNROLL
  for (int m = 0; m < M; ++m) {
    ENGINE_UNROLL
    for (int n = 0; n < N; ++n) store(at + m * operands.leading + n * kLanes<Real>, sums[m][n]);
  }
}

// The tallest block of N vectors that the registers hold; the plan's blocks are no taller.
template <int N>
inline constexpr int kTallest =
    kAccumulators / N < kMostGradientRows ? kAccumulators / N : kMostGradientRows;

// Finds the kernel for `count` rows of N vectors.
template <class A, int N, int M = kTallest<N>>
ENGINE_INLINE void gradient_rows(const GradientOperands<A>& operands, int first, int count,
                                 int column) {
  if (count == M) return gradient_piece<A, M, N>(operands, first, column);
  if constexpr (M > 1) gradient_rows<A, N, M - 1>(operands, first, count, column);
}

// The first layer has few inputs: a vector of them would be mostly padding. Its sums run over
// vectors of events instead and keep kPadding partial sums for each weight, added up at the end of
// a batch.
template <class T>
struct InputOperands {
  const T* d_outputs;  // (rows, kTile)
  const T* inputs;     // (n_inputs, kTile)
  T* sums;             // (rows, n_inputs, kPadding)
  int n_inputs;
};

template <class T, int M, int N>
ENGINE_NOINLINE void input_piece(const InputOperands<T>& operands, int first, int input) {
  Vector<T> sums[M][N];
  T* at = operands.sums + (long(first) * operands.n_inputs + input) * kPadding;
  const long row = long(operands.n_inputs) * kPadding;
  const T* left = operands.d_outputs + long(first) * kTile;
  const T* right = operands.inputs + long(input) * kTile;
  ENGINE_UNROLL
  for (int m = 0; m < M; ++m) {
    ENGINE_UNROLL
    for (int n = 0; n < N; ++n) sums[m][n] = load(at + m * row + n * kPadding);
  }
  for (int event = 0; event < kTile; event += kLanes<T>) {
    Vector<T> b[N];
    ENGINE_UNROLL
    for (int n = 0; n < N; ++n) b[n] = load(right + n * kTile + event);
    ENGINE_UNROLL
    for (int m = 0; m < M; ++m) {
      const Vector<T> a = load(left + m * kTile + event);
      ENGINE_UNROLL
      for (int n = 0; n < N; ++n) sums[m][n] = fma(a, b[n], sums[m][n]);
    }
  }
  ENGINE_UNROLL
  for (int m = 0; m < M; ++m) {
    ENGINE_UNROLL
    for (int n = 0; n < N; ++n) store(at + m * row + n * kPadding, sums[m][n]);
  }
}

template <class T, int M>
ENGINE_INLINE void input_rows(const InputOperands<T>& operands, int first, int n_inputs) {
  int input = 0;
  for (; input + kColumns <= n_inputs; input += kColumns) {
    input_piece<T, M, kColumns>(operands, first, input);
  }
  for (; input < n_inputs; ++input) input_piece<T, M, 1>(operands, first, input);
}

// Blocks as for the forward product: [0, end) are the inputs that their rows see.
template <class T>
void input_weight_gradient(Span<RowBlock> blocks, const InputOperands<T>& operands) {
  for (const RowBlock& block : blocks) {
    switch (block.count) {
      case 1: input_rows<T, 1>(operands, block.first, block.end); break;
      case 2: input_rows<T, 2>(operands, block.first, block.end); break;
      case 3: input_rows<T, 3>(operands, block.first, block.end); break;
      case 4: input_rows<T, 4>(operands, block.first, block.end); break;
      case 5: input_rows<T, 5>(operands, block.first, block.end); break;
      default: input_rows<T, 6>(operands, block.first, block.end); break;
    }
  }
}

template <class A>
void weight_gradient(Span<RowBlock> blocks, const GradientOperands<A>& operands) {
  constexpr int kWidth = kLanes<typename A::Real>;
  for (const RowBlock& block : blocks) {
    int vector = 0;
    while (vector < block.end) {
      const int left = block.end - vector;
      const int column = vector * kWidth;
      // Five vectors go as 3 + 2: one alone would leave most registers idle.
      const int n = left > kColumns && left < 2 * kColumns ? (left + 1) / 2
                                                           : (left < kColumns ? left : kColumns);
      if constexpr (kColumns >= 4) {
        if (n == 4) gradient_rows<A, 4>(operands, block.first, block.count, column);
        if (n == 3) gradient_rows<A, 3>(operands, block.first, block.count, column);
      }
      if (n == 2) gradient_rows<A, 2>(operands, block.first, block.count, column);
      if (n == 1) gradient_rows<A, 1>(operands, block.first, block.count, column);
      vector += n;
    }
  }
}

}  // namespace onlineflows::ENGINE_ISA
