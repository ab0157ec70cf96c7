// Register-blocked products: a block of rows times a few vectors of events stays in registers over
// the whole contraction.
#pragma once

#include "arithmetic.hpp"

namespace onlineflows::ENGINE_ISA {

// sums[m][n] += sum_k a[m * row_stride + k * step_stride] b[k * kTile + n * lanes]
template <class A, int M, int N>
ENGINE_INLINE void accumulate(Vector<typename A::Real> (&sums)[M][N],
                              const typename A::Element* ENGINE_RESTRICT a, long row_stride,
                              long step_stride, const typename A::Element* ENGINE_RESTRICT b,
                              long b_stride, int depth) {
  constexpr int kWidth = kLanes<typename A::Real>;
  for (int k = 0; k < depth; ++k) {
    decltype(A::operand(b)) right[N];
    ENGINE_UNROLL
    for (int n = 0; n < N; ++n) right[n] = A::operand(b + n * kWidth);
    ENGINE_UNROLL
    for (int m = 0; m < M; ++m) {
      const auto left = A::scalar(a[m * row_stride]);
      ENGINE_UNROLL
      for (int n = 0; n < N; ++n) sums[m][n] = A::multiply_add(left, right[n], sums[m][n]);
    }
    a += step_stride;
    b += b_stride;
  }
}

// Weights as a product reads them: forward row by row, backward column by column.
template <class A>
struct Weights {
  const typename A::Element* first;
  int leading;  // in elements
};
enum class Direction { forward, backward };

// One row block over all events of a tile; `finish(row, event, sums)` takes each piece.
template <class A, int M, Direction kDirection, class Finish>
ENGINE_NOINLINE void product_block(const RowBlock& block, Weights<A> weights,
                                   const typename A::Element* operand,
                                   const typename A::Real* biases, Finish finish) {
  using Real = typename A::Real;
  constexpr bool kForward = kDirection == Direction::forward;
  constexpr int N = kColumns;
  const long row_stride = kForward ? weights.leading : 1;
  const long step_stride = kForward ? 1 : weights.leading;
  const typename A::Element* a =
      weights.first + block.first * row_stride + block.begin * step_stride;
  for (int event = 0; event < kTile; event += N * kLanes<Real>) {
    Vector<Real> sums[M][N];
    ENGINE_UNROLL
    for (int m = 0; m < M; ++m) {
      const Vector<Real> start = broadcast(kForward ? biases[block.first + m] : Real(0));
      ENGINE_UNROLL
      for (int n = 0; n < N; ++n) sums[m][n] = start;
    }
    accumulate<A, M, N>(sums, a, row_stride, step_stride, operand + block.begin * kTile + event,
                        kTile, block.end - block.begin);
    finish(block.first, event, sums);
  }
}

template <class A, Direction kDirection, class Finish>
ENGINE_INLINE void product(Span<RowBlock> blocks, Weights<A> weights,
                           const typename A::Element* operand, const typename A::Real* biases,
                           Finish finish) {
  for (const RowBlock& block : blocks) {
    switch (block.count) {
      case 1: product_block<A, 1, kDirection>(block, weights, operand, biases, finish); break;
      case 2: product_block<A, 2, kDirection>(block, weights, operand, biases, finish); break;
      case 3: product_block<A, 3, kDirection>(block, weights, operand, biases, finish); break;
      case 4: product_block<A, 4, kDirection>(block, weights, operand, biases, finish); break;
      case 5: product_block<A, 5, kDirection>(block, weights, operand, biases, finish); break;
      default: product_block<A, 6, kDirection>(block, weights, operand, biases, finish); break;
    }
  }
}

}  // namespace onlineflows::ENGINE_ISA
