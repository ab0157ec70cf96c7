// Monotone rational-quadratic splines (Durkan et al. 2019, 1906.04032), one vector of events.
//
// With bins of width w and height h, slope s = h / w, derivatives d0, d1 at a bin's ends and
// t = (x - x0) / w (eqs. 4 and 5):
//   y     = y0 + h (s t^2 + d0 t (1 - t)) / (s + (d0 + d1 - 2 s) t (1 - t))
//   dy/dx = s^2 (d1 t^2 + 2 s t (1 - t) + d0 (1 - t)^2) / (s + (d0 + d1 - 2 s) t (1 - t))^2
// Widths and heights are softmaxes of soft-clamped parameters, derivatives exponentials of them;
// outside [-bound, bound] the map is the identity (zuko's conventions).
//
// Everything stays in units of the softmax's numerators until a bin is found: the event's place is
// scaled instead of every knot.
#pragma once

#include "elementary.hpp"
#include "kernels.hpp"

namespace onlineflows::ENGINE_ISA {

template <class T>
struct SplineBin {
  Vector<T> x0, width, y0, height;  // fractions of the whole range; x0, y0 from its lower end
  Vector<T> raw_0, raw_1;           // parameters of the derivatives
  Vector<T> number;
  Vector<T> inverse_sum_w, inverse_sum_h;
};

// kBins > 0 fixes the number of bins at compile time, which lets the loops unroll; 0 takes any.
template <class T, int kBins>
struct Spline {
  using V = Vector<T>;
  // Rows of `saved`.
  enum Saved { kT, kX0, kWidth, kY0, kHeight, kD0, kD1, kShrink0, kShrink1, kNumber, kSums };
  static constexpr int kMostBins = kBins > 0 ? kBins : 1024;

  static int n_bins(const Plan& plan) { return kBins > 0 ? kBins : plan.bins; }

  // exp of soft-clamped rows; returns their sum. Where saving, a row is replaced by its numerator
  // times the derivative of the soft clamp.
  template <bool kSave>
  static ENGINE_INLINE V numerators(T* rows, int bins, V* e) {
    V sum = broadcast(T(0));
    ENGINE_UNROLL
    for (int j = 0; j < bins; ++j) {
      const auto clamped = soft_clamp<T>(load(rows + j * kTile), 2 * kInverseLogSlope<T>);
      e[j] = exp(clamped.value);
      sum = sum + e[j];
      if (kSave) store(rows + j * kTile, e[j] * clamped.shrink * clamped.shrink);
    }
    return sum;
  }

  // The bin in which `at` lies along the first of two axes, both in units of their numerators.
  // first/second: widths and heights, or heights and widths for the inverse.
  static ENGINE_INLINE SplineBin<T> find(V at, const V* first, const V* second, const T* raw,
                                         int bins) {
    const V zero = broadcast(T(0));
    SplineBin<T> bin{zero, first[0], zero, second[0], zero, load(raw), zero, zero, zero};
    V left = zero;
    V low = zero;
    ENGINE_UNROLL
    for (int j = 1; j < bins; ++j) {
      left = left + first[j - 1];
      low = low + second[j - 1];
      const Mask<T> beyond = greater(at, left);
      bin.x0 = select(beyond, left, bin.x0);
      bin.width = select(beyond, first[j], bin.width);
      bin.y0 = select(beyond, low, bin.y0);
      bin.height = select(beyond, second[j], bin.height);
      bin.number = select(beyond, broadcast(T(j)), bin.number);
      bin.raw_0 = select(beyond, load(raw + (j - 1) * kTile), bin.raw_0);
      bin.raw_1 = select(beyond, j + 1 < bins ? load(raw + j * kTile) : zero, bin.raw_1);
    }
    return bin;
  }

  static ENGINE_INLINE Mask<T> inside(V x, T bound) {
    return both(greater(x, broadcast(-bound)), less_equal(x, broadcast(bound)));
  }

