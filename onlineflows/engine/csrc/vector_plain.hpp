// Plain arrays, for compilers without vector extensions: slow, standard C++, the same interface.
#pragma once

#include <cmath>

#include "config.hpp"

namespace onlineflows::ENGINE_ISA {

inline constexpr int kPlainLanes = 4;

template <class X>
struct Plain {
  X lane[kPlainLanes];
  X operator[](int i) const { return lane[i]; }
};

template <class T>
struct Lanes {
  using Vector = Plain<T>;
  using Mask = Plain<bool>;
  static constexpr int count = kPlainLanes;
};

inline constexpr int kColumns = 2;
inline constexpr int kAccumulators = 12;

template <class X, class F>
ENGINE_INLINE auto lanewise(F f) {
  Plain<X> r;
  for (int i = 0; i < kPlainLanes; ++i) r.lane[i] = f(i);
  return r;
}

template <class T>
ENGINE_INLINE Plain<T> operator+(Plain<T> a, Plain<T> b) {
  return lanewise<T>([&](int i) { return a[i] + b[i]; });
}
template <class T>
ENGINE_INLINE Plain<T> operator-(Plain<T> a, Plain<T> b) {
  return lanewise<T>([&](int i) { return a[i] - b[i]; });
}
template <class T>
ENGINE_INLINE Plain<T> operator-(Plain<T> a) {
  return lanewise<T>([&](int i) { return -a[i]; });
}
template <class T>
ENGINE_INLINE Plain<T> operator*(Plain<T> a, Plain<T> b) {
  return lanewise<T>([&](int i) { return a[i] * b[i]; });
}
template <class T>
ENGINE_INLINE Plain<T> operator/(Plain<T> a, Plain<T> b) {
  return lanewise<T>([&](int i) { return a[i] / b[i]; });
}

template <class T>
ENGINE_INLINE Plain<T> load(const T* p) {
  return lanewise<T>([&](int i) { return p[i]; });
}
template <class T>
ENGINE_INLINE void store(T* p, Plain<T> v) {
  for (int i = 0; i < kPlainLanes; ++i) p[i] = v[i];
}
template <class T>
ENGINE_INLINE Plain<T> load_first(const T* p, int n) {
  return lanewise<T>([&](int i) { return i < n ? p[i] : T(0); });
}
template <class T>
ENGINE_INLINE void store_first(T* p, int n, Plain<T> v) {
  for (int i = 0; i < n; ++i) p[i] = v[i];
}
template <class T>
ENGINE_INLINE Plain<T> broadcast(T a) {
  return lanewise<T>([&](int) { return a; });
}
template <class T>
ENGINE_INLINE Plain<T> fma(Plain<T> a, Plain<T> b, Plain<T> c) {
  return a * b + c;
}
template <class T>
ENGINE_INLINE Plain<T> absolute(Plain<T> a) {
  return lanewise<T>([&](int i) { return std::abs(a[i]); });
}
template <class T>
ENGINE_INLINE Plain<T> square_root(Plain<T> a) {
  return lanewise<T>([&](int i) { return std::sqrt(a[i]); });
}
template <class T>
ENGINE_INLINE Plain<T> reciprocal(Plain<T> a) {
  return lanewise<T>([&](int i) { return T(1) / a[i]; });
}
template <class T>
ENGINE_INLINE Plain<T> reciprocal_estimate(Plain<T> a) {
  return reciprocal(a);
}
template <class T>
ENGINE_INLINE T sum_of_lanes(Plain<T> a) {
  return (a[0] + a[2]) + (a[1] + a[3]);
}
template <class T>
ENGINE_INLINE Plain<T> positive_part(Plain<T> a) {
  return lanewise<T>([&](int i) { return a[i] > 0 ? a[i] : T(0); });
}
template <class T>
ENGINE_INLINE Plain<bool> greater(Plain<T> a, Plain<T> b) {
  return lanewise<bool>([&](int i) { return a[i] > b[i]; });
}
template <class T>
ENGINE_INLINE Plain<bool> equal(Plain<T> a, Plain<T> b) {
  return lanewise<bool>([&](int i) { return a[i] == b[i]; });
}
template <class T>
ENGINE_INLINE Plain<bool> less_equal(Plain<T> a, Plain<T> b) {
  return lanewise<bool>([&](int i) { return a[i] <= b[i]; });
}
ENGINE_INLINE Plain<bool> both(Plain<bool> a, Plain<bool> b) {
  return lanewise<bool>([&](int i) { return a[i] && b[i]; });
}
template <class T>
ENGINE_INLINE Plain<T> select(Plain<bool> m, Plain<T> a, Plain<T> b) {
  return lanewise<T>([&](int i) { return m[i] ? a[i] : b[i]; });
}

}  // namespace onlineflows::ENGINE_ISA
