// Every kernel with every type that the ops launch it with: compiled for each GPU by tests/csrc/test_cuda_compiles.py.
#include "cuda/entropy_gate.cuh"
#include "cuda/gated_surrogate.cuh"
#include "cuda/token_grad.cuh"
#include "cuda/token_statistics.cuh"
#include "cuda/token_stats.cuh"

namespace earl::cuda {

#define EARL_FOR_LOGITS(scalar)                                                                                \
  template __global__ void softmax_parts<scalar>(TileOfLogits<scalar>, const int64_t*, acc_t<scalar>,          \
                                                 SoftmaxState<acc_t<scalar>>*, int, int, acc_t<scalar>*);      \
  template __global__ void softmax_grad<scalar, scalar>(TileOfLogits<scalar>, RowGradients<acc_t<scalar>>,     \
                                                        scalar*);                                              \
  template __global__ void token_statistics<scalar>(StatisticsRows<scalar>, StatisticsOut<acc_t<scalar>>);

#define EARL_FOR_STATISTICS(acc)                                                                               \
  template __global__ void softmax_finish<acc>(const SoftmaxState<acc>*, int, const acc*, const int64_t*,      \
                                               int64_t, acc, acc*, acc*, acc*);                                \
  template __global__ void surrogate_tokens<acc>(SurrogateTokens<acc>, int64_t, acc*, SurrogateSums*);

EARL_FOR_LOGITS(float)
EARL_FOR_LOGITS(double)
EARL_FOR_LOGITS(Bf16)
EARL_FOR_LOGITS(Half)
EARL_FOR_STATISTICS(float)
EARL_FOR_STATISTICS(double)
template __global__ void softmax_grad<float, Bf16>(TileOfLogits<float>, RowGradients<float>, Bf16*);
template __global__ void softmax_grad<float, Half>(TileOfLogits<float>, RowGradients<float>, Half*);

}  // namespace earl::cuda
