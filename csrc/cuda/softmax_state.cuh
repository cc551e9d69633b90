// Statistics of softmax(z / T) over some of a row's logits z, kept so that parts of a row can be merged.
//
// With m the largest logit of the part, d = (z - m) / T and e = exp(d): S = sum e and W = sum d e. Then logsumexp =
// m / T + ln S and entropy = ln S - W / S, both terms of which are >= 0.
#pragma once

#include "device.cuh"

namespace earl::cuda {

template <typename acc>
struct SoftmaxState {
  acc max, sum, weighted;

  static EARL_DEVICE SoftmaxState empty() { return {-acc(EARL_INFINITY), acc(0), acc(0)}; }

  // Refers the sums to a larger maximum.
  EARL_DEVICE void rescale(acc new_max, acc inverse_temperature) {
    const acc delta = (max - new_max) * inverse_temperature;
    const acc factor = exp_of(delta);
    weighted = factor > 0 ? factor * (weighted + delta * sum) : acc(0);  // at 0, delta may be -inf
    sum *= factor;                                                       // a NaN stays
    max = new_max;
  }

  EARL_DEVICE void merge(SoftmaxState other, acc inverse_temperature) {
    const acc new_max = larger(max, other.max);
    if (new_max > -acc(EARL_INFINITY)) {
      rescale(new_max, inverse_temperature);
      other.rescale(new_max, inverse_temperature);
    }
    sum += other.sum;
    weighted += other.weighted;
  }

  template <int count>
  EARL_DEVICE void add(const acc (&logits)[count], acc inverse_temperature) {
    acc new_max = max;
#pragma unroll
    for (int i = 0; i < count; ++i) new_max = larger(logits[i], new_max);
    if (new_max > max) rescale(new_max, inverse_temperature);
    const acc shift = max == -acc(EARL_INFINITY) ? acc(0) : max;  // all -inf so far: they add nothing, a NaN shows
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const acc d = (logits[i] - shift) * inverse_temperature;
      const acc bounded = d < exp_lowest<acc>() ? exp_lowest<acc>() : d;
      const acc e = d < exp_lowest<acc>() ? acc(0) : exp_of(bounded);
      sum += e;
      weighted += bounded * e;
    }
  }

  EARL_DEVICE SoftmaxState from_lane(unsigned lanes) const {
    return {__shfl_xor_sync(kAllLanes, max, lanes), __shfl_xor_sync(kAllLanes, sum, lanes),
            __shfl_xor_sync(kAllLanes, weighted, lanes)};
  }
};

// A state and what it is merged by: for `reduce_block`.
template <typename acc>
struct MergingState {
  SoftmaxState<acc> state;
  acc inverse_temperature;
  EARL_DEVICE void merge_lane(unsigned lanes) { state.merge(state.from_lane(lanes), inverse_temperature); }
};

}  // namespace earl::cuda
