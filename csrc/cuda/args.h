// What the host hands to the kernels: number types and plain records. No CUDA, no torch.
#pragma once

#include <cstdint>

namespace earl::cuda {

struct Bf16 {
  uint16_t bits;
};
struct Half {
  uint16_t bits;
};

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

constexpr int kMinSliceColumns = 8192;  // of a row for one block: four loads of 16 bytes a thread in 16-bit types

// Some columns of the logits of every row.
template <typename scalar>
struct TileOfLogits {
  const scalar* logits;  // [rows, num_columns]
  int64_t row_stride;
  const acc_t<scalar>* bias;  // [num_columns], or null
  int64_t first_column;       // of the tile, in the vocabulary
  int num_columns;
  int slice_columns;  // that a block takes
};

// What rows have from the forward pass and from above, [rows] each.
template <typename acc>
struct RowGradients {
  const int64_t* targets;
  const acc* entropy;
  const double* logsumexp;
  const acc* grad_logprob;
  const acc* grad_entropy;
  const double* grad_logsumexp;
  double inverse_temperature;
};

template <typename acc>
struct RowStatistics {
  acc *logprob, *entropy;  // [rows]
  double* logsumexp;       // [rows]
};

// Where each statistic that has a name goes, [rows], or null where it is not asked for.
template <typename acc>
struct StatisticsOut {
  acc *logprob, *entropy, *logsumexp, *chosen_logit, *mean_logit, *self_certainty, *mean_entropy_change, *top_p_mass,
      *top_p_entropy, *min_p_logprob;
};

template <typename scalar>
struct StatisticsRows {
  const scalar* logits;
  int64_t row_stride;
  int vocab;
  const int64_t* targets;
  acc_t<scalar> inverse_temperature;
  acc_t<scalar> log_min_p;
  acc_t<scalar> top_p;
};

// Packed tokens in responses.
struct GateTokens {
  const float* entropy;
  const bool* completion_mask;
  const bool* eligible;  // or null
  const int64_t* row_offsets;
  int64_t num_tokens;
  double fraction;
  double min_entropy;
};

template <typename scalar>
struct SurrogateTokens {
  const scalar* logprobs;
  const scalar* sampling_logprobs;
  const scalar* advantages;
  const scalar* reference_logprobs;  // null: no k3
  const scalar* surrogate_weights;
  const scalar* kl_weights;
  int64_t num_tokens;
  scalar lowest_ratio;
  scalar highest_ratio;
  scalar dual_clip;  // 0: none
};

}  // namespace earl::cuda
