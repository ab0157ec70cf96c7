// Zeroed memory, aligned for any vector.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

namespace onlineflows {

template <class X>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::int64_t size) {
    const std::size_t n_bytes = std::size_t(size + kSlack) * sizeof(X);
    memory_.reset(static_cast<X*>(::operator new(n_bytes, kAlignment)));
    std::memset(static_cast<void*>(memory_.get()), 0, n_bytes);
  }

  X* get() const { return memory_.get(); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  // Kernels read whole vectors and squares at the ends of arrays.
  static constexpr std::int64_t kSlack = 256;

  struct Free {
    void operator()(X* memory) const { ::operator delete(memory, kAlignment); }
  };
  std::unique_ptr<X, Free> memory_;
};

}  // namespace onlineflows
