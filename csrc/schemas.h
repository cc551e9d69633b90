// Schemas of the ops. What each op means is said by its `*_ref` twin in earl/ops.
//
// N rows (tokens), P of them asked for, V entries of the vocabulary, H hidden columns, B responses. Statistics are fp32,
// or fp64 for fp64 input; logsumexp is fp64 always, as the backward passes take probabilities from it.
#pragma once

#include <torch/library.h>

namespace earl {

inline void define_ops(torch::Library& m) {
  // logits [N, V], targets [N] int64 -> [N] each; entropy in nats, logsumexp of logits / temperature.
  m.def(
      "token_logprob_entropy(Tensor logits, Tensor targets, float temperature) "
      "-> (Tensor logprob, Tensor entropy, Tensor logsumexp)");
  // Gradient [N, V] of the logits, in their type. Rows whose three gradients are all zero cost only zeros.
  m.def(
      "token_logprob_entropy_backward(Tensor grad_logprob, Tensor grad_entropy, Tensor grad_logsumexp, Tensor logits, "
      "Tensor targets, Tensor entropy, Tensor logsumexp, float temperature) -> Tensor");
  // The statistics named, [N] each, in the order of `names`; no gradient. Names: logprob, entropy, logsumexp,
  // chosen_logit, mean_logit, self_certainty, mean_entropy_change, top_p_mass, top_p_entropy, min_p_logprob.
  m.def(
      "token_statistics(Tensor logits, Tensor targets, float temperature, str[] names, float top_p, float min_p) "
      "-> Tensor[]");
  // hidden [N, H], weight [V, H], bias [V], targets [N]; positions [P] int64 ascending, none: all rows -> [P] each.
  // gemm_dtype: the type that tiles are multiplied in; none: the inputs' own where the processor has it, else fp32.
  m.def(
      "linear_token_logprob_entropy(Tensor hidden, Tensor weight, Tensor? bias, Tensor targets, float temperature, "
      "Tensor? positions, ScalarType? gemm_dtype) -> (Tensor logprob, Tensor entropy, Tensor logsumexp)");
  // Gradients of hidden [N, H], weight and bias, in their types; one that `needs` leaves out is an empty tensor.
  m.def(
      "linear_token_logprob_entropy_backward(Tensor grad_logprob, Tensor grad_entropy, Tensor grad_logsumexp, "
      "Tensor hidden, Tensor weight, Tensor? bias, Tensor targets, Tensor entropy, Tensor logsumexp, "
      "float temperature, Tensor? positions, ScalarType? gemm_dtype, bool[3] needs) "
      "-> (Tensor grad_hidden, Tensor grad_weight, Tensor grad_bias)");
  // entropy [N], completion_mask [N] bool, eligible [N] bool or none, row_offsets [B + 1] int64 -> bool [N].
  m.def(
      "entropy_gate(Tensor entropy, Tensor completion_mask, Tensor? eligible, Tensor row_offsets, float fraction, "
      "float min_entropy) -> Tensor");
  // All [N]; the weights hold gate and denominators. loss and sums are fp64: sums [5] counts gated tokens, those
  // clipped with a negative advantage, those with another, then the sum of k3 and the number of its terms.
  // grad_logprobs [N] is d loss / d logprobs.
  m.def(
      "gated_surrogate(Tensor logprobs, Tensor sampling_logprobs, Tensor advantages, Tensor? reference_logprobs, "
      "Tensor surrogate_weights, Tensor kl_weights, float clip_low, float clip_high, float dual_clip) "
      "-> (Tensor loss, Tensor grad_logprobs, Tensor sums)");
}

}  // namespace earl
