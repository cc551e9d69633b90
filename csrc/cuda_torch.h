// Between torch and the kernels' launchers: number types, pointers, the current stream, products.
//
// With EARL_CUDA_ON_CPU defined the same host code serves the kernels on CPU tensors: for tests.
#pragma once

#include <ATen/Dispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>
#include <torch/library.h>

#ifdef EARL_CUDA_ON_CPU
#define EARL_CUDA_KEY CPU
#define EARL_CUDA_LIBRARY earl_cuda_on_cpu
#else
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#define EARL_CUDA_KEY CUDA
#define EARL_CUDA_LIBRARY earl
#endif

#include "checks.h"
#include "cuda/launchers.h"

namespace earl::cuda {

template <typename T>
struct KernelType {
  using type = T;
};
template <>
struct KernelType<c10::BFloat16> {
  using type = Bf16;
};
template <>
struct KernelType<c10::Half> {
  using type = Half;
};
template <typename T>
using kernel_t = typename KernelType<T>::type;

template <typename T>
const T* const_pointer(const at::Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}
template <typename T>
T* pointer(const at::Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

// How many of `size` cover `count`.
inline unsigned num_pieces(int64_t count, int64_t size) { return static_cast<unsigned>((count + size - 1) / size); }

#ifdef EARL_CUDA_ON_CPU

struct DeviceOf {
  explicit DeviceOf(at::Device) {}
};
inline Stream stream() { return nullptr; }
inline void check_launch() {}

// out = a b, with fp32 sums.
inline void multiply(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b) {
  out.copy_(at::mm(a.to(stats_type(a.scalar_type())), b.to(stats_type(b.scalar_type()))));
}

#else

using DeviceOf = c10::cuda::CUDAGuard;
inline Stream stream() { return c10::cuda::getCurrentCUDAStream().stream(); }
inline void check_launch() { C10_CUDA_KERNEL_LAUNCH_CHECK(); }

// By cuBLAS through torch, with fp32 sums; `out` may be fp32 where the factors are short.
inline void multiply(at::Tensor out, const at::Tensor& a, const at::Tensor& b) {
  at::mm_out(out, a, b, out.scalar_type());
}

#endif

// out += a b, with `out` in the type of the sums; `product` is like it, for factors of another type: torch's addmm does
// not add short factors to a wider sum.
inline void multiply_add(at::Tensor out, const at::Tensor& a, const at::Tensor& b, const at::Tensor& product) {
  if (a.scalar_type() == out.scalar_type()) {
    at::addmm_out(out, out, a, b);
  } else {
    multiply(product, a, b);
    out.add_(product);
  }
}

}  // namespace earl::cuda
