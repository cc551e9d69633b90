// Forward kernels: a block reduces one part of one row, then a warp merges a row's parts and writes its statistics.
//
// A part is a range of columns: a slice of given logits, or of a vocabulary tile whose logits exist only for a while.
// Each part has its own place in `states`, so nothing depends on the order of blocks, and there are no atomics.
#pragma once

#include "columns.cuh"
#include "softmax_state.cuh"

namespace earl::cuda {

// Grid: (rows, slices of the tile). `states` is [rows, num_parts]; the tile's parts start at `first_part`.
// `chosen` [rows] is written by the part that holds the row's target.
//
// Four blocks a multiprocessor: without this ptxas aims at more of them in fp64 and spills.
template <typename scalar>
__global__ void __launch_bounds__(kRowThreads, 4)
    softmax_parts(TileOfLogits<scalar> tile, const int64_t* targets, acc_t<scalar> inverse_temperature,
                  SoftmaxState<acc_t<scalar>>* states, int num_parts, int first_part, acc_t<scalar>* chosen) {
  using acc = acc_t<scalar>;
  const int64_t row = blockIdx.x;
  const int begin = static_cast<int>(blockIdx.y) * tile.slice_columns;
  const int size = smaller(tile.slice_columns, tile.num_columns - begin);
  const scalar* logits = tile.logits + row * tile.row_stride + begin;
  const acc* bias = tile.bias == nullptr ? nullptr : tile.bias + begin;
  const MergingState<acc> empty{SoftmaxState<acc>::empty(), inverse_temperature};
  MergingState<acc> part = empty;
  for_logits(logits, bias, size, [&](int, const auto& values) { part.state.add(values, inverse_temperature); });
  part = reduce_block<kRowThreads>(part, empty);
  if (threadIdx.x != 0) return;
  states[row * num_parts + first_part + blockIdx.y] = part.state;
  const int64_t target = targets[row] - tile.first_column - begin;
  if (target >= 0 && target < size) chosen[row] = widen(logits[target]) + (bias == nullptr ? acc(0) : bias[target]);
}

// Grid: (rows), one warp each. A target outside the vocabulary gives a NaN log-prob; `chosen` is not read then.
template <typename acc>
__global__ void __launch_bounds__(kWarp)
    softmax_finish(const SoftmaxState<acc>* states, int num_parts, const acc* chosen, const int64_t* targets,
                   int64_t vocab, double inverse_temperature, RowStatistics<acc> out) {
  const int64_t row = blockIdx.x;
  const acc scale = static_cast<acc>(inverse_temperature);
  MergingState<acc> whole{SoftmaxState<acc>::empty(), scale};
  for (int part = threadIdx.x; part < num_parts; part += kWarp) {
    whole.state.merge(states[row * num_parts + part], scale);
  }
  whole = reduce_block<kWarp>(whole, whole);
  if (threadIdx.x != 0) return;
  const SoftmaxState<acc>& state = whole.state;
  const acc log_sum = log_of(state.sum);
  const bool is_in_vocabulary = targets[row] >= 0 && targets[row] < vocab;
  out.logprob[row] = is_in_vocabulary ? (chosen[row] - state.max) * scale - log_sum : acc(EARL_NAN);
  out.entropy[row] = log_sum - state.weighted / state.sum;
  out.logsumexp[row] = state.max * inverse_temperature + log_sum;
}

}  // namespace earl::cuda
