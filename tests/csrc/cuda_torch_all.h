// The host code of all CUDA ops, as one source: for tests.
#include "../../csrc/entropy_gate_cuda.cpp"
#include "../../csrc/gated_surrogate_cuda.cpp"
#include "../../csrc/linear_token_logprob_entropy_cuda.cpp"
#include "../../csrc/token_logprob_entropy_cuda.cpp"
#include "../../csrc/token_statistics_cuda.cpp"
