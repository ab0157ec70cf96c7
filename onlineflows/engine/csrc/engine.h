/* The C interface of the engine: what Python calls through ctypes.
 *
 * A plain C interface because it doesn't depend on Python's version (one wheel for each platform),
 * needs nothing to build but a C++ compiler, and lets a small C++ program run the same entry
 * points under the sanitizers.
 *
 * Every array is dense and row-major and belongs to the caller. Functions that can fail return 0,
 * or -1 with a message in engine_error() of the same thread.
 */
#ifndef ONLINEFLOWS_ENGINE_H
#define ONLINEFLOWS_ENGINE_H

#include <stdint.h>

#if defined(_WIN32)
#define ENGINE_API __declspec(dllexport)
#elif defined(__GNUC__)
#define ENGINE_API __attribute__((visibility("default")))
#else
#define ENGINE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct engine engine;

/* What the caller compares before anything else. */
#define ENGINE_INTERFACE 1
ENGINE_API int32_t engine_interface(void);

ENGINE_API const char* engine_error(void);
/* The instruction set in use ("portable", "avx2", "avx512", "avx512_bf16"), and all that this
 * processor has, separated by spaces. */
ENGINE_API const char* engine_isa(void);
ENGINE_API const char* engine_available_isas(void);
ENGINE_API int32_t engine_has_bfloat16(void);

/* A flow from `n` integers: n_features, n_context, transform (0 affine, 1 spline), bins, n_blocks;
 * then for each block n_inputs, n_targets, hidden_1, hidden_2 and the lists inputs, targets,
 * fan_in_1, fan_in_2, fan_in_out, all ascending but the first two. Null on failure. */
ENGINE_API engine* engine_new(const int32_t* spec, int64_t n, double bound);
ENGINE_API void engine_free(engine*);
/* Length of theta. */
ENGINE_API int64_t engine_n_parameters(engine*);

typedef struct {
  int32_t threads;
  int32_t bfloat16;      /* products of gradients in bfloat16 (float32 only; ignored without) */
  int32_t deterministic; /* the same bits for any number of threads */
} engine_options;

/* Events (n, n_features) with their context (n, n_context) or null and weights (n,) or null. */
#define ENGINE_BATCH(T) const T *theta, const T *x, const T *context, const T *weight, int64_t n

/* NLL of each event, and the gradient of sum(weight nll) / n with respect to theta. Events of
 * weight 0 are left out, and their NLL is 0. For several thetas (n_theta, p) over the same events:
 * weight (n_theta, n), nll and gradient likewise. */
ENGINE_API int32_t engine_gradient_f32(engine*, ENGINE_BATCH(float), int64_t n_theta, float* nll,
                                       float* gradient, const engine_options*);
ENGINE_API int32_t engine_gradient_f64(engine*, ENGINE_BATCH(double), int64_t n_theta, double* nll,
                                       double* gradient, const engine_options*);

/* z and log |dz/dx| feature by feature, both (n, n_features). */
ENGINE_API int32_t engine_forward_f32(engine*, const float* theta, const float* x,
                                      const float* context, int64_t n, float* z, float* log_abs_det,
                                      const engine_options*);
ENGINE_API int32_t engine_forward_f64(engine*, const double* theta, const double* x,
                                      const double* context, int64_t n, double* z,
                                      double* log_abs_det, const engine_options*);

/* The x whose image is z. */
ENGINE_API int32_t engine_inverse_f32(engine*, const float* theta, const float* z,
                                      const float* context, int64_t n, float* x,
                                      const engine_options*);
ENGINE_API int32_t engine_inverse_f64(engine*, const double* theta, const double* z,
                                      const double* context, int64_t n, double* x,
                                      const engine_options*);

/* Optimiser steps in place; `step` holds learning_rate, beta_1, beta_2, 1 - beta_1^t,
 * 1 - beta_2^t, epsilon, weight_decay, and the share of the newest point in the average. */
ENGINE_API void engine_schedule_free_f32(int64_t n, const double* step, const float* gradient,
                                         float* y, float* z, float* v);
ENGINE_API void engine_schedule_free_f64(int64_t n, const double* step, const double* gradient,
                                         double* y, double* z, double* v);
ENGINE_API void engine_adam_f32(int64_t n, const double* step, const float* gradient, float* theta,
                                float* m, float* v);
ENGINE_API void engine_adam_f64(int64_t n, const double* step, const double* gradient,
                                double* theta, double* m, double* v);

#ifdef __cplusplus
}
#endif

#endif
