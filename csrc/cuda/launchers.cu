// The one source that a CUDA compiler sees: every kernel, for every type that the ops use.
#include "launchers.h"

#include "entropy_gate.cuh"
#include "gated_surrogate.cuh"
#include "token_grad.cuh"
#include "token_statistics.cuh"
#include "token_stats.cuh"

namespace earl::cuda {
namespace {

template <typename... Params, typename... Args>
void launch(void (*kernel)(Params...), Stream stream, Blocks blocks, unsigned threads, const Args&... args) {
  const dim3 grid{blocks.rows, blocks.slices, 1};
#if defined(__CUDACC__)
  kernel<<<grid, threads, 0, static_cast<cudaStream_t>(stream)>>>(args...);
#else
  (void)stream;
  on_cpu::run_grid(grid, threads, [&] { kernel(args...); });
#endif
}

}  // namespace

template <typename scalar>
void launch_softmax_parts(Stream stream, Blocks blocks, const TileOfLogits<scalar>& tile, const int64_t* targets,
                          acc_t<scalar> inverse_temperature, acc_t<scalar>* states, int num_parts, int first_part,
                          acc_t<scalar>* chosen) {
  launch(softmax_parts<scalar>, stream, blocks, kRowThreads, tile, targets, inverse_temperature,
         reinterpret_cast<SoftmaxState<acc_t<scalar>>*>(states), num_parts, first_part, chosen);
}

template <typename acc>
void launch_softmax_finish(Stream stream, Blocks blocks, const acc* states, int num_parts, const acc* chosen,
                           const int64_t* targets, int64_t vocab, double inverse_temperature,
                           const RowStatistics<acc>& out) {
  launch(softmax_finish<acc>, stream, blocks, kWarp, reinterpret_cast<const SoftmaxState<acc>*>(states), num_parts,
         chosen, targets, vocab, inverse_temperature, out);
}

template <typename scalar, typename grad_t>
void launch_softmax_grad(Stream stream, Blocks blocks, const TileOfLogits<scalar>& tile,
                         const RowGradients<acc_t<scalar>>& rows, grad_t* grad) {
  launch(softmax_grad<scalar, grad_t>, stream, blocks, kRowThreads, tile, rows, grad);
}

template <typename scalar>
void launch_token_statistics(Stream stream, Blocks blocks, const StatisticsRows<scalar>& rows,
                             const StatisticsOut<acc_t<scalar>>& out) {
  launch(token_statistics<scalar>, stream, blocks, kRowThreads, rows, out);
}

void launch_entropy_gate(Stream stream, Blocks blocks, const GateTokens& tokens, bool* keep) {
  launch(entropy_gate, stream, blocks, kGateThreads, tokens, keep);
}

template <typename scalar>
void launch_gated_surrogate(Stream stream, unsigned num_blocks, const SurrogateTokens<scalar>& tokens,
                            scalar* grad_logprobs, double* partial, double* total) {
  auto* sums = reinterpret_cast<SurrogateSums*>(partial);
  launch(surrogate_tokens<scalar>, stream, {num_blocks}, kTokenThreads, tokens, grad_logprobs, sums);
  launch(surrogate_total, stream, {1}, kTokenThreads, sums, static_cast<int>(num_blocks),
         reinterpret_cast<SurrogateSums*>(total));
}

#define EARL_FOR_LOGITS(scalar)                                                                                     \
  template void launch_softmax_parts<scalar>(Stream, Blocks, const TileOfLogits<scalar>&, const int64_t*,           \
                                             acc_t<scalar>, acc_t<scalar>*, int, int, acc_t<scalar>*);              \
  template void launch_token_statistics<scalar>(Stream, Blocks, const StatisticsRows<scalar>&,                      \
                                                const StatisticsOut<acc_t<scalar>>&);

#define EARL_FOR_GRADIENTS(scalar, grad_t)                                                                          \
  template void launch_softmax_grad<scalar, grad_t>(Stream, Blocks, const TileOfLogits<scalar>&,                    \
                                                    const RowGradients<acc_t<scalar>>&, grad_t*);

#define EARL_FOR_STATISTICS(acc)                                                                                    \
  template void launch_softmax_finish<acc>(Stream, Blocks, const acc*, int, const acc*, const int64_t*, int64_t,    \
                                           double, const RowStatistics<acc>&);                                      \
  template void launch_gated_surrogate<acc>(Stream, unsigned, const SurrogateTokens<acc>&, acc*, double*, double*);

EARL_FOR_LOGITS(float)
EARL_FOR_LOGITS(double)
EARL_FOR_LOGITS(Bf16)
EARL_FOR_LOGITS(Half)
EARL_FOR_GRADIENTS(float, float)
EARL_FOR_GRADIENTS(double, double)
EARL_FOR_GRADIENTS(Bf16, Bf16)
EARL_FOR_GRADIENTS(Half, Half)
EARL_FOR_GRADIENTS(float, Bf16)
EARL_FOR_GRADIENTS(float, Half)
EARL_FOR_STATISTICS(float)
EARL_FOR_STATISTICS(double)

}  // namespace earl::cuda
