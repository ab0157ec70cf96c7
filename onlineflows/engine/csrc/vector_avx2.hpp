// AVX2 with FMA: 8 floats or 4 doubles, comparisons into vectors.
#pragma once

#include <immintrin.h>

#include "config.hpp"

namespace onlineflows::ENGINE_ISA {

template <class T>
struct Lanes;
template <>
struct Lanes<float> {
  using Vector = __m256;
  using Mask = __m256;
  typedef int Bits __attribute__((vector_size(32)));
  static constexpr int count = 8;
};
template <>
struct Lanes<double> {
  using Vector = __m256d;
  using Mask = __m256d;
  typedef long long Bits __attribute__((vector_size(32)));
  static constexpr int count = 4;
};

// 16 registers: 6 rows x 2 columns of accumulators leave room for the operands.
inline constexpr int kColumns = 2;
inline constexpr int kAccumulators = 12;

ENGINE_INLINE __m256 load(const float* p) { return _mm256_loadu_ps(p); }
ENGINE_INLINE __m256d load(const double* p) { return _mm256_loadu_pd(p); }
ENGINE_INLINE void store(float* p, __m256 v) { _mm256_storeu_ps(p, v); }
ENGINE_INLINE void store(double* p, __m256d v) { _mm256_storeu_pd(p, v); }
// The first n lanes; others load as zero and aren't stored.
ENGINE_INLINE __m256i first_lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
ENGINE_INLINE __m256 load_first(const float* p, int n) {
  return _mm256_maskload_ps(p, first_lanes(n));
}
ENGINE_INLINE __m256d load_first(const double* p, int n) {
  return _mm256_maskload_pd(p, _mm256_cvtepi32_epi64(_mm256_castsi256_si128(first_lanes(n))));
}
ENGINE_INLINE void store_first(float* p, int n, __m256 v) {
  _mm256_maskstore_ps(p, first_lanes(n), v);
}
ENGINE_INLINE void store_first(double* p, int n, __m256d v) {
  const __m256i lanes = _mm256_cvtepi32_epi64(_mm256_castsi256_si128(first_lanes(n)));
  _mm256_maskstore_pd(p, lanes, v);
}
ENGINE_INLINE __m256 broadcast(float a) { return _mm256_set1_ps(a); }
ENGINE_INLINE __m256d broadcast(double a) { return _mm256_set1_pd(a); }

ENGINE_INLINE __m256 fma(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }
ENGINE_INLINE __m256d fma(__m256d a, __m256d b, __m256d c) { return _mm256_fmadd_pd(a, b, c); }
ENGINE_INLINE __m256 absolute(__m256 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), a); }
ENGINE_INLINE __m256d absolute(__m256d a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
ENGINE_INLINE __m256 square_root(__m256 a) { return _mm256_sqrt_ps(a); }
ENGINE_INLINE __m256d square_root(__m256d a) { return _mm256_sqrt_pd(a); }

// The estimate has 12 bits; one Newton step doubles them.
ENGINE_INLINE __m256 reciprocal_estimate(__m256 a) { return _mm256_rcp_ps(a); }
ENGINE_INLINE __m256 reciprocal(__m256 a) {
  const __m256 r = reciprocal_estimate(a);
  return _mm256_mul_ps(r, _mm256_fnmadd_ps(a, r, _mm256_set1_ps(2.0F)));
}
ENGINE_INLINE __m256d reciprocal(__m256d a) { return _mm256_set1_pd(1.0) / a; }

ENGINE_INLINE float sum_of_lanes(__m256 a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(s) + _mm_cvtss_f32(_mm_movehdup_ps(s));
}
ENGINE_INLINE double sum_of_lanes(__m256d a) {
  const __m128d s = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
  return _mm_cvtsd_f64(s) + _mm_cvtsd_f64(_mm_unpackhi_pd(s, s));
}

ENGINE_INLINE __m256 positive_part(__m256 a) { return _mm256_max_ps(a, _mm256_setzero_ps()); }
ENGINE_INLINE __m256d positive_part(__m256d a) { return _mm256_max_pd(a, _mm256_setzero_pd()); }

ENGINE_INLINE __m256 greater(__m256 a, __m256 b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
ENGINE_INLINE __m256d greater(__m256d a, __m256d b) { return _mm256_cmp_pd(a, b, _CMP_GT_OQ); }
ENGINE_INLINE __m256 equal(__m256 a, __m256 b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
ENGINE_INLINE __m256d equal(__m256d a, __m256d b) { return _mm256_cmp_pd(a, b, _CMP_EQ_OQ); }
ENGINE_INLINE __m256 less_equal(__m256 a, __m256 b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
ENGINE_INLINE __m256d less_equal(__m256d a, __m256d b) { return _mm256_cmp_pd(a, b, _CMP_LE_OQ); }
ENGINE_INLINE __m256 both(__m256 a, __m256 b) { return _mm256_and_ps(a, b); }
ENGINE_INLINE __m256d both(__m256d a, __m256d b) { return _mm256_and_pd(a, b); }
ENGINE_INLINE __m256 select(__m256 m, __m256 a, __m256 b) { return _mm256_blendv_ps(b, a, m); }
ENGINE_INLINE __m256d select(__m256d m, __m256d a, __m256d b) { return _mm256_blendv_pd(b, a, m); }

}  // namespace onlineflows::ENGINE_ISA
