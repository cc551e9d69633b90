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

template <typename scalar>
struct SurrogateTokens {
  const scalar* logprobs;
  const scalar* sampling_logprobs;
  const scalar* advantages;
  const scalar* reference_logprobs;  // null: no k3
  const scalar* surrogate_weights;
  const scalar* kl_weights;
  scalar lowest_ratio;
  scalar highest_ratio;
  scalar dual_clip;  // 0: none

  // max(-rA, -clip(r)A), at most -dual_clip A for a negative A. Returns the slope: -rA where nothing is cut, else 0.
  EARL_DEVICE scalar add_surrogate(int64_t i, SurrogateSums& sums) const {
    const scalar weight = surrogate_weights[i];
    const scalar advantage = advantages[i];
    const scalar ratio = exp_of(logprobs[i] - sampling_logprobs[i]);
    const scalar clamped = ratio < lowest_ratio ? lowest_ratio : (ratio > highest_ratio ? highest_ratio : ratio);
    const scalar unclipped = -ratio * advantage;
    const scalar clipped = -clamped * advantage;
    scalar loss = clipped > unclipped ? clipped : unclipped;
    bool is_clipped = clipped > unclipped;
    const scalar bound = -dual_clip * advantage;
    if (dual_clip > 0 && advantage < 0 && loss > bound) {
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
  EARL_DEVICE scalar add_k3(int64_t i, SurrogateSums& sums) const {
    const scalar log_ratio = reference_logprobs[i] - logprobs[i];
    const scalar ratio = exp_of(log_ratio);
    const scalar divergence = ratio - log_ratio - 1;
    sums.k3 += divergence;
    sums.num_k3 += 1;
    if (!(kl_weights[i] > 0)) return 0;
    sums.loss += kl_weights[i] * divergence;
    return kl_weights[i] * (1 - ratio);
  }
};

// Grid: any number of blocks, one entry of `partial` each.
template <typename scalar>
__global__ void __launch_bounds__(kTokenThreads)
    surrogate_tokens(SurrogateTokens<scalar> tokens, int64_t num_tokens, scalar* grad_logprobs, SurrogateSums* partial) {
  SurrogateSums sums = SurrogateSums::empty();
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kTokenThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kTokenThreads + threadIdx.x; i < num_tokens; i += stride) {
    scalar slope = tokens.add_surrogate(i, sums);
    if (tokens.reference_logprobs != nullptr) slope += tokens.add_k3(i, sums);
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
