// Statistics of a row that are asked for by name: one block a row, which reads it two times, or about forty for top-p.
//
// With p_max the row's largest probability: a min-p law keeps the tokens with p >= min_p p_max, a top-p law (the
// nucleus) the fewest most likely tokens that hold at least top_p; both are renormalised.
#pragma once

#include "columns.cuh"
#include "softmax_state.cuh"

namespace earl::cuda {

template <typename T>
EARL_DEVICE T share_with_block(const T& of_first_thread) {
  __shared__ T shared;
  __syncthreads();  // an earlier value may still be read
  if (threadIdx.x == 0) shared = of_first_thread;
  __syncthreads();
  return shared;
}

template <typename acc, int count>
struct Sums {
  acc value[count];
  EARL_DEVICE void merge_lane(unsigned lanes) {
#pragma unroll
    for (int i = 0; i < count; ++i) value[i] += __shfl_xor_sync(kAllLanes, value[i], lanes);
  }
};

// A row's d = (z - max) / T and e = exp(d), and sums over it that all threads of the block get.
template <typename scalar>
struct ShiftedRow {
  using acc = acc_t<scalar>;
  const scalar* logits;
  int vocab;
  acc shift;
  acc inverse_temperature;

  // `add(sums, d, e, logit)` for every column.
  template <int count, typename Add>
  EARL_DEVICE Sums<acc, count> sum(Add add) const {
    Sums<acc, count> sums = {};
    const acc* no_bias = nullptr;
    for_logits(logits, no_bias, vocab, [&](int, const auto& values) {
#pragma unroll
      for (int i = 0; i < static_cast<int>(sizeof(values) / sizeof(acc)); ++i) {
        const acc d = (values[i] - shift) * inverse_temperature;
        add(sums.value, d, d < exp_lowest<acc>() ? acc(0) : exp_of(d), values[i]);
      }
    });
    return share_with_block(reduce_block<kRowThreads>(sums, Sums<acc, count>{}));
  }
};

template <typename acc>
struct Nucleus {
  acc mass;      // of e
  acc weighted;  // sum of d e
};

// The smallest d of the nucleus is found bit by bit from the top: the largest bound above which at least top_p lies.
// Among tokens equal to the bound only as many count as are needed.
template <typename scalar>
EARL_DEVICE Nucleus<acc_t<scalar>> find_nucleus(const ShiftedRow<scalar>& row, acc_t<scalar> top_p) {
  using acc = acc_t<scalar>;
  const acc wanted = top_p * row.template sum<1>([](acc* sums, acc, acc e, acc) { sums[0] += e; }).value[0];
  bits_t<acc> bound = 0;  // of -d, which is not negative: its bits rise with it
  for (int bit = 8 * sizeof(acc) - 2; bit >= 0; --bit) {
    const acc limit = from_bits(static_cast<bits_t<acc>>(bound | (bits_t<acc>(1) << bit)));
    const acc above = row.template sum<1>([&](acc* sums, acc d, acc e, acc) {
                           if (-d < limit) sums[0] += e;
                         }).value[0];
    if (above < wanted) bound |= bits_t<acc>(1) << bit;
  }
  const acc last = from_bits(bound);
  const auto sums = row.template sum<3>([&](acc* sums, acc d, acc e, acc) {
    if (-d < last) {
      sums[0] += e;
      sums[1] += d * e;
    } else if (-d == last) {
      sums[2] += 1;
    }
  });
  const acc e = exp_of(-last);
  const acc needed = larger(ceil_of((wanted - sums.value[0]) / e), acc(1));
  const acc num_equal = e > 0 ? smaller(needed, sums.value[2]) : acc(0);
  return {sums.value[0] + num_equal * e, sums.value[1] - (num_equal > 0 ? num_equal * last * e : acc(0))};
}

template <typename acc>
EARL_DEVICE void set(acc* out, int64_t row, acc value) {
  if (out != nullptr && threadIdx.x == 0) out[row] = value;
}

// Grid: (rows). Targets outside the vocabulary give NaN.
template <typename scalar>
__global__ void __launch_bounds__(kRowThreads)
    token_statistics(StatisticsRows<scalar> rows, StatisticsOut<acc_t<scalar>> out) {
  using acc = acc_t<scalar>;
  const int64_t row = blockIdx.x;
  const acc scale = rows.inverse_temperature;
  const scalar* logits = rows.logits + row * rows.row_stride;
  const int64_t target = rows.targets[row];
  const acc target_logit = target >= 0 && target < rows.vocab ? widen(logits[target]) : acc(EARL_NAN);
  const MergingState<acc> empty{SoftmaxState<acc>::empty(), scale};
  MergingState<acc> whole = empty;
  const acc* no_bias = nullptr;
  for_logits(logits, no_bias, rows.vocab, [&](int, const auto& values) { whole.state.add(values, scale); });
  const SoftmaxState<acc> state = share_with_block(reduce_block<kRowThreads>(whole, empty)).state;
  const acc log_sum = log_of(state.sum);
  const acc entropy = log_sum - state.weighted / state.sum;
  const acc logprob = (target_logit - state.max) * scale - log_sum;
  const acc logsumexp = state.max * scale + log_sum;
  set(out.logprob, row, logprob);
  set(out.entropy, row, entropy);
  set(out.logsumexp, row, logsumexp);
  set(out.chosen_logit, row, target_logit);
  const acc shift = state.max == -acc(EARL_INFINITY) ? acc(0) : state.max;
  const ShiftedRow<scalar> shifted{logits, rows.vocab, shift, scale};
  const auto sums = shifted.template sum<4>([&](acc* sums, acc d, acc e, acc logit) {
    sums[0] += logit;
    sums[1] += e * e;
    sums[2] += e > 0 ? d * e * e : acc(0);
    sums[3] += d >= rows.log_min_p ? e : acc(0);
  });
  const acc mean_logit = sums.value[0] / rows.vocab;
  set(out.mean_logit, row, mean_logit);
  set(out.self_certainty, row, logsumexp - mean_logit * scale);
  set(out.mean_entropy_change, row,
      ((entropy - log_sum) * sums.value[1] + sums.value[2]) / (state.sum * state.sum));
  const bool is_dropped = (target_logit - shift) * scale < rows.log_min_p;
  set(out.min_p_logprob, row, is_dropped ? -acc(EARL_INFINITY) : logprob - log_of(sums.value[3] / state.sum));
  if (out.top_p_mass == nullptr && out.top_p_entropy == nullptr) return;
  Nucleus<acc> nucleus{acc(EARL_NAN), acc(EARL_NAN)};  // of a row that has no probabilities
  if (state.sum > 0) nucleus = find_nucleus(shifted, rows.top_p);
  set(out.top_p_mass, row, nucleus.mass / state.sum);
  set(out.top_p_entropy, row, log_of(nucleus.mass) - nucleus.weighted / nucleus.mass);
}

}  // namespace earl::cuda
