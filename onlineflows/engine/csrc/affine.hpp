// Affine maps z = exp(a) x + b with a soft-clamped, over the rows of a tile.
#pragma once

#include "elementary.hpp"
#include "kernels.hpp"

namespace onlineflows::ENGINE_ISA {

// Rows of parameters: shift b, unclamped log-scale a. Rows of `saved`: x, scale, slope of the
// clamp.
template <class T>
struct Affine {
  using V = Vector<T>;

  template <bool kSave>
  static void forward(const Plan&, T* rows, T* saved, T* x, T* log_det) {
    for (int e = 0; e < kTile; e += kLanes<T>) {
      const auto clamped = soft_clamp<T>(load(rows + kTile + e), kInverseLogSlope<T>);
      const V scale = exp(clamped.value);
      const V at_x = load(x + e);
      store(x + e, fma(at_x, scale, load(rows + e)));
      store(log_det + e, load(log_det + e) + clamped.value);
      if (!kSave) continue;
      store(saved + e, at_x);
      store(saved + kTile + e, scale);
      store(saved + 2 * kTile + e, clamped.shrink * clamped.shrink);
    }
  }

  static void backward(const Plan&, const T*, T* saved, const T* weight, T* slope, T* d_rows) {
    for (int e = 0; e < kTile; e += kLanes<T>) {
      const V g_z = load(slope + e);
      const V g_x = g_z * load(saved + kTile + e);
      store(d_rows + e, g_z);
      store(d_rows + kTile + e,
            (g_x * load(saved + e) - load(weight + e)) * load(saved + 2 * kTile + e));
      store(slope + e, g_x);
    }
  }

  static void inverse(const Plan&, T* rows, T*, T* z) {
    for (int e = 0; e < kTile; e += kLanes<T>) {
      const V log_scale = soft_clamp<T>(load(rows + kTile + e), kInverseLogSlope<T>).value;
      store(z + e, (load(z + e) - load(rows + e)) * exp(broadcast(T(0)) - log_scale));
    }
  }
};

}  // namespace onlineflows::ENGINE_ISA
