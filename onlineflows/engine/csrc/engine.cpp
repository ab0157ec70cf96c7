#include "engine.h"

#include <exception>
#include <mutex>
#include <string>

#include "dispatch.hpp"
#include "program.hpp"

using onlineflows::BatchView;
using onlineflows::FlowDescription;
using onlineflows::instruction_set;
using onlineflows::InstructionSet;
using onlineflows::Kernels;
using onlineflows::OptimiserStep;
using onlineflows::Program;

// Programs are made when first needed: most flows are used in one precision only.
struct engine {
  explicit engine(FlowDescription description)
      : set(instruction_set()), flow(std::move(description)) {}

  Program<float>& float32() { return made(float32_, set.float32); }
  Program<double>& float64() { return made(float64_, set.float64); }
  Program<float>& bfloat16() { return made(bfloat16_, *set.bfloat16); }

  const InstructionSet& set;
  const FlowDescription flow;
  std::mutex mutex;  // one call at a time: programs own their workspace

 private:
  template <class T>
  Program<T>& made(std::unique_ptr<Program<T>>& program, const Kernels<T>& kernels) {
    if (!program) program = std::make_unique<Program<T>>(flow, kernels);
    return *program;
  }

  std::unique_ptr<Program<float>> float32_;
  std::unique_ptr<Program<double>> float64_;
  std::unique_ptr<Program<float>> bfloat16_;
};

namespace {

thread_local std::string last_error;

// Exceptions end here: the caller is C.
template <class Work>
int32_t guarded(Work work) {
  try {
    work();
    return 0;
  } catch (const std::exception& error) {
    last_error = error.what();
  } catch (...) {
    last_error = "unknown error";
  }
  return -1;
}

Program<float>& program(engine& e, float, bool bfloat16 = false) {
  return bfloat16 && e.set.bfloat16 != nullptr ? e.bfloat16() : e.float32();
}
Program<double>& program(engine& e, double, bool = false) { return e.float64(); }

const Kernels<float>& kernels(float) { return instruction_set().float32; }
const Kernels<double>& kernels(double) { return instruction_set().float64; }

template <class T>
int32_t gradient(engine* e, const T* theta, const BatchView<T>& batch, int64_t n_theta, T* nll,
                 T* gradient, const engine_options* options) {
  return guarded([&] {
    const std::lock_guard<std::mutex> lock(e->mutex);
    Program<T>& compiled = program(*e, T(), options->bfloat16 != 0);
    const int64_t p = compiled.plan().n_theta;
    for (int64_t r = 0; r < n_theta; ++r) {
      BatchView<T> one = batch;
      if (one.weight != nullptr) one.weight += r * batch.n;
      compiled.gradient(theta + r * p, one, nll + r * batch.n, gradient + r * p,
                        {options->threads, options->deterministic != 0});
    }
  });
}

template <class T>
int32_t forward(engine* e, const T* theta, const BatchView<T>& batch, T* z, T* log_abs_det,
                const engine_options* options) {
  return guarded([&] {
    const std::lock_guard<std::mutex> lock(e->mutex);
    program(*e, T()).forward(theta, batch, z, log_abs_det, {options->threads, false});
  });
}

template <class T>
int32_t inverse(engine* e, const T* theta, const BatchView<T>& batch, T* x,
                const engine_options* options) {
  return guarded([&] {
    const std::lock_guard<std::mutex> lock(e->mutex);
    program(*e, T()).inverse(theta, batch, x, {options->threads, false});
  });
}

OptimiserStep read_step(const double* s) {
  return {s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]};
}

}  // namespace

int32_t engine_interface(void) { return ENGINE_INTERFACE; }
const char* engine_error(void) { return last_error.c_str(); }
const char* engine_isa(void) { return instruction_set().name; }
const char* engine_available_isas(void) { return onlineflows::available_sets(); }
int32_t engine_has_bfloat16(void) { return instruction_set().bfloat16 != nullptr ? 1 : 0; }

engine* engine_new(const int32_t* spec, int64_t n, double bound) {
  engine* made = nullptr;
  guarded([&] { made = new engine(onlineflows::read_description(spec, n, bound)); });
  return made;
}

void engine_free(engine* e) { delete e; }

int64_t engine_n_parameters(engine* e) {
  const std::lock_guard<std::mutex> lock(e->mutex);
  return e->float32().plan().n_theta;
}

int32_t engine_gradient_f32(engine* e, ENGINE_BATCH(float), int64_t n_theta, float* nll,
                            float* grad, const engine_options* options) {
  return gradient<float>(e, theta, {x, context, weight, n}, n_theta, nll, grad, options);
}
int32_t engine_gradient_f64(engine* e, ENGINE_BATCH(double), int64_t n_theta, double* nll,
                            double* grad, const engine_options* options) {
  return gradient<double>(e, theta, {x, context, weight, n}, n_theta, nll, grad, options);
}

int32_t engine_forward_f32(engine* e, const float* theta, const float* x, const float* context,
                           int64_t n, float* z, float* log_abs_det, const engine_options* options) {
  return forward<float>(e, theta, {x, context, nullptr, n}, z, log_abs_det, options);
}
int32_t engine_forward_f64(engine* e, const double* theta, const double* x, const double* context,
                           int64_t n, double* z, double* log_abs_det,
                           const engine_options* options) {
  return forward<double>(e, theta, {x, context, nullptr, n}, z, log_abs_det, options);
}

int32_t engine_inverse_f32(engine* e, const float* theta, const float* z, const float* context,
                           int64_t n, float* x, const engine_options* options) {
  return inverse<float>(e, theta, {z, context, nullptr, n}, x, options);
}
int32_t engine_inverse_f64(engine* e, const double* theta, const double* z, const double* context,
                           int64_t n, double* x, const engine_options* options) {
  return inverse<double>(e, theta, {z, context, nullptr, n}, x, options);
}

void engine_schedule_free_f32(int64_t n, const double* step, const float* gradient, float* y,
                              float* z, float* v) {
  kernels(float()).schedule_free(n, read_step(step), gradient, y, z, v);
}
void engine_schedule_free_f64(int64_t n, const double* step, const double* gradient, double* y,
                              double* z, double* v) {
  kernels(double()).schedule_free(n, read_step(step), gradient, y, z, v);
}
void engine_adam_f32(int64_t n, const double* step, const float* gradient, float* theta, float* m,
                     float* v) {
  kernels(float()).adam(n, read_step(step), gradient, theta, m, v);
}
void engine_adam_f64(int64_t n, const double* step, const double* gradient, double* theta,
                     double* m, double* v) {
  kernels(double()).adam(n, read_step(step), gradient, theta, m, v);
}
