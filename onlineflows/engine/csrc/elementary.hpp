// exp and log of vectors, and the soft clamp that bounds every parameter of a transform.
//
// Neither handles overflow, zero or negative arguments: exp is only taken of soft-clamped numbers,
// |a| <= log(1000), and log of derivatives that the clamp keeps between about 1e-9 and 1e9.
#pragma once

#include "vector.hpp"

namespace onlineflows::ENGINE_ISA {

// The smallest slope of a transform is 1e-3 (zuko's convention): log-derivatives are clamped to
// +-log(1000), widths and heights (before the softmax) to half of it.
template <class T>
inline constexpr T kInverseLogSlope = T(1 / 6.907755278982137);

// How exact a transform must be. Beside bfloat16 products, whose operands carry errors of 2^-9,
// `rough` saves a third of a spline: its exponentials are good to 2^-13.
enum class Accuracy { full, rough };

#if defined(__GNUC__) && !defined(ENGINE_PLAIN_ARRAYS)

// Adding 1.5 * 2^(mantissa bits) rounds to an integer, which the low bits of the sum then hold.
template <class T>
inline constexpr T kRounder = sizeof(T) == 4 ? T(12582912.0) : T(6755399441055744.0);
template <class T>
inline constexpr int kMantissaBits = sizeof(T) == 4 ? 23 : 52;

// p 2^n, n the integer that `shifted` holds.
template <class T>
ENGINE_INLINE Vector<T> scale_by_power(Vector<T> p, Vector<T> shifted) {
  using Bits = typename Lanes<T>::Bits;
  return (Vector<T>)((Bits)p + ((Bits)shifted << kMantissaBits<T>));
}

template <class T, int n>
ENGINE_INLINE Vector<T> polynomial(Vector<T> x, const T (&highest_first)[n]) {
  Vector<T> p = broadcast(highest_first[0]);
  ENGINE_UNROLL
  for (int i = 1; i < n; ++i) p = fma(p, x, broadcast(highest_first[i]));
  return p;
}

// 2^a, to 2^-23 or, rough, 2^-13: minimax polynomials of the fraction (our own fit).
template <Accuracy kAccuracy>
ENGINE_INLINE Vector<float> power_of_two(Vector<float> a, Vector<float> b) {
  constexpr float kFull[] = {1.3276471782e-3F, 9.6755413328e-3F, 5.5507132741e-2F,
                             2.4022119724e-1F, 6.9314696706e-1F, 1.0000000717F};
  constexpr float kRough[] = {5.5171667220e-2F, 2.4261112205e-1F, 6.9326098580e-1F,
                              9.9992807356e-1F};
  const Vector<float> rounder = broadcast(kRounder<float>);
  const Vector<float> shifted = fma(a, b, rounder);
  const Vector<float> fraction = fma(a, b, rounder - shifted);
  if constexpr (kAccuracy == Accuracy::rough) {
    return scale_by_power<float>(polynomial(fraction, kRough), shifted);
  } else {
    return scale_by_power<float>(polynomial(fraction, kFull), shifted);
  }
}

// exp(a) = 2^n exp(r), n = round(a / ln 2).
ENGINE_INLINE Vector<float> exp(Vector<float> a) {
  return power_of_two<Accuracy::full>(a, broadcast(1.44269504088896341F));
}

// Taylor: |r| <= 0.3466, so that the first omitted term is below 2e-16.
ENGINE_INLINE Vector<double> exp(Vector<double> a) {
  constexpr double kInverseFactorials[] = {1.0 / 479001600,
                                           1.0 / 39916800,
                                           1.0 / 3628800,
                                           1.0 / 362880,
                                           1.0 / 40320,
                                           1.0 / 5040,
                                           1.0 / 720,
                                           1.0 / 120,
                                           1.0 / 24,
                                           1.0 / 6,
                                           0.5,
                                           1.0,
                                           1.0};
  const Vector<double> rounder = broadcast(kRounder<double>);
  const Vector<double> shifted = fma(a, broadcast(1.4426950408889634), rounder);
  const Vector<double> n = shifted - rounder;
  Vector<double> r = fma(n, broadcast(-6.93145751953125e-1), a);
  r = fma(n, broadcast(-1.42860682030941723212e-6), r);
  return scale_by_power<double>(polynomial(r, kInverseFactorials), shifted);
}

// log(a) = n ln 2 + log(m), m in [sqrt(1/2), sqrt(2)). Float after Cephes (Moshier).
ENGINE_INLINE Vector<float> log(Vector<float> a) {
  using Bits = Lanes<float>::Bits;
  constexpr int kRootHalf = 0x3f3504f3;
  constexpr float kCoefficients[] = {7.0376836292e-2F,  -1.1514610310e-1F, 1.1676998740e-1F,
                                     -1.2420140846e-1F, 1.4249322787e-1F,  -1.6668057665e-1F,
                                     2.0000714765e-1F,  -2.4999993993e-1F, 3.3333331174e-1F};
  const Bits exponent = ((Bits)a - kRootHalf) >> 23;
  const Vector<float> m = (Vector<float>)((Bits)a - (exponent << 23));
  const Vector<float> n = (Vector<float>)(exponent + 0x4b400000) - broadcast(kRounder<float>);
  const Vector<float> r = m - broadcast(1.0F);
  const Vector<float> z = r * r;
  Vector<float> p = polynomial(r, kCoefficients) * r * z;
  p = fma(n, broadcast(-2.12194440e-4F), p);
  p = fma(z, broadcast(-0.5F), p) + r;
  return fma(n, broadcast(0.693359375F), p);
}

// The series of log((1 + s) / (1 - s)) in s = (m - 1) / (m + 1), |s| < 0.172.
ENGINE_INLINE Vector<double> log(Vector<double> a) {
  using Bits = Lanes<double>::Bits;
  constexpr long long kRootHalf = 0x3fe6a09e667f3bcdLL;
  constexpr double kSeries[] = {1.0 / 23, 1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13,
                                1.0 / 11, 1.0 / 9,  1.0 / 7,  1.0 / 5,  1.0 / 3};
  const Bits exponent = ((Bits)a - kRootHalf) >> 52;
  const Vector<double> m = (Vector<double>)((Bits)a - (exponent << 52));
  const Vector<double> n =
      (Vector<double>)(exponent + 0x4338000000000000LL) - broadcast(kRounder<double>);
  const Vector<double> s = (m - broadcast(1.0)) / (m + broadcast(1.0));
  const Vector<double> z = s * s;
  const Vector<double> twice = s + s;
  const Vector<double> tail =
      fma(n, broadcast(1.90821492927058770002e-10), twice * z * polynomial(z, kSeries));
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
template <Accuracy>
ENGINE_INLINE Plain<float> power_of_two(Plain<float> a, Plain<float> b) {
  return lanewise<float>([&](int i) { return std::exp2(a[i] * b[i]); });
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
  const Vector<T> shrink = reciprocal(fma(absolute(a), broadcast(inverse_limit), broadcast(T(1))));
  return {a * shrink, shrink};
}

// exp of the soft clamp of a, and `root` with d value / da = value root^2 / kRootUnit^2.
template <class T>
struct ClampedExp {
  Vector<T> value;
  Vector<T> root;
};

// The float's root carries log2(e), which spares a multiplication.
template <class T>
inline constexpr T kRootUnit = sizeof(T) == 4 ? T(1.44269504088896341) : T(1);

template <Accuracy kAccuracy>
ENGINE_INLINE ClampedExp<float> clamped_exp(Vector<float> a, float inverse_limit) {
  constexpr float kLogTwo = 0.69314718056F;
  const Vector<float> d = fma(absolute(a), broadcast(kLogTwo * inverse_limit), broadcast(kLogTwo));
  Vector<float> root;
  if constexpr (kAccuracy == Accuracy::rough) {
    root = reciprocal_estimate(d);
  } else {
    root = reciprocal(d);
  }
  return {power_of_two<kAccuracy>(a, root), root};
}

template <Accuracy>
ENGINE_INLINE ClampedExp<double> clamped_exp(Vector<double> a, double inverse_limit) {
  const auto clamped = soft_clamp<double>(a, inverse_limit);
  return {exp(clamped.value), clamped.shrink};
}

}  // namespace onlineflows::ENGINE_ISA