  // Transforms one vector of events in place and adds to their log_det.
  template <bool kSave>
  static ENGINE_INLINE void forward(const Plan& plan, T* rows, T* saved, T* x, T* log_det) {
    const int bins = n_bins(plan);
    const T bound = T(plan.bound);
    const V one = broadcast(T(1));
    V widths[kMostBins];
    V heights[kMostBins];
    const V sum_w = numerators<kSave>(rows, bins, widths);
    const V sum_h = numerators<kSave>(rows + bins * kTile, bins, heights);
    const V at_x = load(x);
    const V at = (at_x + broadcast(bound)) * sum_w * broadcast(T(0.5) / bound);
    const SplineBin<T> bin = find(at, widths, heights, rows + 2 * bins * kTile, bins);
    const auto clamp_0 = soft_clamp<T>(bin.raw_0, kInverseLogSlope<T>);
    const auto clamp_1 = soft_clamp<T>(bin.raw_1, kInverseLogSlope<T>);
    const V d0 = exp(clamp_0.value);
    const V d1 = exp(clamp_1.value);

    const Mask<T> in = inside(at_x, bound);
    const V t = select(in, (at - bin.x0) / bin.width, broadcast(T(0)));
    const V inverse_h = one / sum_h;
    const V s = bin.height * sum_w / bin.width * inverse_h;
    const V u = t * (one - t);
    const V inverse_den = one / fma(d0 + d1 - s - s, u, s);
    const V numerator = fma(s * t, t, d0 * u);
    const V y = fma(fma(bin.height * numerator, inverse_den, bin.y0) * inverse_h,
                    broadcast(2 * bound), broadcast(-bound));
    const V q = s * inverse_den;
    const V bend = fma(d1 * t, t, fma(s + s, u, d0 * (one - t) * (one - t)));
    store(x, select(in, y, at_x));
    store(log_det, load(log_det) + select(in, log(q * q * bend), broadcast(T(0))));
    if (!kSave) return;
    const V inverse_w = one / sum_w;
    store(saved + kT * kTile, t);
    store(saved + kX0 * kTile, bin.x0 * inverse_w);
    store(saved + kWidth * kTile, bin.width * inverse_w);
    store(saved + kY0 * kTile, bin.y0 * inverse_h);
    store(saved + kHeight * kTile, bin.height * inverse_h);
    store(saved + kD0 * kTile, d0);
    store(saved + kD1 * kTile, d1);
    store(saved + kShrink0 * kTile, d0 * clamp_0.shrink * clamp_0.shrink);
    store(saved + kShrink1 * kTile, d1 * clamp_1.shrink * clamp_1.shrink);
    store(saved + kNumber * kTile, select(in, bin.number, broadcast(T(-2))));
    store(saved + kSums * kTile, inverse_w);
    // The first derivative's row is free now.
    store(rows + 2 * bins * kTile, inverse_h);
  }

  // The gradients with respect to a bin's numbers, from those with respect to y (`slope`) and to
  // the log-determinant (`- weight`).
  struct BinGradient {
    V x, x0, width, y0, height, d0, d1;
  };
  static ENGINE_INLINE BinGradient bin_gradient(const T* saved, V slope, V weight, T bound) {
    const V one = broadcast(T(1));
    const V two = broadcast(T(2));
    const V range = broadcast(2 * bound);
    const V t = load(saved + kT * kTile);
    const V width = load(saved + kWidth * kTile);
    const V height = load(saved + kHeight * kTile);
    const V d0 = load(saved + kD0 * kTile);
    const V d1 = load(saved + kD1 * kTile);
    const V inverse_width = one / width;
    const V s = height * inverse_width;
    const V rest = one - t;
    const V u = t * rest;
    const V bow = d0 + d1 - s - s;
    const V inverse_den = one / fma(bow, u, s);
    const V ratio = fma(s * t, t, d0 * u) * inverse_den;
    const V bend = fma(d1 * t, t, fma(s + s, u, d0 * rest * rest));
    const V g_log = broadcast(T(0)) - weight;
    const V g_y = slope * range;  // with respect to y in fractions of the range
    const V g_num = g_y * height * inverse_den;
    const V g_den = broadcast(T(0)) - fma(g_num, ratio, two * g_log * inverse_den);
    const V g_bend = g_log / bend;
    const V tilt = one - t - t;
    const V g_s = two * g_log / s + g_num * t * t + g_den * (one - u - u) + two * g_bend * u;
    const V g_t = g_num * fma(two * s, t, d0 * tilt) + g_den * bow * tilt +
                  two * g_bend * (d1 * t + s * tilt - d0 * rest);
    const V g_x = g_t * inverse_width;
    BinGradient g;
    g.x = g_x / range;
    g.x0 = broadcast(T(0)) - g_x;
    g.width = broadcast(T(0)) - fma(g_x, t, g_s * s * inverse_width);
    g.y0 = g_y;
    g.height = fma(g_y, ratio, g_s * inverse_width);
    g.d0 = g_num * u + g_den * u + g_bend * rest * rest;
    g.d1 = g_den * u + g_bend * t * t;
    return g;
  }

