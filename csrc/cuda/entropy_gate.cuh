// The entropy gate: exact top-k of each response by radix selection, ties to the earlier token.
#pragma once

#include "device.cuh"

namespace earl::cuda {

constexpr unsigned kGateThreads = 256;  // also the number of digits of a radix pass

// Rises with the entropy; -0 equals 0, and NaN stands with +inf.
EARL_DEVICE uint32_t order_of(float entropy) {
  const float number = entropy != entropy ? EARL_INFINITY : entropy + 0.0f;
  const uint32_t bits = __float_as_uint(number);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// Exclusive prefix sum of `count` over the block's threads; `total` is the whole.
EARL_DEVICE int scan_block(int count, int* total) {
  constexpr int kWarps = kGateThreads / kWarp;
  __shared__ int sums[kWarps];
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  int inclusive = count;
  for (int distance = 1; distance < static_cast<int>(kWarp); distance *= 2) {
    const int below = __shfl_sync(kAllLanes, inclusive, lane < distance ? lane : lane - distance);
    if (lane >= distance) inclusive += below;
  }
  __syncthreads();  // the block may still read the sums of an earlier call
  if (lane == static_cast<int>(kWarp) - 1) sums[warp] = inclusive;
  __syncthreads();
  int before = 0;
  *total = 0;
  for (int i = 0; i < kWarps; ++i) {
    if (i < warp) before += sums[i];
    *total += sums[i];
  }
  return before + inclusive - count;
}

// One response's tokens.
struct GateRow {
  const float* entropy;
  const bool* completion_mask;
  const bool* eligible;  // or null
  int64_t size;

  EARL_DEVICE bool is_candidate(int64_t token) const {
    return completion_mask[token] && (eligible == nullptr || eligible[token]);
  }
};

// The key of the row's k-th candidate from the top, and in `num_ties` how many of those with that very key are among
// the k. Expects at least k candidates. Eight bits a pass; the counts are integers, so their order does not matter.
EARL_DEVICE uint32_t select_key(const GateRow& row, int k, int* num_ties) {
  __shared__ unsigned histogram[kGateThreads];
  __shared__ int found_digit;
  __shared__ int found_rest;
  uint32_t prefix = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    histogram[threadIdx.x] = 0;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < row.size; i += kGateThreads) {
      const uint32_t key = order_of(row.entropy[i]);
      const bool is_in_play = shift == 24 || key >> (shift + 8) == prefix >> (shift + 8);
      if (row.is_candidate(i) && is_in_play) atomicAdd(&histogram[(key >> shift) & 0xffu], 1u);
    }
    __syncthreads();
    // Thread t looks at the digit 255 - t, so that the prefix sum counts the keys above.
    const int digit = static_cast<int>(kGateThreads) - 1 - static_cast<int>(threadIdx.x);
    const int count = static_cast<int>(histogram[digit]);
    int total;
    const int above = scan_block(count, &total);
    if (above < k && k <= above + count) {
      found_digit = digit;
      found_rest = k - above;
    }
    __syncthreads();
    prefix |= static_cast<uint32_t>(found_digit) << shift;
    k = found_rest;
    __syncthreads();  // all have read before the next pass writes
  }
  *num_ties = k;
  return prefix;
}

// Grid: (responses). Writes `keep` [N] for each token of the response. Offsets outside [0, N] are taken as the nearest.
static __global__ void __launch_bounds__(kGateThreads)
    entropy_gate(GateTokens tokens, bool* keep) {
  const int64_t start = larger(smaller(tokens.row_offsets[blockIdx.x], tokens.num_tokens), int64_t(0));
  const int64_t end = larger(smaller(tokens.row_offsets[blockIdx.x + 1], tokens.num_tokens), start);
  const GateRow row{tokens.entropy + start, tokens.completion_mask + start,
                    tokens.eligible == nullptr ? nullptr : tokens.eligible + start, end - start};
  int length_part = 0;
  int candidates_part = 0;
  for (int64_t i = threadIdx.x; i < row.size; i += kGateThreads) {
    length_part += row.completion_mask[i];
    candidates_part += row.is_candidate(i);
  }
  int length, num_candidates;
  scan_block(length_part, &length);
  scan_block(candidates_part, &num_candidates);
  // The slack keeps 0.07 * 100 = 7.000000000000001 at 7.
  const int wanted = larger(static_cast<int>(ceil(length * tokens.fraction - 1e-9)), 1);
  const bool is_selective = wanted < num_candidates;
  int num_ties = 0;
  const uint32_t threshold = is_selective ? select_key(row, wanted, &num_ties) : 0;
  int ties_before = 0;
  for (int64_t first = 0; first < row.size; first += kGateThreads) {
    const int64_t i = first + threadIdx.x;
    const bool is_candidate = i < row.size && row.is_candidate(i);
    const float value = is_candidate ? row.entropy[i] : 0.0f;
    const uint32_t key = order_of(value);
    bool is_kept = is_candidate;
    if (is_selective) {
      const bool is_tie = is_candidate && key == threshold;
      int num_here;
      const int rank = ties_before + scan_block(is_tie, &num_here);
      ties_before += num_here;
      is_kept = is_candidate && (key > threshold || (is_tie && rank < num_ties));
    }
    if (i < row.size) keep[start + i] = is_kept && value >= static_cast<float>(tokens.min_entropy);
  }
}

}  // namespace earl::cuda
