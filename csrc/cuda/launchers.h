// Launches of the kernels, callable from code that no CUDA compiler sees. None waits; errors are left for the caller to
// read. Shapes of the arguments: args.h.
#pragma once

#include "args.h"

namespace earl::cuda {

using Stream = void*;  // a cudaStream_t

struct Blocks {
  unsigned rows;
  unsigned slices = 1;
};

// `scalar`: float, double, Bf16, Half. `states` is [rows, num_parts, 3].
template <typename scalar>
void launch_softmax_parts(Stream stream, Blocks blocks, const TileOfLogits<scalar>& tile, const int64_t* targets,
                          acc_t<scalar> inverse_temperature, acc_t<scalar>* states, int num_parts, int first_part,
                          acc_t<scalar>* chosen);

// `acc`: float, double.
template <typename acc>
void launch_softmax_finish(Stream stream, Blocks blocks, const acc* states, int num_parts, const acc* chosen,
                           const int64_t* targets, int64_t vocab, double inverse_temperature,
                           const RowStatistics<acc>& out);

// Every `scalar` with itself, and float with Bf16 and Half.
template <typename scalar, typename grad_t>
void launch_softmax_grad(Stream stream, Blocks blocks, const TileOfLogits<scalar>& tile,
                         const RowGradients<acc_t<scalar>>& rows, grad_t* grad);

template <typename scalar>
void launch_token_statistics(Stream stream, Blocks blocks, const StatisticsRows<scalar>& rows,
                             const StatisticsOut<acc_t<scalar>>& out);

void launch_entropy_gate(Stream stream, Blocks blocks, const GateTokens& tokens, bool* keep);

// `partial` is [num_blocks, 6] and `total` [6]: loss, gated, clipped low, clipped high, k3, number of k3's.
template <typename scalar>
void launch_gated_surrogate(Stream stream, unsigned num_blocks, const SurrogateTokens<scalar>& tokens,
                            scalar* grad_logprobs, double* partial, double* total);

}  // namespace earl::cuda
