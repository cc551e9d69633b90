// Between torch and the kernel bodies in csrc/cuda: number types, pointers, the current stream, products.
//
// With EARL_CUDA_ON_CPU defined the same host code drives the kernels through cuda_on_cpu.h, on CPU tensors: for tests.
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

#include "cuda/device.cuh"

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
  return reinterpret_cast<const T*>(tensor.const_data_ptr());
}
template <typename T>
T* pointer(const at::Tensor& tensor) {
  return reinterpret_cast<T*>(tensor.mutable_data_ptr());
}

inline unsigned num_slices(int64_t columns, int64_t slice) { return static_cast<unsigned>((columns + slice - 1) / slice); }

#ifdef EARL_CUDA_ON_CPU

struct DeviceOf {
  explicit DeviceOf(at::Device) {}
};

template <typename... Params, typename... Args>
void launch(void (*kernel)(Params...), dim3 blocks, unsigned threads, Args... args) {
  on_cpu::run_grid(blocks, threads, [&] { kernel(args...); });
}

// out = a b, with fp32 sums.
inline void multiply(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b) {
  out.copy_(at::mm(a.to(stats_type(a.scalar_type())), b.to(stats_type(b.scalar_type()))));
}

// out += a b, out in fp32 (fp64).
inline void multiply_add(at::Tensor out, const at::Tensor& a, const at::Tensor& b) {
  out.addmm_(a.to(out.scalar_type()), b.to(out.scalar_type()));
}

#else

using DeviceOf = c10::cuda::CUDAGuard;

template <typename... Params, typename... Args>
void launch(void (*kernel)(Params...), dim3 blocks, unsigned threads, Args... args) {
  kernel<<<blocks, threads, 0, c10::cuda::getCurrentCUDAStream()>>>(args...);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

// cuBLAS through torch, with fp32 sums; `out` may be wider than 16-bit factors.
inline void multiply(at::Tensor out, const at::Tensor& a, const at::Tensor& b) {
  at::mm_out(out, a, b, out.scalar_type());
}

inline void multiply_add(at::Tensor out, const at::Tensor& a, const at::Tensor& b) {
  at::addmm_out(out, out, a, b, out.scalar_type());
}

#endif

}  // namespace earl::cuda
