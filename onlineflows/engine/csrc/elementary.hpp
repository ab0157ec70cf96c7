// exp and log of vectors, and the soft clamp that bounds every parameter of a transform.
//
// Neither handles overflow, zero or negative arguments: exp is only taken of soft-clamped numbers,
// |a| <= log(1000), and log of derivatives that the clamp keeps between about 1e-9 and 1e9.
#pragma once

#include "vector.hpp"

namespace onlineflows::ENGINE_ISA {

#if defined(__GNUC__) && !defined(ENGINE_PLAIN_ARRAYS)

// exp(a) = 2^n exp(r), n = round(a / ln 2). Adding 1.5 * 2^(mantissa bits) rounds to an integer,
// which the low bits of the sum then hold. Polynomials: float after Cephes (Moshier); double Taylor
// (|r| <= 0.3466: the first omitted term is below 2e-16).
ENGINE_INLINE Vector<float> exp(Vector<float> a) {
  using Bits = Lanes<float>::Bits;
  const Vector<float> magic = broadcast(12582912.0F);
  const Vector<float> shifted = fma(a, broadcast(1.44269504088896341F), magic);
  const Vector<float> n = shifted - magic;
  Vector<float> r = fma(n, broadcast(-0.693359375F), a);
  r = fma(n, broadcast(2.12194440e-4F), r);
  Vector<float> p = broadcast(1.3981999507e-3F);
  p = fma(p, r, broadcast(8.3334519073e-3F));
  p = fma(p, r, broadcast(4.1665795894e-2F));
  p = fma(p, r, broadcast(1.6666665459e-1F));
  p = fma(p, r, broadcast(5.0000001201e-1F));
  p = fma(p, r, broadcast(1.0F));
  p = fma(p, r, broadcast(1.0F));
  return (Vector<float>)((Bits)p + ((Bits)shifted << 23));
}

ENGINE_INLINE Vector<double> exp(Vector<double> a) {
  using Bits = Lanes<double>::Bits;
  const Vector<double> magic = broadcast(6755399441055744.0);
  const Vector<double> shifted = fma(a, broadcast(1.4426950408889634), magic);
  const Vector<double> n = shifted - magic;
  Vector<double> r = fma(n, broadcast(-6.93145751953125e-1), a);
  r = fma(n, broadcast(-1.42860682030941723212e-6), r);
  Vector<double> p = broadcast(1.0 / 479001600);
  constexpr double kFactorials[] = {39916800, 3628800, 362880, 40320, 5040, 720, 120, 24, 6, 2, 1};
  ENGINE_UNROLL
  for (int i = 0; i < 11; ++i) p = fma(p, r, broadcast(1.0 / kFactorials[i]));
  p = fma(p, r, broadcast(1.0));
  return (Vector<double>)((Bits)p + ((Bits)shifted << 52));
}

// log(a) = n ln 2 + log(m), m in [sqrt(1/2), sqrt(2)). Float: Cephes; double: the series of
// log((1 + s) / (1 - s)) in s = (m - 1) / (m + 1), |s| < 0.172.
ENGINE_INLINE Vector<float> log(Vector<float> a) {
  using Bits = Lanes<float>::Bits;
  constexpr int kRootHalf = 0x3f3504f3;
  const Bits exponent = ((Bits)a - kRootHalf) >> 23;
  const Vector<float> m = (Vector<float>)((Bits)a - (exponent << 23));
  const Vector<float> n = (Vector<float>)(exponent + 0x4b400000) - broadcast(12582912.0F);
  const Vector<float> r = m - broadcast(1.0F);
  const Vector<float> z = r * r;
  constexpr float kCoefficients[] = {-1.1514610310e-1F, 1.1676998740e-1F,  -1.2420140846e-1F,
                                     1.4249322787e-1F,  -1.6668057665e-1F, 2.0000714765e-1F,
                                     -2.4999993993e-1F, 3.3333331174e-1F};
  Vector<float> p = broadcast(7.0376836292e-2F);
  ENGINE_UNROLL
  for (int i = 0; i < 8; ++i) p = fma(p, r, broadcast(kCoefficients[i]));
  p = p * r * z;
  p = fma(n, broadcast(-2.12194440e-4F), p);
  p = fma(z, broadcast(-0.5F), p) + r;
  return fma(n, broadcast(0.693359375F), p);
}

ENGINE_INLINE Vector<double> log(Vector<double> a) {
  using Bits = Lanes<double>::Bits;
  constexpr long long kRootHalf = 0x3fe6a09e667f3bcdLL;
  const Bits exponent = ((Bits)a - kRootHalf) >> 52;
  const Vector<double> m = (Vector<double>)((Bits)a - (exponent << 52));
  const Vector<double> n =
      (Vector<double>)(exponent + 0x4338000000000000LL) - broadcast(6755399441055744.0);
  const Vector<double> s = (m - broadcast(1.0)) / (m + broadcast(1.0));
  const Vector<double> z = s * s;
  Vector<double> p = broadcast(1.0 / 23);
  ENGINE_UNROLL
  for (int i = 10; i >= 1; --i) p = fma(p, z, broadcast(1.0 / (2 * i + 1)));
  const Vector<double> twice = s + s;
  const Vector<double> tail = fma(n, broadcast(1.90821492927058770002e-10), twice * z * p);
  return fma(n, broadcast(6.93147180369123816490e-1), twice + tail);
}

#else

template <class T>
ENGINE_INLINE Plain<T> exp(Plain<T> a) {
  return lanewise<T>([&](int i) { return std::exp(a[i]); });
}
template <class T>
ENGINE_INLINE Plain<T> log(Plain<T> a) {
  return lanewise<T>([&](int i) { return std::log(a[i]); });
}

#endif

// a / (1 + |a| / limit), which stays inside (-limit, limit). Its derivative is the square of
// `shrink`.
template <class T>
struct SoftClamp {
  Vector<T> value;
  Vector<T> shrink;
};

template <class T>
ENGINE_INLINE SoftClamp<T> soft_clamp(Vector<T> a, T inverse_limit) {
  const Vector<T> shrink =
      reciprocal(fma(absolute(a), broadcast(inverse_limit), broadcast(T(1))));
  return {a * shrink, shrink};
}

// The smallest slope of a transform is 1e-3 (zuko's convention): log-derivatives are clamped to
// +-log(1000), widths and heights (before the softmax) to half of it.
template <class T>
inline constexpr T kInverseLogSlope = T(1 / 6.907755278982137);

}  // namespace onlineflows::ENGINE_ISA
