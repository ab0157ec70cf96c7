// bfloat16 products accumulated in float32 (AVX512_BF16: vdpbf16ps multiplies two pairs and adds
// both products to one float32).
//
// Only gradients are computed this way: a bfloat16 has 8 bits of mantissa, enough for a noisy
// gradient, not for a likelihood.
#pragma once

#include "arithmetic.hpp"

namespace onlineflows::ENGINE_ISA {

// (a0 … a15 | b0 … b15) to (a0 b0 | a1 b1 | …).
ENGINE_INLINE __m512i interleave(__m512i halves) {
  const __m512i order =
      _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9,  //
                       24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, halves);
}

ENGINE_INLINE __m512i round_halves(__m512 low, __m512 high) {
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

struct Paired {
  using Real = float;
  using Element = std::uint32_t;
  static constexpr int kPer = 2;
  static constexpr Accuracy kAccuracy = Accuracy::rough;

  static Panel<Paired> panel(float* kept, float* passing) {
    return {reinterpret_cast<std::uint32_t*>(passing), reinterpret_cast<std::uint32_t*>(kept)};
  }
  static const std::uint32_t* forward_weights(const LayerPlan& layer, Packed<float> packed) {
    return packed.pairs + layer.pairs;
  }
  static const std::uint32_t* backward_weights(const LayerPlan& layer, Packed<float> packed) {
    return packed.pairs + layer.pairs + long(layer.n_rows / 2) * layer.leading;
  }

  static ENGINE_INLINE __m512i operand(const std::uint32_t* p) { return _mm512_loadu_si512(p); }
  static ENGINE_INLINE __m512i scalar(std::uint32_t a) { return _mm512_set1_epi32(int(a)); }
  static ENGINE_INLINE __m512 multiply_add(__m512i a, __m512i b, __m512 sum) {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
  }

  template <int M, int N>
  static ENGINE_INLINE void keep(Panel<Paired> to, int row, int event,
                                 const __m512 (&value)[M][N]) {
    static_assert(N % 2 == 0, "events go in pairs of vectors");
    if constexpr (M % 2 == 0) {  // the plan's blocks are; other kernels are never called
      ENGINE_UNROLL
      for (int m = 0; m < M; m += 2) {
        ENGINE_UNROLL
        for (int n = 0; n < N; ++n) {
          const __m512i pairs = interleave(round_halves(value[m][n], value[m + 1][n]));
          _mm512_storeu_si512(to.by_rows + (row + m) / 2 * kTile + event + n * 16, pairs);
        }
      }
    }
    ENGINE_UNROLL
    for (int m = 0; m < M; ++m) {
      ENGINE_UNROLL
      for (int n = 0; n < N; n += 2) {
        _mm512_storeu_si512(to.by_events + ((row + m) * kTile + event + n * 16) / 2,
                            round_halves(value[m][n], value[m][n + 1]));
      }
    }
  }

  template <int M, int N>
  static ENGINE_INLINE void gate(Panel<Paired> activation, int row, int event,
                                 __m512 (&value)[M][N]) {
    ENGINE_UNROLL
    for (int m = 0; m < M; ++m) {
      ENGINE_UNROLL
      for (int n = 0; n < N; n += 2) {
        const __m512i two =
            _mm512_loadu_si512(activation.by_events + ((row + m) * kTile + event + n * 16) / 2);
        const __mmask32 positive = _mm512_cmpgt_epi16_mask(two, _mm512_setzero_si512());
        value[m][n] = _mm512_maskz_mov_ps(__mmask16(positive), value[m][n]);
        value[m][n + 1] = _mm512_maskz_mov_ps(__mmask16(positive >> 16), value[m][n + 1]);
      }
    }
  }

  static float* rows_for(Panel<Paired>, int, float* scratch) { return scratch; }

  static ENGINE_INLINE void absorb(const float* rows, Panel<Paired> to, int first, int count,
                                   float* sums) {
    for (int row = 0; row < count; row += 2) {
      const float* a = rows + row * kTile;
      const float* b = a + kTile;
      __m512 sum_a = load(sums + row * kPadding);
      __m512 sum_b = load(sums + (row + 1) * kPadding);
      std::uint32_t* pairs = to.by_rows + (first + row) / 2 * kTile;
      std::uint32_t* events = to.by_events + (first + row) * (kTile / 2);
      ENGINE_UNROLL
      for (int event = 0; event < kTile; event += 32) {
        const __m512 a0 = load(a + event);
        const __m512 a1 = load(a + event + 16);
        const __m512 b0 = load(b + event);
        const __m512 b1 = load(b + event + 16);
        sum_a = sum_a + (a0 + a1);
        sum_b = sum_b + (b0 + b1);
        _mm512_storeu_si512(pairs + event, interleave(round_halves(a0, b0)));
        _mm512_storeu_si512(pairs + event + 16, interleave(round_halves(a1, b1)));
        _mm512_storeu_si512(events + event / 2, round_halves(a0, a1));
        _mm512_storeu_si512(events + (kTile + event) / 2, round_halves(b0, b1));
      }
      store(sums + row * kPadding, sum_a);
      store(sums + (row + 1) * kPadding, sum_b);
    }
  }
};

// bfloat16 forms of a layer's packed weights: rows of pairs of columns for the forward product,
// pairs of rows for the backward one.
inline void pack_pairs(const LayerPlan& layer, Packed<float> packed) {
  const float* weights = packed.numbers + layer.weights;
  std::uint32_t* forward = packed.pairs + layer.pairs;
  std::uint32_t* backward = forward + long(layer.n_rows / 2) * layer.leading;
  for (int row = 0; row < layer.n_rows; row += 2) {
    const float* a = weights + long(row) * layer.leading;
    const float* b = a + layer.leading;
    for (int column = 0; column < layer.leading; column += 16) {
      const __m512i halves = round_halves(load(a + column), load(b + column));
      const long at = (long(row) * layer.leading + column) / 2;
      _mm256_storeu_si256((__m256i*)(forward + at), _mm512_castsi512_si256(halves));
      _mm256_storeu_si256((__m256i*)(forward + at + layer.leading / 2),
                          _mm512_extracti64x4_epi64(halves, 1));
      _mm512_storeu_si512(backward + long(row / 2) * layer.leading + column, interleave(halves));
    }
  }
}

}  // namespace onlineflows::ENGINE_ISA
