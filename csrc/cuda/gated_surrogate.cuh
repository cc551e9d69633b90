// The clipped surrogate and the KL term of packed tokens: loss, gradient and the sums that metrics need, in one pass.
#pragma once

#include "device.cuh"

namespace earl::cuda {

constexpr unsigned kTokenThreads = 256;

// fp64: counts stay exact, and the loss does not depend on how many tokens share a thread by more than its rounding.
struct SurrogateSums {
  double loss, num_gated, num_clipped_low, num_clipped_high, k3, num_k3;

  static EARL_DEVICE SurrogateSums empty() { return {0, 0, 0, 0, 0, 0}; }
  EARL_DEVICE void add(const SurrogateSums& other) {
    loss += other.loss;
    num_gated += other.num_gated;
    num_clipped_low += other.num_clipped_low;
    num_clipped_high += other.num_clipped_high;
    k3 += other.k3;
    num_k3 += other.num_k3;
  }
  EARL_DEVICE void merge_lane(unsigned lanes) {
    add({__shfl_xor_sync(kAllLanes, loss, lanes), __shfl_xor_sync(kAllLanes, num_gated, lanes),
         __shfl_xor_sync(kAllLanes, num_clipped_low, lanes), __shfl_xor_sync(kAllLanes, num_clipped_high, lanes),
         __shfl_xor_sync(kAllLanes, k3, lanes), __shfl_xor_sync(kAllLanes, num_k3, lanes)});
  }
};

// max(-rA, -clip(r)A), at most -dual_clip A for a negative A. Returns the slope: -rA where nothing is cut, else 0.
template <typename scalar>
EARL_DEVICE scalar add_surrogate(const SurrogateTokens<scalar>& tokens, int64_t i, SurrogateSums& sums) {
  const scalar weight = tokens.surrogate_weights[i];
  const scalar advantage = tokens.advantages[i];
  const scalar ratio = exp_of(tokens.logprobs[i] - tokens.sampling_logprobs[i]);
  const scalar capped = ratio > tokens.highest_ratio ? tokens.highest_ratio : ratio;
  const scalar clamped = ratio < tokens.lowest_ratio ? tokens.lowest_ratio : capped;
  const scalar unclipped = -ratio * advantage;
  const scalar clipped = -clamped * advantage;
  scalar loss = clipped > unclipped ? clipped : unclipped;
  bool is_clipped = clipped > unclipped;
  const scalar bound = -tokens.dual_clip * advantage;
  if (tokens.dual_clip > 0 && advantage < 0 && loss > bound) {
    loss = bound;
    is_clipped = true;
  }
  if (weight > 0) {
    sums.num_gated += 1;
    (advantage < 0 ? sums.num_clipped_low : sums.num_clipped_high) += is_clipped;
  }
  sums.loss += weight * loss;
  return is_clipped ? scalar(0) : weight * unclipped;
}

// k3 = q/p - log(q/p) - 1, with p the policy and q the reference. Returns the slope.
template <typename scalar>
EARL_DEVICE scalar add_k3(const SurrogateTokens<scalar>& tokens, int64_t i, SurrogateSums& sums) {
  const scalar log_ratio = tokens.reference_logprobs[i] - tokens.logprobs[i];
  const scalar ratio = exp_of(log_ratio);
  const scalar divergence = ratio - log_ratio - 1;
  sums.k3 += divergence;
  sums.num_k3 += 1;
  if (!(tokens.kl_weights[i] > 0)) return 0;
  sums.loss += tokens.kl_weights[i] * divergence;
  return tokens.kl_weights[i] * (1 - ratio);
}

// Grid: any number of blocks, one entry of `partial` each.
template <typename scalar>
__global__ void __launch_bounds__(kTokenThreads)
    surrogate_tokens(SurrogateTokens<scalar> tokens, scalar* grad_logprobs, SurrogateSums* partial) {
  SurrogateSums sums = SurrogateSums::empty();
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kTokenThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kTokenThreads + threadIdx.x; i < tokens.num_tokens; i += stride) {
    scalar slope = add_surrogate(tokens, i, sums);
    if (tokens.reference_logprobs != nullptr) slope += add_k3(tokens, i, sums);
    grad_logprobs[i] = slope;
  }
  sums = reduce_block<kTokenThreads>(sums, SurrogateSums::empty());
  if (threadIdx.x == 0) partial[blockIdx.x] = sums;
}

// Grid: one block. `total` may not be `partial`.
static __global__ void __launch_bounds__(kTokenThreads)
    surrogate_total(const SurrogateSums* partial, int num_partial, SurrogateSums* total) {
  SurrogateSums sums = SurrogateSums::empty();
  for (int i = threadIdx.x; i < num_partial; i += kTokenThreads) sums.add(partial[i]);
  sums = reduce_block<kTokenThreads>(sums, SurrogateSums::empty());
  if (threadIdx.x == 0) *total = sums;
}

}  // namespace earl::cuda
