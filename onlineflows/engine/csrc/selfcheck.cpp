// A check of the C interface without Python, for the sanitizers and for a first build on a new
// machine: gradients against finite differences, the inverse against the forward pass, the same
// bits from any number of threads, bad specifications refused. Exit code 0 if all is well.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "engine.h"

namespace {

int n_failures = 0;

void expect(bool is_true, const std::string& claim) {
  if (is_true) return;
  ++n_failures;
  std::fprintf(stderr, "failed: %s\n", claim.c_str());
}

struct Case {
  const char* name;
  int n_features, n_context, transform, bins, n_blocks, hidden;
};

// Masked autoregressive blocks, every second one in reverse.
std::vector<int32_t> specification(const Case& c) {
  std::vector<int32_t> spec{c.n_features, c.n_context, c.transform, c.bins, c.n_blocks};
  std::vector<int> degrees;
  degrees.reserve(std::size_t(c.hidden));
  for (int unit = 0; unit < c.hidden; ++unit) degrees.push_back(unit % c.n_features);
  std::sort(degrees.begin(), degrees.end());
  const auto n_up_to = [&](int degree) {
    return int(std::upper_bound(degrees.begin(), degrees.end(), degree) - degrees.begin());
  };
  for (int block = 0; block < c.n_blocks; ++block) {
    std::vector<int> order;
    order.reserve(std::size_t(c.n_features));
    for (int i = 0; i < c.n_features; ++i) order.push_back(block % 2 ? c.n_features - 1 - i : i);
    spec.insert(spec.end(), {c.n_context + c.n_features, c.n_features, c.hidden, c.hidden});
    for (int i = 0; i < c.n_context; ++i) spec.push_back(c.n_features + i);
    spec.insert(spec.end(), order.begin(), order.end());
    spec.insert(spec.end(), order.begin(), order.end());
    for (const int degree : degrees) spec.push_back(c.n_context + degree);
    for (const int degree : degrees) spec.push_back(n_up_to(degree));
    for (int i = 0; i < c.n_features; ++i) spec.push_back(n_up_to(i));
  }
  return spec;
}

template <class T>
std::vector<T> normal(std::size_t n, double width, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> distribution(0.0, width);
  std::vector<T> numbers(n);
  for (T& number : numbers) number = T(distribution(generator));
  return numbers;
}

constexpr int64_t kEvents = 150;  // not a multiple of a tile

class Check {
 public:
  Check(const Case& c, const char* isa) : case_(c), name_(std::string(c.name) + " " + isa) {
    const std::vector<int32_t> spec = specification(c);
    engine_ = engine_new(spec.data(), int64_t(spec.size()), 5.0);
    if (engine_ == nullptr) {
      expect(false, name_ + ": " + engine_error());
      return;
    }
    theta_ = normal<double>(std::size_t(engine_n_parameters(engine_)), 0.1, 1);
    x_ = normal<double>(kEvents * c.n_features, 2.0, 2);
    context_ = normal<double>(kEvents * c.n_context, 1.0, 3);
    weight_ = normal<double>(kEvents, 1.0, 4);
  }
  ~Check() { engine_free(engine_); }
  Check(const Check&) = delete;
  Check& operator=(const Check&) = delete;

  void run() {
    if (engine_ == nullptr) return;
    gradient_is_derivative();
    inverse_undoes_forward();
    bits_are_the_same_for_any_number_of_threads();
    float32_agrees();
    events_of_weight_zero_are_left_out();
  }

 private:
  const double* context() const { return context_.empty() ? nullptr : context_.data(); }

  std::vector<double> gradient(const engine_options& options, double* mean = nullptr) {
    std::vector<double> nll(kEvents);
    std::vector<double> result(theta_.size());
    engine_gradient_f64(engine_, theta_.data(), x_.data(), context(), weight_.data(), kEvents, 1,
                        nll.data(), result.data(), &options);
    if (mean != nullptr) {
      *mean = 0;
      for (int64_t i = 0; i < kEvents; ++i) *mean += weight_[i] * nll[i] / kEvents;
    }
    return result;
  }

  void gradient_is_derivative() {
    const engine_options options{2, 0, 0};
    const std::vector<double> analytic = gradient(options);
    const std::size_t stride = theta_.size() / 40 + 1;
    for (std::size_t i = 0; i < theta_.size(); i += stride) {
      const double kept = theta_[i];
      const double step = 1e-5;
      double up = 0;
      double down = 0;
      theta_[i] = kept + step;
      gradient(options, &up);
      theta_[i] = kept - step;
      gradient(options, &down);
      theta_[i] = kept;
      const double difference = (up - down) / (2 * step);
      expect(std::abs(analytic[i] - difference) < 1e-5 * (1 + std::abs(difference)),
             name_ + ": gradient " + std::to_string(i));
    }
  }

