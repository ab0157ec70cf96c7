// Affine maps z = exp(a) x + b with a soft-clamped, one vector of events.
#pragma once

#include "elementary.hpp"
#include "kernels.hpp"

namespace onlineflows::ENGINE_ISA {

// Rows: shift b, unclamped log-scale a.
template <class T>
struct Affine {
  using V = Vector<T>;

  template <bool kSave>
  static ENGINE_INLINE void forward(const Plan&, T* rows, T* saved, T* x, T* log_det) {
    const auto clamped = soft_clamp<T>(load(rows + kTile), kInverseLogSlope<T>);
    const V scale = exp(clamped.value);
    const V at_x = load(x);
    store(x, fma(at_x, scale, load(rows)));
    store(log_det, load(log_det) + clamped.value);
    if (!kSave) return;
    store(saved, at_x);
    store(saved + kTile, scale);
    store(saved + 2 * kTile, clamped.shrink * clamped.shrink);
  }

  static ENGINE_INLINE void backward(const Plan&, const T*, const T* saved, const T* weight,
                                     T* slope, T* d_rows) {
    const V g_z = load(slope);
    const V scale = load(saved + kTile);
    store(d_rows, g_z);
    store(d_rows + kTile,
          (g_z * load(saved) * scale - load(weight)) * load(saved + 2 * kTile));
    store(slope, g_z * scale);
  }

  static ENGINE_INLINE void inverse(const Plan&, T* rows, T* z) {
    const V log_scale = soft_clamp<T>(load(rows + kTile), kInverseLogSlope<T>).value;
    store(z, (load(z) - load(rows)) * exp(broadcast(T(0)) - log_scale));
  }
};

}  // namespace onlineflows::ENGINE_ISA
