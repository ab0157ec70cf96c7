// Monotone rational-quadratic splines (Durkan et al. 2019, 1906.04032) over the rows of a tile.
//
// With bins of width w and height h, slope s = h / w, derivatives d0, d1 at a bin's ends and
// t = (x - x0) / w (eqs. 4 and 5):
//   y     = y0 + h (s t^2 + d0 t (1 - t)) / (s + (d0 + d1 - 2 s) t (1 - t))
//   dy/dx = s^2 (d1 t^2 + 2 s t (1 - t) + d0 (1 - t)^2) / (s + (d0 + d1 - 2 s) t (1 - t))^2
// Widths and heights are softmaxes of soft-clamped parameters, derivatives exponentials of them;
// outside [-bound, bound] the map is the identity (zuko's conventions).
//
// A tile passes twice, first to find every event's bin, then for the formulas: each pass is a long
// chain of dependent operations, and short passes let the processor overlap several vectors.
#pragma once

#include "elementary.hpp"
#include "spline_gradient.hpp"

namespace onlineflows::ENGINE_ISA {

// kBins > 0 fixes the number of bins at compile time, which lets the loops unroll; 0 takes any.
// Rows of parameters: `bins` widths, `bins` heights, `bins` - 1 derivatives.
template <class T, int kBins, Accuracy kAccuracy>
struct Spline {
  using V = Vector<T>;
  static constexpr int kMostBins = kBins > 0 ? kBins : 1024;

  static ENGINE_INLINE Mask<T> inside(V x, T bound) {
    return both(greater(x, broadcast(-bound)), less_equal(x, broadcast(bound)));
  }

  // Numerators of a softmax; returns their sum. Where saving, a row is replaced by its numerator
  // times (up to kRootUnit) the derivative of the soft clamp.
  template <bool kSave>
  static ENGINE_INLINE V numerators(T* rows, int bins, V* e) {
    V sum = broadcast(T(0));
    over_bins<kBins>(0, bins, [&](int j) {
      const auto one = clamped_exp<kAccuracy>(load(rows + j * kTile), 2 * kInverseLogSlope<T>);
      e[j] = one.value;
      sum = sum + e[j];
      if (kSave) store(rows + j * kTile, one.value * one.root * one.root);
    });
    return sum;
  }

  // Finds the bin in which `value` lies along its axis: x forward, y for the inverse.
  template <bool kSave, bool kInverse>
  static ENGINE_INLINE void find(int bins, T bound, T* rows, const T* value, T* saved) {
    const V zero = broadcast(T(0));
    V widths[kMostBins];
    V heights[kMostBins];
    const V sum_w = numerators<kSave>(rows, bins, widths);
    const V sum_h = numerators<kSave>(rows + bins * kTile, bins, heights);
    const T* raw = rows + 2 * bins * kTile;
    const V sum = kInverse ? sum_h : sum_w;
    const V at = (load(value) + broadcast(bound)) * (sum * broadcast(T(0.5) / bound));
    V x0 = zero, y0 = zero, width = widths[0], height = heights[0];
    V raw_0 = zero, raw_1 = load(raw), number = zero, left = zero, low = zero;
    over_bins<kBins>(1, bins, [&](int j) {
      left = left + widths[j - 1];
      low = low + heights[j - 1];
      const Mask<T> beyond = greater(at, kInverse ? low : left);
      x0 = select(beyond, left, x0);
      width = select(beyond, widths[j], width);
      y0 = select(beyond, low, y0);
      height = select(beyond, heights[j], height);
      number = select(beyond, broadcast(T(j)), number);
      raw_0 = select(beyond, load(raw + (j - 1) * kTile), raw_0);
      raw_1 = select(beyond, j + 1 < bins ? load(raw + j * kTile) : zero, raw_1);
    });
    const V results[] = {at, x0, width, y0, height, raw_0, raw_1};
    ENGINE_UNROLL
    for (int i = 0; i < 7; ++i) store(saved + i * kTile, results[i]);
    store(saved + kNumber * kTile, number);
    store(saved + kSumW * kTile, sum_w);
    // The first derivative's row is free now.
    store(rows + 2 * bins * kTile, sum_h);
  }

  // For a gradient the approximate reciprocal does; a density is divided exactly.
  template <bool kSave>
  static ENGINE_INLINE V inverse_of(V a) {
    if constexpr (kSave) {
      return reciprocal(a);
    } else {
      return broadcast(T(1)) / a;
    }
  }

