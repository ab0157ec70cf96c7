// Optimiser steps over flat arrays, in one pass over memory.
#pragma once

#include "kernels.hpp"
#include "vector.hpp"

namespace onlineflows::ENGINE_ISA {

// Calls `step` with vectors of the gradient and of the state; the last may be
// partly filled. `step` changes the state in place.
template <class T, int kArrays, class Step>
ENGINE_INLINE void for_vectors(std::int64_t n, const T* gradient, T* const (&state)[kArrays],
                               Step step) {
  std::int64_t i = 0;
  for (; i + kLanes<T> <= n; i += kLanes<T>) {
    Vector<T> v[kArrays];
    ENGINE_UNROLL
    for (int a = 0; a < kArrays; ++a) v[a] = load(state[a] + i);
    step(load(gradient + i), v);
    ENGINE_UNROLL
    for (int a = 0; a < kArrays; ++a) store(state[a] + i, v[a]);
  }
  if (i == n) return;
  const int rest = int(n - i);
  Vector<T> v[kArrays];
  ENGINE_UNROLL
  for (int a = 0; a < kArrays; ++a) v[a] = load_first(state[a] + i, rest);
  step(load_first(gradient + i, rest), v);
  ENGINE_UNROLL
  for (int a = 0; a < kArrays; ++a) store_first(state[a] + i, rest, v[a]);
}

// Schedule-free AdamW (Defazio et al. 2024, 2405.15682, algorithm 1) at the training point y:
//   v += (1 - b2) (g^2 - v)                  u = g / (sqrt(v / (1 - b2^t)) + eps) + decay y
//   y += c (z - y) + rate (b1 (1 - c) - 1) u      z -= rate u
template <class T>
void schedule_free_step(std::int64_t n, const OptimiserStep& s, const T* gradient, T* y, T* z,
                        T* v) {
  const Vector<T> beta = broadcast(T(s.beta_2));
  const Vector<T> rest = broadcast(T(1 - s.beta_2));
  const Vector<T> correction = broadcast(T(1 / s.correction_2));
  const Vector<T> epsilon = broadcast(T(s.epsilon));
  const Vector<T> decay = broadcast(T(s.weight_decay));
  const Vector<T> share = broadcast(T(s.average_weight));
  const Vector<T> on_y = broadcast(T(s.learning_rate * (s.beta_1 * (1 - s.average_weight) - 1)));
  const Vector<T> on_z = broadcast(T(-s.learning_rate));
  enum { kY, kZ, kV };
  for_vectors<T>(n, gradient, {y, z, v}, [&](Vector<T> g, Vector<T>(&state)[3]) {
    state[kV] = fma(rest * g, g, beta * state[kV]);
    const Vector<T> scaled = g / (square_root(state[kV] * correction) + epsilon);
    const Vector<T> update = fma(decay, state[kY], scaled);
    state[kY] = fma(on_y, update, fma(share, state[kZ] - state[kY], state[kY]));
    state[kZ] = fma(on_z, update, state[kZ]);
  });
}

// Adam (Kingma & Ba 2014, 1412.6980) with decoupled weight decay (1711.05101).
template <class T>
void adam_step(std::int64_t n, const OptimiserStep& s, const T* gradient, T* theta, T* m, T* v) {
  const Vector<T> beta_1 = broadcast(T(s.beta_1));
  const Vector<T> rest_1 = broadcast(T(1 - s.beta_1));
  const Vector<T> beta_2 = broadcast(T(s.beta_2));
  const Vector<T> rest_2 = broadcast(T(1 - s.beta_2));
  const Vector<T> correction = broadcast(T(1 / s.correction_2));
  const Vector<T> epsilon = broadcast(T(s.epsilon));
  const Vector<T> keep = broadcast(T(1 - s.learning_rate * s.weight_decay));
  const Vector<T> rate = broadcast(T(-s.learning_rate / s.correction_1));
  enum { kTheta, kM, kV };
  for_vectors<T>(n, gradient, {theta, m, v}, [&](Vector<T> g, Vector<T>(&state)[3]) {
    state[kM] = fma(rest_1, g, beta_1 * state[kM]);
    state[kV] = fma(rest_2 * g, g, beta_2 * state[kV]);
    const Vector<T> root = square_root(state[kV] * correction) + epsilon;
    state[kTheta] = fma(rate, state[kM] / root, state[kTheta] * keep);
  });
}

}  // namespace onlineflows::ENGINE_ISA
