// How a masked network stores its activations and multiplies them.
//
// Direct<T>: numbers of type T. One array of rows serves as the operand of a product and as the
// other operand of a weight gradient.
// Paired: bfloat16 products accumulated in float32 (paired.hpp). Products contract pairs of rows,
// weight gradients contract pairs of events, so that each activation is kept in both forms.
#pragma once

#include "elementary.hpp"

namespace onlineflows::ENGINE_ISA {

// A layer's activations, or gradients with respect to them.
template <class A>
struct Panel {
  typename A::Element* by_rows;    // (rows / A::kPer, kTile): operand of products
  typename A::Element* by_events;  // (rows, kTile / A::kPer): operand of weight gradients
};

template <class T>
struct Direct {
  using Real = T;
  using Element = T;
  static constexpr int kPer = 1;
  static constexpr Accuracy kAccuracy = Accuracy::full;

  // `kept` lasts from the forward to the backward pass, `passing` until the next block.
  static Panel<Direct> panel(T* kept, T*) { return {kept, kept}; }
  static const T* forward_weights(const LayerPlan& layer, Packed<T> packed) {
    return packed.numbers + layer.weights;
  }
  static const T* backward_weights(const LayerPlan& layer, Packed<T> packed) {
    return packed.numbers + layer.weights;
  }

  static ENGINE_INLINE Vector<T> operand(const T* p) { return load(p); }
  static ENGINE_INLINE Vector<T> scalar(T a) { return broadcast(a); }
  static ENGINE_INLINE Vector<T> multiply_add(Vector<T> a, Vector<T> b, Vector<T> sum) {
    return fma(a, b, sum);
  }

  // Keeps a block of results, rows `row`… and vectors from event `event` on.
  template <int M, int N>
  static ENGINE_INLINE void keep(Panel<Direct> to, int row, int event,
                                 const Vector<T> (&value)[M][N]) {
    ENGINE_UNROLL
    for (int m = 0; m < M; ++m) {
      ENGINE_UNROLL
      for (int n = 0; n < N; ++n) {
        store(to.by_rows + (row + m) * kTile + event + n * kLanes<T>, value[m][n]);
      }
    }
  }

  // Zeroes a block of gradients where the activation isn't positive (ReLU).
  template <int M, int N>
  static ENGINE_INLINE void gate(Panel<Direct> activation, int row, int event,
                                 Vector<T> (&value)[M][N]) {
    const Vector<T> zero = broadcast(T(0));
    ENGINE_UNROLL
    for (int m = 0; m < M; ++m) {
      ENGINE_UNROLL
      for (int n = 0; n < N; ++n) {
        const T* at = activation.by_rows + (row + m) * kTile + event + n * kLanes<T>;
        value[m][n] = select(greater(load(at), zero), value[m][n], zero);
      }
    }
  }

  // Where a target's gradient rows are to be written, so that `absorb` finds them.
  static T* rows_for(Panel<Direct> to, int first, T*) { return to.by_rows + first * kTile; }
  // Takes `count` rows into the panel and adds their sums over the events.
  static ENGINE_INLINE void absorb(const T* rows, Panel<Direct>, int, int count, T* sums) {
    for (int row = 0; row < count; ++row) {
      Vector<T> sum = load(sums + row * kPadding);
      ENGINE_UNROLL
      for (int event = 0; event < kTile; event += kLanes<T>) {
        sum = sum + load(rows + row * kTile + event);
      }
      store(sums + row * kPadding, sum);
    }
  }
};

}  // namespace onlineflows::ENGINE_ISA