  // Writes the gradient with respect to the rows and replaces `slope` (d loss/dy by d loss/dx).
  static ENGINE_INLINE void backward(const Plan& plan, const T* rows, const T* saved,
                                     const T* weight, T* slope, T* d_rows) {
    const int bins = n_bins(plan);
    const V zero = broadcast(T(0));
    const V number = load(saved + kNumber * kTile);
    const Mask<T> in = greater(number, broadcast(T(-1)));
    const V g_y = load(slope);
    const BinGradient g = bin_gradient(saved, select(in, g_y, zero),
                                       select(in, load(weight), zero), T(plan.bound));
    store(slope, select(in, g.x, g_y));

    // Softmax: dL/dp_j = numerator_j ([dL/dx0 if j < k] + [dL/dw if j = k] - mean) / sum.
    const V inverse_w = load(saved + kSums * kTile);
    const V inverse_h = load(rows + 2 * bins * kTile);
    const V mean_w = fma(g.x0, load(saved + kX0 * kTile), g.width * load(saved + kWidth * kTile));
    const V mean_h =
        fma(g.y0, load(saved + kY0 * kTile), g.height * load(saved + kHeight * kTile));
    const V below_w = (g.x0 - mean_w) * inverse_w;
    const V at_w = (g.width - mean_w) * inverse_w;
    const V above_w = (zero - mean_w) * inverse_w;
    const V below_h = (g.y0 - mean_h) * inverse_h;
    const V at_h = (g.height - mean_h) * inverse_h;
    const V above_h = (zero - mean_h) * inverse_h;
    const V g_0 = g.d0 * load(saved + kShrink0 * kTile);
    const V g_1 = g.d1 * load(saved + kShrink1 * kTile);
    Mask<T> here = equal(number, zero);
    ENGINE_UNROLL
    for (int j = 0; j < bins; ++j) {
      const Mask<T> below = greater(number, broadcast(T(j)));
      const V factor_w = select(below, below_w, select(here, at_w, above_w));
      const V factor_h = select(below, below_h, select(here, at_h, above_h));
      store(d_rows + j * kTile, load(rows + j * kTile) * factor_w);
      store(d_rows + (bins + j) * kTile, load(rows + (bins + j) * kTile) * factor_h);
      if (j + 1 < bins) {
        const Mask<T> next = equal(number, broadcast(T(j + 1)));
        store(d_rows + (2 * bins + j) * kTile, select(here, g_1, select(next, g_0, zero)));
        here = next;
      }
    }
  }

  // Inverts one vector of events in place (eqs. 6 to 8).
  static ENGINE_INLINE void inverse(const Plan& plan, T* rows, T* y) {
    const int bins = n_bins(plan);
    const T bound = T(plan.bound);
    V widths[kMostBins];
    V heights[kMostBins];
    const V sum_w = numerators<false>(rows, bins, widths);
    const V sum_h = numerators<false>(rows + bins * kTile, bins, heights);
    const V at_y = load(y);
    const V at = (at_y + broadcast(bound)) * sum_h * broadcast(T(0.5) / bound);
    // The axes change places: x0 and width of `bin` are along y.
    const SplineBin<T> bin = find(at, heights, widths, rows + 2 * bins * kTile, bins);
    const V d0 = exp(soft_clamp<T>(bin.raw_0, kInverseLogSlope<T>).value);
    const V d1 = exp(soft_clamp<T>(bin.raw_1, kInverseLogSlope<T>).value);
    const Mask<T> in = inside(at_y, bound);
    const V s = bin.width * sum_w / (bin.height * sum_h);
    const V up = select(in, (at - bin.x0) / bin.width, broadcast(T(0)));
    const V bow = d0 + d1 - s - s;
    const V a = fma(up, bow, s - d0);
    const V b = fma(broadcast(T(0)) - up, bow, d0);
    const V c = broadcast(T(0)) - s * up;
    // Rounding can push a discriminant that should vanish below zero.
    const V discriminant = positive_part(fma(b, b, broadcast(T(-4)) * a * c));
    const V t = broadcast(T(-2)) * c / (b + square_root(discriminant));
    const V x = fma(fma(t, bin.height, bin.y0) / sum_w, broadcast(2 * bound), broadcast(-bound));
    store(y, select(in, x, at_y));
  }
};

}  // namespace onlineflows::ENGINE_ISA