  void inverse_undoes_forward() {
    const engine_options options{2, 0, 0};
    std::vector<double> z(x_.size());
    std::vector<double> log_abs_det(x_.size());
    std::vector<double> back(x_.size());
    engine_forward_f64(engine_, theta_.data(), x_.data(), context(), kEvents, z.data(),
                       log_abs_det.data(), &options);
    engine_inverse_f64(engine_, theta_.data(), z.data(), context(), kEvents, back.data(), &options);
    double worst = 0;
    for (std::size_t i = 0; i < x_.size(); ++i) worst = std::max(worst, std::abs(back[i] - x_[i]));
    expect(worst < 1e-7, name_ + ": inverse, off by " + std::to_string(worst));
  }

  void bits_are_the_same_for_any_number_of_threads() {
    const std::vector<double> one = gradient({1, 0, 1});
    expect(one == gradient({2, 0, 1}), name_ + ": 2 threads give other bits");
    expect(one == gradient({3, 0, 1}), name_ + ": 3 threads give other bits");
  }

  void events_of_weight_zero_are_left_out() {
    // Every third event weighs nothing; what it holds must not matter, not even if it's no number.
    const std::vector<double> weight = weight_;
    const std::vector<double> x = x_;
    for (std::size_t i = 0; i < weight_.size(); i += 3) weight_[i] = 0;
    const std::vector<double> expected = gradient({2, 0, 1});
    for (std::size_t i = 0; i < weight_.size(); i += 3) x_[i * case_.n_features] = std::nan("");
    double mean = 0;
    const std::vector<double> found = gradient({2, 0, 1}, &mean);
    expect(found == expected, name_ + ": events of weight zero are in the gradient");
    expect(std::isfinite(mean), name_ + ": NLL of events of weight zero");
    std::fill(weight_.begin(), weight_.end(), 0.0);
    const std::vector<double> nothing = gradient({1, 0, 0});
    expect(std::all_of(nothing.begin(), nothing.end(), [](double g) { return g == 0; }),
           name_ + ": gradient of no event");
    weight_ = weight;
    x_ = x;
  }

  void float32_agrees() {
    const std::vector<double> exact = gradient({1, 0, 0});
    const std::vector<float> theta(theta_.begin(), theta_.end());
    const std::vector<float> x(x_.begin(), x_.end());
    const std::vector<float> c(context_.begin(), context_.end());
    const std::vector<float> weight(weight_.begin(), weight_.end());
    std::vector<float> nll(kEvents);
    std::vector<float> result(theta.size());
    for (const int bfloat16 : {0, 1}) {
      const engine_options options{2, bfloat16, 0};
      engine_gradient_f32(engine_, theta.data(), x.data(), c.empty() ? nullptr : c.data(),
                          weight.data(), kEvents, 1, nll.data(), result.data(), &options);
      double norm = 0;
      double error = 0;
      for (std::size_t i = 0; i < exact.size(); ++i) {
        norm += exact[i] * exact[i];
        error += (result[i] - exact[i]) * (result[i] - exact[i]);
      }
      const double distance = std::sqrt(error / norm);
      expect(distance < (bfloat16 && engine_has_bfloat16() ? 0.1 : 1e-4),
             name_ + ": float32 gradient, off by " + std::to_string(distance));
    }
  }

  Case case_;
  std::string name_;
  engine* engine_ = nullptr;
  std::vector<double> theta_, x_, context_, weight_;
};

void bad_specifications_are_refused() {
  const std::vector<int32_t> good = specification({"", 2, 0, 1, 4, 1, 3});
  for (std::size_t n = 0; n < good.size(); ++n) {
    expect(engine_new(good.data(), int64_t(n), 5.0) == nullptr, "a cut specification is refused");
  }
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::vector<int32_t> bad = good;
    bad[i] = -1;
    expect(engine_new(bad.data(), int64_t(bad.size()), 5.0) == nullptr, "-1 is refused");
  }
}

}  // namespace

int main() {
  const Case cases[] = {
      {"spline", 3, 1, 1, 8, 2, 13},       {"spline of odd sizes", 2, 0, 1, 5, 3, 7},
      {"wide spline", 5, 2, 1, 16, 1, 70}, {"affine", 4, 1, 0, 0, 2, 17},
      {"one feature", 1, 0, 1, 3, 1, 1},
  };
  std::istringstream sets(engine_available_isas());
  for (std::string isa; sets >> isa;) {
#if defined(_WIN32)
    _putenv_s("ONLINEFLOWS_ISA", isa.c_str());
#else
    setenv("ONLINEFLOWS_ISA", isa.c_str(), 1);
#endif
    for (const Case& c : cases) Check(c, isa.c_str()).run();
  }
  bad_specifications_are_refused();
  std::printf("%s: %d failures\n", engine_available_isas(), n_failures);
  return n_failures == 0 ? 0 : 1;
}
