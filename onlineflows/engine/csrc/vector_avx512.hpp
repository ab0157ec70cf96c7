// AVX-512 (F, VL, BW, DQ): 16 floats or 8 doubles, comparisons into mask registers.
#pragma once

#include <immintrin.h>

#include "config.hpp"

namespace onlineflows::ENGINE_ISA {

template <class T>
struct Lanes;
template <>
struct Lanes<float> {
  using Vector = __m512;
  using Mask = __mmask16;
  typedef int Bits __attribute__((vector_size(64)));
  static constexpr int count = 16;
};
template <>
struct Lanes<double> {
  using Vector = __m512d;
  using Mask = __mmask8;
  typedef long long Bits __attribute__((vector_size(64)));
  static constexpr int count = 8;
};

// 32 registers: 6 rows x 4 columns of accumulators leave room for the operands.
inline constexpr int kColumns = 4;
inline constexpr int kAccumulators = 24;

ENGINE_INLINE __m512 load(const float* p) { return _mm512_loadu_ps(p); }
ENGINE_INLINE __m512d load(const double* p) { return _mm512_loadu_pd(p); }
ENGINE_INLINE void store(float* p, __m512 v) { _mm512_storeu_ps(p, v); }
ENGINE_INLINE void store(double* p, __m512d v) { _mm512_storeu_pd(p, v); }
// The first n lanes; others load as zero and aren't stored.
ENGINE_INLINE __m512 load_first(const float* p, int n) {
  return _mm512_maskz_loadu_ps(__mmask16((1U << n) - 1), p);
}
ENGINE_INLINE __m512d load_first(const double* p, int n) {
  return _mm512_maskz_loadu_pd(__mmask8((1U << n) - 1), p);
}
ENGINE_INLINE void store_first(float* p, int n, __m512 v) {
  _mm512_mask_storeu_ps(p, __mmask16((1U << n) - 1), v);
}
ENGINE_INLINE void store_first(double* p, int n, __m512d v) {
  _mm512_mask_storeu_pd(p, __mmask8((1U << n) - 1), v);
}
ENGINE_INLINE __m512 broadcast(float a) { return _mm512_set1_ps(a); }
ENGINE_INLINE __m512d broadcast(double a) { return _mm512_set1_pd(a); }

ENGINE_INLINE __m512 fma(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
ENGINE_INLINE __m512d fma(__m512d a, __m512d b, __m512d c) { return _mm512_fmadd_pd(a, b, c); }
ENGINE_INLINE __m512 absolute(__m512 a) { return _mm512_abs_ps(a); }
ENGINE_INLINE __m512d absolute(__m512d a) { return _mm512_abs_pd(a); }
ENGINE_INLINE __m512 square_root(__m512 a) { return _mm512_sqrt_ps(a); }
ENGINE_INLINE __m512d square_root(__m512d a) { return _mm512_sqrt_pd(a); }

// The estimate has 14 bits; one Newton step doubles them.
ENGINE_INLINE __m512 reciprocal_estimate(__m512 a) { return _mm512_rcp14_ps(a); }
ENGINE_INLINE __m512 reciprocal(__m512 a) {
  const __m512 r = reciprocal_estimate(a);
  return _mm512_mul_ps(r, _mm512_fnmadd_ps(a, r, _mm512_set1_ps(2.0F)));
}
ENGINE_INLINE __m512d reciprocal(__m512d a) { return _mm512_set1_pd(1.0) / a; }

ENGINE_INLINE float sum_of_lanes(__m512 a) { return _mm512_reduce_add_ps(a); }
ENGINE_INLINE double sum_of_lanes(__m512d a) { return _mm512_reduce_add_pd(a); }

ENGINE_INLINE __m512 positive_part(__m512 a) { return _mm512_max_ps(a, _mm512_setzero_ps()); }
ENGINE_INLINE __m512d positive_part(__m512d a) { return _mm512_max_pd(a, _mm512_setzero_pd()); }

ENGINE_INLINE __mmask16 greater(__m512 a, __m512 b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
ENGINE_INLINE __mmask8 greater(__m512d a, __m512d b) {
  return _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ);
}
ENGINE_INLINE __mmask16 equal(__m512 a, __m512 b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
ENGINE_INLINE __mmask8 equal(__m512d a, __m512d b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
ENGINE_INLINE __mmask16 less_equal(__m512 a, __m512 b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ);
}
ENGINE_INLINE __mmask8 less_equal(__m512d a, __m512d b) {
  return _mm512_cmp_pd_mask(a, b, _CMP_LE_OQ);
}
ENGINE_INLINE __mmask16 both(__mmask16 a, __mmask16 b) { return _kand_mask16(a, b); }
ENGINE_INLINE __mmask8 both(__mmask8 a, __mmask8 b) { return _kand_mask8(a, b); }
ENGINE_INLINE __m512 select(__mmask16 m, __m512 a, __m512 b) {
  return _mm512_mask_blend_ps(m, b, a);
}
ENGINE_INLINE __m512d select(__mmask8 m, __m512d a, __m512d b) {
  return _mm512_mask_blend_pd(m, b, a);
}

}  // namespace onlineflows::ENGINE_ISA
