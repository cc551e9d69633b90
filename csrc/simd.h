// One source, three instruction sets: a body is compiled for AVX-512, AVX2 and the baseline; torch's choice runs.
//
// A body is a struct whose `operator()(begin, end)` is EARL_INLINE and whose loops are plain loops over small arrays:
// the compiler's vectoriser makes them AVX-512 or AVX2 inside the wrappers below, so that there are no intrinsics and
// the library runs on any CPU. Not here: memory layout, threads, the operations themselves.
#pragma once

#include <ATen/Version.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <cmath>
#include <cstdint>
#include <string>

#define EARL_INLINE inline __attribute__((always_inline))

#if defined(__x86_64__)
#define EARL_AVX512 __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")))
#define EARL_AVX2 __attribute__((target("avx2,fma")))
#endif

namespace earl {

enum class Isa { baseline, avx2, avx512 };

// The set that torch itself uses, so that ATEN_CPU_CAPABILITY=default|avx2|avx512 lowers ours together with torch's.
inline Isa isa_in_force() {
#if defined(__x86_64__)
  static const std::string capability = at::get_cpu_capability();
  if (capability == "AVX512") return Isa::avx512;
  if (capability == "AVX2") return Isa::avx2;
#endif
  return Isa::baseline;
}

#if defined(__x86_64__)
template <typename Body>
EARL_AVX512 void run_avx512(const Body& body, int64_t begin, int64_t end) {
  body(begin, end);
}

template <typename Body>
EARL_AVX2 void run_avx2(const Body& body, int64_t begin, int64_t end) {
  body(begin, end);
}
#endif

template <typename Body>
void run_on_best_isa(const Body& body, int64_t begin, int64_t end) {
#if defined(__x86_64__)
  switch (isa_in_force()) {
    case Isa::avx512:
      return run_avx512(body, begin, end);
    case Isa::avx2:
      return run_avx2(body, begin, end);
    case Isa::baseline:
      break;
  }
#endif
  body(begin, end);
}

// What a storage type is computed in: double for double, float for all else.
template <typename T>
struct Accumulate {
  using type = float;
};
template <>
struct Accumulate<double> {
  using type = double;
};
template <typename T>
using acc_t = typename Accumulate<T>::type;

EARL_INLINE float widen(float value) { return value; }
EARL_INLINE double widen(double value) { return value; }
EARL_INLINE float widen(c10::BFloat16 value) { return __builtin_bit_cast(float, uint32_t{value.x} << 16); }
EARL_INLINE float widen(c10::Half value) {
  // The exponent is re-biased by a multiplication, which also normalises subnormals; infinity and NaN are set apart.
  const uint32_t magnitude = (uint32_t{value.x} & 0x7fffu) << 13;
  const float scaled = __builtin_bit_cast(float, magnitude) * 0x1p112f;
  const uint32_t special = magnitude | 0x7f800000u;
  const uint32_t bits = magnitude >= (0x7c00u << 13) ? special : __builtin_bit_cast(uint32_t, scaled);
  return __builtin_bit_cast(float, bits | ((uint32_t{value.x} & 0x8000u) << 16));
}

// Round to nearest even; NaN stays NaN.
EARL_INLINE void narrow(float value, float& out) { out = value; }
EARL_INLINE void narrow(double value, double& out) { out = value; }
EARL_INLINE void narrow(float value, c10::BFloat16& out) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  out.x = static_cast<uint16_t>(value != value ? 0x7fc0u : rounded);
}
EARL_INLINE void narrow(float value, c10::Half& out) { out = static_cast<c10::Half>(value); }

// Below this exp is taken as 0 (the smallest normal result; what is dropped is under 1.2e-38, or 2.3e-308 in double).
template <typename acc>
inline constexpr acc kExpLowest = sizeof(acc) == 4 ? acc(-87.33654) : acc(-708.39641);

// exp(x) for kExpLowest <= x <= 0; NaN gives NaN. exp(x) = 2^n exp(r), with n = round(x / ln 2) and |r| <= ln(2) / 2;
// exp(r) = 1 + r + r^2 q(r), where q is the minimax polynomial of relative error 3e-9. At most 1 ulp from the truth.
EARL_INLINE float exp_nonpositive(float x) {
  constexpr float kRound = 0x1.8p23f;  // adding it leaves the nearest integer in the low bits of the sum
  const float shifted = x * 0x1.715476p0f + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0x1.63p-1f) + n * 0x1.bd0106p-13f;  // ln 2 in two parts; n times the first is exact
  float q = 0x1.6a23c6p-10f;
  q = q * r + 0x1.123a20p-7f;
  q = q * r + 0x1.5558f4p-5f;
  q = q * r + 0x1.555492p-3f;
  q = q * r + 0x1.fffffcp-2f;
  const float exp_r = r * r * q + r + 1.0f;
  const float power = __builtin_bit_cast(float, (__builtin_bit_cast(uint32_t, shifted) + 127u) << 23);
  return exp_r * power;
}
EARL_INLINE double exp_nonpositive(double x) { return std::exp(x); }

}  // namespace earl
