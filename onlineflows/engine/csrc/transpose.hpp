// Transposition of activations: events first, as weight gradients need them.
#pragma once

#include "vector.hpp"

namespace onlineflows::ENGINE_ISA {

// A square of side x side numbers, from rows of distance from_stride to rows of to_stride.
template <class T>
struct Square {
  static constexpr int side = 4;
  static ENGINE_INLINE void transpose(const T* from, long from_stride, T* to, long to_stride) {
    for (int i = 0; i < side; ++i) {
      for (int j = 0; j < side; ++j) to[j * to_stride + i] = from[i * from_stride + j];
    }
  }
};

#if defined(ENGINE_USE_AVX512)

ENGINE_INLINE void transpose_16(const float* from, long from_stride, float* to, long to_stride) {
  __m512 r[16];
  __m512 t[16];
  ENGINE_UNROLL
  for (int i = 0; i < 16; ++i) r[i] = load(from + i * from_stride);
  ENGINE_UNROLL
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  ENGINE_UNROLL
  for (int i = 0; i < 4; ++i) {
    const __m512d a = _mm512_castps_pd(t[4 * i]);
    const __m512d b = _mm512_castps_pd(t[4 * i + 1]);
    const __m512d c = _mm512_castps_pd(t[4 * i + 2]);
    const __m512d d = _mm512_castps_pd(t[4 * i + 3]);
    r[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
    r[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
    r[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
    r[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
  }
  ENGINE_UNROLL
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
  }
  ENGINE_UNROLL
  for (int i = 0; i < 4; ++i) {
    store(to + i * to_stride, _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88));
    store(to + (i + 8) * to_stride, _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd));
    store(to + (i + 4) * to_stride, _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88));
    store(to + (i + 12) * to_stride, _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd));
  }
}

template <>
struct Square<float> {
  static constexpr int side = 16;
  static ENGINE_INLINE void transpose(const float* from, long from_stride, float* to,
                                      long to_stride) {
    transpose_16(from, from_stride, to, to_stride);
  }
};

#elif defined(ENGINE_USE_AVX2)

ENGINE_INLINE void transpose_8(const float* from, long from_stride, float* to, long to_stride) {
  __m256 r[8];
  __m256 t[8];
  ENGINE_UNROLL
  for (int i = 0; i < 8; ++i) r[i] = load(from + i * from_stride);
  ENGINE_UNROLL
  for (int i = 0; i < 4; ++i) {
    t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  ENGINE_UNROLL
  for (int i = 0; i < 2; ++i) {
    r[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
    r[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
    r[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
    r[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
  }
  ENGINE_UNROLL
  for (int i = 0; i < 4; ++i) {
    store(to + i * to_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    store(to + (i + 4) * to_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}

template <>
struct Square<float> {
  static constexpr int side = 8;
  static ENGINE_INLINE void transpose(const float* from, long from_stride, float* to,
                                      long to_stride) {
    transpose_8(from, from_stride, to, to_stride);
  }
};

#endif

// to (columns, to_stride) = transpose of from (rows, columns), both of elements as wide as a T.
// Rows are read, and written, up to a multiple of kPadding: panels have that many.
template <class T>
void transpose(const T* from, int rows, int columns, T* to, long to_stride) {
  constexpr int kSide = Square<T>::side;
  for (int row = 0; row < rows; row += kSide) {
    for (int column = 0; column < columns; column += kSide) {
      Square<T>::transpose(from + long(row) * columns + column, columns,
                           to + column * to_stride + row, to_stride);
    }
  }
}

}  // namespace onlineflows::ENGINE_ISA
