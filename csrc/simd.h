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
#if defined(__clang__)  // it ignores an attribute as a whole when it does not know a part of it
#define EARL_AVX512 __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl"), min_vector_width(512)))
#else
#define EARL_AVX512 __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")))
#endif
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

inline constexpr double kLog2E = 1.4426950408889634;
inline constexpr double kLn2 = 0.6931471805599453;

// Exponents are clamped to this from below, where exp2_nonpositive gives 0: what is dropped is under 2^-126 (2^-1021).
template <typename acc>
inline constexpr acc kExponentFloor = sizeof(acc) == 4 ? acc(-127) : acc(-1022);

// 2^t for kExponentFloor <= t <= 0; NaN gives NaN. 2^t = 2^n 2^f with n = round(t) and |f| <= 1/2; 2^f is the minimax
// polynomial of relative error 2e-9. At most 1 ulp from the truth; 0 where n = -127.
EARL_INLINE float exp2_nonpositive(float t) {
  constexpr float kRound = 0x1.8p23f + 127.0f;  // adding it leaves n + 127, the exponent's bits, in the sum's low bits
  const float shifted = t + kRound;
  const float f = t - (shifted - kRound);
  float q = 0x1.41fbbcp-13f;
  q = q * f + 0x1.5f3e54p-10f;
  q = q * f + 0x1.3b2d4cp-7f;
  q = q * f + 0x1.c6aee8p-5f;
  q = q * f + 0x1.ebfbdcp-3f;
  q = q * f + 0x1.62e430p-1f;
  q = q * f + 1.0f;
  return q * __builtin_bit_cast(float, __builtin_bit_cast(uint32_t, shifted) << 23);
}
EARL_INLINE double exp2_nonpositive(double t) { return t <= kExponentFloor<double> ? 0.0 : std::exp2(t); }

}  // namespace earl