  template <bool kSave>
  static ENGINE_INLINE void map(T bound, T* saved, T* row_h, T* x, T* log_det) {
    const V one = broadcast(T(1));
    const V at_x = load(x);
    const V width = load(saved + kWidth * kTile);
    const V height = load(saved + kHeight * kTile);
    const V x0 = load(saved + kX0 * kTile);
    const V y0 = load(saved + kY0 * kTile);
    const auto exp_0 = clamped_exp<kAccuracy>(load(saved + kD0 * kTile), kInverseLogSlope<T>);
    const auto exp_1 = clamped_exp<kAccuracy>(load(saved + kD1 * kTile), kInverseLogSlope<T>);
    const V d0 = exp_0.value;
    const V d1 = exp_1.value;
    const V sum_w = load(saved + kSumW * kTile);
    const V inverse_h = inverse_of<kSave>(load(row_h));
    const V inverse_width = inverse_of<kSave>(width);

    const Mask<T> in = inside(at_x, bound);
    const V t = select(in, (load(saved + kT * kTile) - x0) * inverse_width, broadcast(T(0)));
    const V s = height * inverse_h * (sum_w * inverse_width);
    const V u = t * (one - t);
    const V inverse_den = inverse_of<kSave>(fma(d0 + d1 - (s + s), u, s));
    const V numerator = fma(s * t, t, d0 * u);
    const V y = fma(fma(height * numerator, inverse_den, y0) * inverse_h, broadcast(2 * bound),
                    broadcast(-bound));
    const V q = s * inverse_den;
    const V bend = fma(d1 * t, t, fma(s + s, u, d0 * (one - t) * (one - t)));
    store(x, select(in, y, at_x));
    store(log_det, load(log_det) + select(in, log(q * q * bend), broadcast(T(0))));
    if (!kSave) return;
    constexpr T kUnit = 1 / (kRootUnit<T> * kRootUnit<T>);
    const V inverse_w = reciprocal(sum_w);
    store(saved + kT * kTile, t);
    store(saved + kX0 * kTile, x0 * inverse_w);
    store(saved + kWidth * kTile, width * inverse_w);
    store(saved + kY0 * kTile, y0 * inverse_h);
    store(saved + kHeight * kTile, height * inverse_h);
    store(saved + kD0 * kTile, d0);
    store(saved + kD1 * kTile, d1);
    store(saved + kSlope0 * kTile, d0 * (exp_0.root * exp_0.root * broadcast(kUnit)));
    store(saved + kSlope1 * kTile, d1 * (exp_1.root * exp_1.root * broadcast(kUnit)));
    store(saved + kNumber * kTile, select(in, load(saved + kNumber * kTile), broadcast(T(-2))));
    store(saved + kSumW * kTile, inverse_w * broadcast(kUnit));
    store(row_h, inverse_h * broadcast(kUnit));
  }

  // Transforms x in place and adds to the log-determinant.
  template <bool kSave>
  static void forward(const Plan& plan, T* rows, T* saved, T* x, T* log_det) {
    const int bins = n_bins<kBins>(plan);
    const T bound = T(plan.bound);
    for (int e = 0; e < kTile; e += kLanes<T>) {
      find<kSave, false>(bins, bound, rows + e, x + e, saved + e);
    }
    T* row_h = rows + 2 * bins * kTile;
    for (int e = 0; e < kTile; e += kLanes<T>) {
      map<kSave>(bound, saved + e, row_h + e, x + e, log_det + e);
    }
  }

  static void backward(const Plan& plan, const T* rows, T* saved, const T* weight, T* slope,
                       T* d_rows) {
    SplineGradient<T, kBins>::backward(plan, rows, saved, weight, slope, d_rows);
  }

  // Inverts y in place (eqs. 6 to 8).
  static void inverse(const Plan& plan, T* rows, T* saved, T* y) {
    const int bins = n_bins<kBins>(plan);
    const T bound = T(plan.bound);
    for (int e = 0; e < kTile; e += kLanes<T>) {
      find<false, true>(bins, bound, rows + e, y + e, saved + e);
    }
    const T* row_h = rows + 2 * bins * kTile;
    for (int e = 0; e < kTile; e += kLanes<T>) unmap(bound, saved + e, row_h + e, y + e);
  }

  static ENGINE_INLINE void unmap(T bound, const T* saved, const T* row_h, T* y) {
    const V zero = broadcast(T(0));
    const V at_y = load(y);
    const V width = load(saved + kWidth * kTile);
    const V inverse_height = reciprocal(load(saved + kHeight * kTile));
    const V d0 = clamped_exp<kAccuracy>(load(saved + kD0 * kTile), kInverseLogSlope<T>).value;
    const V d1 = clamped_exp<kAccuracy>(load(saved + kD1 * kTile), kInverseLogSlope<T>).value;
    const Mask<T> in = inside(at_y, bound);
    const V inverse_w = reciprocal(load(saved + kSumW * kTile));
    const V inverse_s = width * inverse_height * (load(row_h) * inverse_w);
    const V s = reciprocal(inverse_s);
    const V up =
        select(in, (load(saved + kT * kTile) - load(saved + kY0 * kTile)) * inverse_height, zero);
    const V bow = d0 + d1 - (s + s);
    const V a = fma(up, bow, s - d0);
    const V b = d0 - up * bow;
    const V c = zero - s * up;
    // Rounding can push a discriminant that should vanish below zero.
    const V discriminant = positive_part(fma(b, b, broadcast(T(-4)) * a * c));
    const V t = broadcast(T(-2)) * c / (b + square_root(discriminant));
    const V x = fma(fma(t, width, load(saved + kX0 * kTile)) * inverse_w, broadcast(2 * bound),
                    broadcast(-bound));
    store(y, select(in, x, at_y));
  }
};

}  // namespace onlineflows::ENGINE_ISA
