// The way back through a spline: from gradients with respect to y and log |dy/dx| to those with
// respect to x and the parameters. Notation as in spline.hpp.
#pragma once

#include "spline_rows.hpp"

namespace onlineflows::ENGINE_ISA {

template <class T, int kBins>
struct SplineGradient {
  using V = Vector<T>;

  // Gradients with respect to a bin's numbers; positions and sizes in fractions of the range.
  struct BinGradient {
    V x, x0, width, y0, height, d0, d1;
  };

  // From those with respect to y (`slope`) and to the log-determinant (-`weight`).
  static ENGINE_INLINE BinGradient bin_gradient(const T* saved, V slope, V weight, T bound) {
    const V zero = broadcast(T(0));
    const V one = broadcast(T(1));
    const V t = load(saved + kT * kTile);
    const V height = load(saved + kHeight * kTile);
    const V d0 = load(saved + kD0 * kTile);
    const V d1 = load(saved + kD1 * kTile);
    const V inverse_width = reciprocal(load(saved + kWidth * kTile));
    const V s = height * inverse_width;
    const V rest = one - t;
    const V u = t * rest;
    const V bow = d0 + d1 - (s + s);
    const V inverse_den = reciprocal(fma(bow, u, s));
    const V ratio = fma(s * t, t, d0 * u) * inverse_den;
    const V bend = fma(d1 * t, t, fma(s + s, u, d0 * rest * rest));
    const V g_log = zero - weight;
    const V g_log_2 = g_log + g_log;
    const V g_y = slope * broadcast(2 * bound);
    const V g_num = g_y * height * inverse_den;
    const V g_den = zero - fma(g_num, ratio, g_log_2 * inverse_den);
    const V g_bend = g_log * reciprocal(bend);
    const V g_bend_2 = g_bend + g_bend;
    const V tilt = rest - t;
    const V g_s =
        fma(g_log_2, reciprocal(s), fma(g_num * t, t, fma(g_den, one - (u + u), g_bend_2 * u)));
    const V g_t = fma(g_num, fma(s + s, t, d0 * tilt),
                      fma(g_den * bow, tilt, g_bend_2 * (fma(d1, t, s * tilt) - d0 * rest)));
    const V g_x = g_t * inverse_width;
    BinGradient g;
    g.x = g_x * broadcast(T(0.5) / bound);
    g.x0 = zero - g_x;
    g.width = zero - fma(g_x, t, g_s * s * inverse_width);
    g.y0 = g_y;
    g.height = fma(g_y, ratio, g_s * inverse_width);
    g.d0 = fma(g_num + g_den, u, g_bend * rest * rest);
    g.d1 = fma(g_den, u, g_bend * t * t);
    return g;
  }

  // The gradient with respect to a softmax's parameters is numerator ([below] g_below + [at] g_at -
  // mean) / sum, where the bin is k: below are those of bins before k, at the one of bin k.
  struct SoftmaxGradient {
    V below, at, above;
  };
  static ENGINE_INLINE SoftmaxGradient softmax_gradient(V g_below, V g_at, V below, V at,
                                                        V inverse_sum) {
    const V mean = fma(g_below, below, g_at * at);
    return {(g_below - mean) * inverse_sum, (g_at - mean) * inverse_sum,
            broadcast(T(0)) - mean * inverse_sum};
  }

  // Writes the gradient with respect to the parameters and replaces `slope`, d loss/dy by
  // d loss/dx.
  static void backward(const Plan& plan, const T* rows, T* saved, const T* weight, T* slope,
                       T* d_rows) {
    const int bins = n_bins<kBins>(plan);
    const T* row_h = rows + 2 * bins * kTile;
    for (int e = 0; e < kTile; e += kLanes<T>) {
      backward_bin(T(plan.bound), row_h + e, saved + e, weight + e, slope + e);
    }
    for (int e = 0; e < kTile; e += kLanes<T>) spread(bins, rows + e, saved + e, d_rows + e);
  }

  // What the second pass back finds in `saved`, beside kNumber.
  enum Factors { kBelowW, kAtW, kAboveW, kBelowH, kAtH, kAboveH, kRaw0, kRaw1 };

  static ENGINE_INLINE void backward_bin(T bound, const T* row_h, T* saved, const T* weight,
                                         T* slope) {
    const V zero = broadcast(T(0));
    const Mask<T> in = greater(load(saved + kNumber * kTile), broadcast(T(-1)));
    const V g_y = load(slope);
    const BinGradient g =
        bin_gradient(saved, select(in, g_y, zero), select(in, load(weight), zero), bound);
    store(slope, select(in, g.x, g_y));
    const SoftmaxGradient w =
        softmax_gradient(g.x0, g.width, load(saved + kX0 * kTile), load(saved + kWidth * kTile),
                         load(saved + kSumW * kTile));
    const SoftmaxGradient h = softmax_gradient(g.y0, g.height, load(saved + kY0 * kTile),
                                               load(saved + kHeight * kTile), load(row_h));
    const V raw_0 = g.d0 * load(saved + kSlope0 * kTile);
    const V raw_1 = g.d1 * load(saved + kSlope1 * kTile);
    const V factors[] = {w.below, w.at, w.above, h.below, h.at, h.above, raw_0, raw_1};
    ENGINE_UNROLL
    for (int i = 0; i < 8; ++i) store(saved + i * kTile, factors[i]);
  }

  static ENGINE_INLINE void spread(int bins, const T* rows, const T* saved, T* d_rows) {
    const V zero = broadcast(T(0));
    const V number = load(saved + kNumber * kTile);
    const V below_w = load(saved + kBelowW * kTile);
    const V at_w = load(saved + kAtW * kTile);
    const V above_w = load(saved + kAboveW * kTile);
    const V below_h = load(saved + kBelowH * kTile);
    const V at_h = load(saved + kAtH * kTile);
    const V above_h = load(saved + kAboveH * kTile);
    const V raw_0 = load(saved + kRaw0 * kTile);
    const V raw_1 = load(saved + kRaw1 * kTile);
    Mask<T> here = equal(number, zero);
    over_bins<kBins>(0, bins, [&](int j) {
      const Mask<T> before = greater(number, broadcast(T(j)));
      const V factor_w = select(before, below_w, select(here, at_w, above_w));
      const V factor_h = select(before, below_h, select(here, at_h, above_h));
      store(d_rows + j * kTile, load(rows + j * kTile) * factor_w);
      store(d_rows + (bins + j) * kTile, load(rows + (bins + j) * kTile) * factor_h);
      if (j + 1 < bins) {
        const Mask<T> next = equal(number, broadcast(T(j + 1)));
        store(d_rows + (2 * bins + j) * kTile, select(here, raw_1, select(next, raw_0, zero)));
        here = next;
      }
    });
  }
};

}  // namespace onlineflows::ENGINE_ISA
