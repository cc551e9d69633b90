// What every kernel body stands on: number types, 16-byte loads, reductions over a block. No torch.
//
// nvcc compiles the bodies for a GPU; a C++20 compiler runs them on the CPU through cuda_on_cpu.h.
#pragma once

#include <cstdint>

#include "args.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define EARL_INFINITY __int_as_float(0x7f800000)
#define EARL_NAN __int_as_float(0x7fffffff)
#else
#include "../cuda_on_cpu.h"
#define EARL_INFINITY __builtin_inff()
#define EARL_NAN __builtin_nanf("")
#endif

#define EARL_DEVICE __device__ __forceinline__

namespace earl::cuda {

constexpr unsigned kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

EARL_DEVICE float widen(float value) { return value; }
EARL_DEVICE double widen(double value) { return value; }
EARL_DEVICE float widen(Bf16 value) { return __uint_as_float(static_cast<uint32_t>(value.bits) << 16); }

// Round to nearest even; NaN stays NaN.
template <typename T>
EARL_DEVICE T narrow(acc_t<T> value) {
  return value;
}

#if defined(__CUDACC__)
EARL_DEVICE float widen(Half value) { return __half2float(__ushort_as_half(value.bits)); }
template <>
EARL_DEVICE Bf16 narrow<Bf16>(float value) {
  return {__bfloat16_as_ushort(__float2bfloat16_rn(value))};
}
template <>
EARL_DEVICE Half narrow<Half>(float value) {
  return {__half_as_ushort(__float2half_rn(value))};
}
#else
EARL_DEVICE float widen(Half value) { return static_cast<float>(__builtin_bit_cast(_Float16, value.bits)); }
template <>
EARL_DEVICE Bf16 narrow<Bf16>(float value) {
  const uint32_t bits = __float_as_uint(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return {static_cast<uint16_t>(value != value ? 0x7fc0u : rounded)};
}
template <>
EARL_DEVICE Half narrow<Half>(float value) {
  return {__builtin_bit_cast(uint16_t, static_cast<_Float16>(value))};
}
#endif

EARL_DEVICE float exp_of(float value) { return expf(value); }
EARL_DEVICE double exp_of(double value) { return exp(value); }
EARL_DEVICE float log_of(float value) { return logf(value); }
EARL_DEVICE double log_of(double value) { return log(value); }
EARL_DEVICE float expm1_of(float value) { return expm1f(value); }
EARL_DEVICE double expm1_of(double value) { return expm1(value); }

EARL_DEVICE float ceil_of(float value) { return ceilf(value); }
EARL_DEVICE double ceil_of(double value) { return ceil(value); }

// The number with these bits; of numbers that are not negative the bits rise with the number.
EARL_DEVICE float from_bits(uint32_t bits) { return __uint_as_float(bits); }
EARL_DEVICE double from_bits(uint64_t bits) { return __longlong_as_double(static_cast<long long>(bits)); }
template <typename acc>
struct Bits {
  using type = uint32_t;
};
template <>
struct Bits<double> {
  using type = uint64_t;
};
template <typename acc>
using bits_t = typename Bits<acc>::type;

// Below this exp is taken as 0: the smallest normal result.
template <typename acc>
EARL_DEVICE acc exp_lowest() {
  return sizeof(acc) == 4 ? acc(-87.33654) : acc(-708.39641);
}

// `count` numbers, 16 bytes at most, that are loaded or stored at once.
template <typename T, int count>
struct alignas(count * sizeof(T)) Pack {
  static_assert(count * sizeof(T) <= 16);
  T lane[count];
};

EARL_DEVICE int elements_to_alignment(const void* address, int element_bytes) {
  const int past = static_cast<int>(reinterpret_cast<uintptr_t>(address) % 16);
  return past == 0 ? 0 : (16 - past) / element_bytes;
}

template <typename T>
EARL_DEVICE T larger(T a, T b) {
  return a > b ? a : b;  // a NaN in `a` is passed over, one in `b` is taken
}

template <typename T>
EARL_DEVICE T smaller(T a, T b) {
  return a < b ? a : b;
}

// Merges one `State` a thread into one that every thread of the first warp holds. The order of the merging is fixed, so
// that equal inputs give equal bits. `state.merge_lane(lanes)` merges with the state of the lane at that distance.
template <unsigned num_threads, typename State>
EARL_DEVICE State reduce_block(State state, const State& empty) {
  static_assert(num_threads % kWarp == 0 && num_threads <= kWarp * kWarp);
  for (unsigned lanes = kWarp / 2; lanes > 0; lanes /= 2) state.merge_lane(lanes);
  if constexpr (num_threads > kWarp) {
    __shared__ State warps[num_threads / kWarp];
    const unsigned lane = threadIdx.x % kWarp;
    __syncthreads();  // the block may still read what an earlier call left
    if (lane == 0) warps[threadIdx.x / kWarp] = state;
    __syncthreads();
    if (threadIdx.x >= kWarp) return state;
    state = empty;
    if (lane < num_threads / kWarp) state = warps[lane];
    for (unsigned lanes = kWarp / 2; lanes > 0; lanes /= 2) state.merge_lane(lanes);
  }
  return state;
}

}  // namespace earl::cuda
