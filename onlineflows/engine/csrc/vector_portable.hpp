// The vector extensions of GCC and clang at 128 bits: SSE2 on any x86-64, NEON on any ARM64.
#pragma once

#include <cmath>

#include "config.hpp"

namespace onlineflows::ENGINE_ISA {

template <class T>
struct Lanes;
template <>
struct Lanes<float> {
  typedef float Vector __attribute__((vector_size(16)));
  typedef int Bits __attribute__((vector_size(16)));
  typedef float Unaligned __attribute__((vector_size(16), aligned(4), may_alias));
  using Mask = Bits;
  static constexpr int count = 4;
};
template <>
struct Lanes<double> {
  typedef double Vector __attribute__((vector_size(16)));
  typedef long long Bits __attribute__((vector_size(16)));
  typedef double Unaligned __attribute__((vector_size(16), aligned(8), may_alias));
  using Mask = Bits;
  static constexpr int count = 2;
};

#if defined(__aarch64__)
inline constexpr int kColumns = 4;  // 32 registers
inline constexpr int kAccumulators = 24;
#else
inline constexpr int kColumns = 2;  // 16 registers
inline constexpr int kAccumulators = 12;
#endif

using Floats = Lanes<float>::Vector;
using Doubles = Lanes<double>::Vector;

ENGINE_INLINE Floats load(const float* p) {
  return *reinterpret_cast<const Lanes<float>::Unaligned*>(p);
}
ENGINE_INLINE Doubles load(const double* p) {
  return *reinterpret_cast<const Lanes<double>::Unaligned*>(p);
}
ENGINE_INLINE void store(float* p, Floats v) { *reinterpret_cast<Lanes<float>::Unaligned*>(p) = v; }
ENGINE_INLINE void store(double* p, Doubles v) {
  *reinterpret_cast<Lanes<double>::Unaligned*>(p) = v;
}
// The first n lanes; others load as zero and aren't stored.
ENGINE_INLINE Floats load_first(const float* p, int n) {
  Floats v{};
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
ENGINE_INLINE Doubles load_first(const double* p, int n) {
  Doubles v{};
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
ENGINE_INLINE void store_first(float* p, int n, Floats v) {
  for (int i = 0; i < n; ++i) p[i] = v[i];
}
ENGINE_INLINE void store_first(double* p, int n, Doubles v) {
  for (int i = 0; i < n; ++i) p[i] = v[i];
}
ENGINE_INLINE Floats broadcast(float a) { return Floats{a, a, a, a}; }
ENGINE_INLINE Doubles broadcast(double a) { return Doubles{a, a}; }

ENGINE_INLINE Floats fma(Floats a, Floats b, Floats c) { return a * b + c; }
ENGINE_INLINE Doubles fma(Doubles a, Doubles b, Doubles c) { return a * b + c; }
ENGINE_INLINE Floats absolute(Floats a) { return (Floats)((Lanes<float>::Bits)a & 0x7fffffff); }
ENGINE_INLINE Doubles absolute(Doubles a) {
  return (Doubles)((Lanes<double>::Bits)a & 0x7fffffffffffffffLL);
}
ENGINE_INLINE Floats square_root(Floats a) {
  return Floats{std::sqrt(a[0]), std::sqrt(a[1]), std::sqrt(a[2]), std::sqrt(a[3])};
}
ENGINE_INLINE Doubles square_root(Doubles a) { return Doubles{std::sqrt(a[0]), std::sqrt(a[1])}; }
ENGINE_INLINE Floats reciprocal(Floats a) { return 1.0F / a; }
ENGINE_INLINE Floats reciprocal_estimate(Floats a) { return 1.0F / a; }
ENGINE_INLINE Doubles reciprocal(Doubles a) { return 1.0 / a; }

ENGINE_INLINE float sum_of_lanes(Floats a) { return (a[0] + a[2]) + (a[1] + a[3]); }
ENGINE_INLINE double sum_of_lanes(Doubles a) { return a[0] + a[1]; }

ENGINE_INLINE Lanes<float>::Mask greater(Floats a, Floats b) { return a > b; }
ENGINE_INLINE Lanes<double>::Mask greater(Doubles a, Doubles b) { return a > b; }
ENGINE_INLINE Lanes<float>::Mask equal(Floats a, Floats b) { return a == b; }
ENGINE_INLINE Lanes<double>::Mask equal(Doubles a, Doubles b) { return a == b; }
ENGINE_INLINE Lanes<float>::Mask less_equal(Floats a, Floats b) { return a <= b; }
ENGINE_INLINE Lanes<double>::Mask less_equal(Doubles a, Doubles b) { return a <= b; }
ENGINE_INLINE Lanes<float>::Mask both(Lanes<float>::Mask a, Lanes<float>::Mask b) { return a & b; }
ENGINE_INLINE Lanes<double>::Mask both(Lanes<double>::Mask a, Lanes<double>::Mask b) {
  return a & b;
}
// Bitwise, because compilers agree on it; they turn it into a blend where there is one.
ENGINE_INLINE Floats select(Lanes<float>::Mask m, Floats a, Floats b) {
  return (Floats)(((Lanes<float>::Bits)a & m) | ((Lanes<float>::Bits)b & ~m));
}
ENGINE_INLINE Doubles select(Lanes<double>::Mask m, Doubles a, Doubles b) {
  return (Doubles)(((Lanes<double>::Bits)a & m) | ((Lanes<double>::Bits)b & ~m));
}
ENGINE_INLINE Floats positive_part(Floats a) { return select(a > 0, a, a * 0); }
ENGINE_INLINE Doubles positive_part(Doubles a) { return select(a > 0, a, a * 0); }

}  // namespace onlineflows::ENGINE_ISA
