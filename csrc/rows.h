// What is done to one row of logits, or to a piece of one: the statistics and the gradient.
//
// For z the logits of a row and T the temperature, with p = softmax(z / T). The statistics keep a running maximum m,
// S = sum e and W = sum t e, with t = (z - m) log2(e) / T and e = 2^t: then ln sum exp(z / T) = m / T + ln S, and the
// entropy is ln S - W ln 2 / S, both terms of which are >= 0. A row may come in pieces, in any number of calls.
// Not here: where logits come from, which rows, threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "simd.h"

namespace earl {

constexpr int64_t kBlock = 512;  // logits widened at once: the copy stays in the first-level cache

constexpr int64_t kCacheLine = 64;

template <typename acc>
struct RowState {
  acc max = -std::numeric_limits<acc>::infinity();  // of the logits, before the temperature
  double sum = 0.0;                                 // S
  double weighted = 0.0;                            // W
};

// The factors of the temperature, and the least exponent: a variable, because a compiler that knows it replaces the
// one maximum by a comparison and two selections.
template <typename acc>
struct Scale {
  double inverse_temperature;
  acc exponent;  // log2(e) / T
  acc floor = kExponentFloor<acc>;

  explicit Scale(double temperature)
      : inverse_temperature(1.0 / temperature), exponent(static_cast<acc>(kLog2E / temperature)) {}
};

// Adds `size` logits, plus their bias where there is one, to the row's state.
template <bool has_bias, typename scalar>
EARL_INLINE void accumulate(RowState<acc_t<scalar>>& state, const scalar* logits, const acc_t<scalar>* bias,
                            int64_t size, const Scale<acc_t<scalar>>& scale) {
  using acc = acc_t<scalar>;
  constexpr acc kInfinity = std::numeric_limits<acc>::infinity();
  const acc exponent = scale.exponent;
  const acc floor = scale.floor;
  acc buffer[kBlock];
  for (int64_t start = 0; start < size; start += kBlock) {
    const int64_t count = std::min(kBlock, size - start);
    const acc* values = buffer;
    if constexpr (std::is_same_v<scalar, acc> && !has_bias) {
      values = logits + start;
    } else {  // in a loop of its own: together with the maximum, short types get half vectors and a chain of comparisons
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) {
        buffer[i] = widen(logits[start + i]);
        if constexpr (has_bias) buffer[i] += bias[start + i];
      }
    }
    acc block_max = -kInfinity;
#pragma omp simd reduction(max : block_max)
    for (int64_t i = 0; i < count; ++i) {
      block_max = values[i] > block_max ? values[i] : block_max;  // NaN is passed over here and caught by the sum
    }
    // The next block is on its way while this one is computed.
    const char* next = reinterpret_cast<const char*>(logits + start + count);
    for (int64_t byte = 0; byte < count * int64_t{sizeof(scalar)}; byte += kCacheLine) __builtin_prefetch(next + byte);
    if (block_max > state.max) {
      const double delta = (double{state.max} - double{block_max}) * exponent;
      const double factor = std::exp2(delta);
      state.weighted = factor > 0.0 ? factor * (state.weighted + delta * state.sum) : 0.0;
      state.sum *= factor;
      state.max = block_max;
    }
    const acc shift = state.max == -kInfinity ? acc(0) : state.max;  // all -inf so far: they add nothing, a NaN shows
    acc block_sum = 0;
    acc block_weighted = 0;
#pragma omp simd reduction(+ : block_sum, block_weighted)
    for (int64_t i = 0; i < count; ++i) {
      const acc t = (values[i] - shift) * exponent;
      const acc bounded = t < floor ? floor : t;
      const acc e = exp2_nonpositive(bounded);
      block_sum += e;
      block_weighted += bounded * e;
    }
    state.sum += block_sum;
    state.weighted += block_weighted;
  }
}

// Log-prob of the target's logit, entropy and logsumexp of a row that is complete.
template <typename acc>
EARL_INLINE void finish(const RowState<acc>& state, double target_logit, const Scale<acc>& scale, acc* logprob,
                        acc* entropy, double* logsumexp) {
  const double log_sum = std::log(state.sum);
  *logprob = static_cast<acc>((target_logit - state.max) * scale.inverse_temperature - log_sum);
  *entropy = static_cast<acc>(log_sum - kLn2 * state.weighted / state.sum);
  *logsumexp = state.max * scale.inverse_temperature + log_sum;
}

// The gradient of one row's logits: dz = p (g_lse - g_logprob - g_H (ln p + H)) / T, plus g_logprob / T at the target.
// log2 p is (z - origin) exponent + offset, where origin is the logit of probability 1 and offset what its rounding
// left over: no digits of a probable token are lost to a large logsumexp.
template <typename acc>
struct RowGradient {
  acc origin;
  acc offset;
  acc exponent;
  acc floor;
  acc constant;
  acc slope;  // for log2 p
  double inverse_temperature;
  acc grad_logprob;
  acc grad_entropy;
  acc grad_logsumexp;
  acc entropy;

  RowGradient(acc grad_logprob, acc grad_entropy, acc grad_logsumexp, acc entropy, double logsumexp,
              const Scale<acc>& scale)
      : origin(static_cast<acc>(logsumexp / scale.inverse_temperature)),
        offset(static_cast<acc>((origin * scale.inverse_temperature - logsumexp) * kLog2E)),
        exponent(scale.exponent),
        floor(scale.floor),
        inverse_temperature(scale.inverse_temperature),
        grad_logprob(grad_logprob),
        grad_entropy(grad_entropy),
        grad_logsumexp(grad_logsumexp),
        entropy(entropy) {
    constant = static_cast<acc>(inverse_temperature) * (grad_logsumexp - grad_logprob - grad_entropy * entropy);
    slope = static_cast<acc>(inverse_temperature * kLn2) * grad_entropy;
  }

  EARL_INLINE acc exponent_of(acc logit) const {
    const acc t = (logit - origin) * exponent + offset;
    const acc below_one = t > 0 ? acc(0) : t;  // rounding could make a probability exceed 1
    return below_one < floor ? floor : below_one;
  }

  // `out` may be `logits`.
  template <bool has_bias, typename scalar>
  EARL_INLINE void write(const scalar* logits, const acc* bias, int64_t size, scalar* out) const {
#pragma omp simd
    for (int64_t i = 0; i < size; ++i) {
      acc logit = widen(logits[i]);
      if constexpr (has_bias) logit += bias[i];
      const acc t = exponent_of(logit);
      narrow(exp2_nonpositive(t) * (constant - slope * t), out[i]);
    }
  }

  // At the target, with 1 - p as -expm1(ln p): near p = 1 the difference would have no digits left.
  EARL_INLINE acc at_target(acc target_logit) const {
    const acc log_p = static_cast<acc>(exponent_of(target_logit) * kLn2);
    const acc others = grad_logsumexp - grad_entropy * (log_p + entropy);
    return static_cast<acc>(inverse_temperature * (std::exp(log_p) * others - grad_logprob * std::expm1(log_p)));
  }
};

}  // namespace earl
