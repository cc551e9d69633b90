// Every CUDA kernel with one std::thread a CUDA thread, on shapes with heads, tails and ties: for ThreadSanitizer, which
// finds a missing barrier, and AddressSanitizer, which finds an index out of bounds. `make test-sanitizers` builds it.
//
// Values are checked against what is known without computing; tests/csrc/test_cuda_kernels.py checks the rest.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <vector>

#include "cuda/launchers.h"

using namespace earl::cuda;

namespace {

constexpr int kVocab = 531;
constexpr unsigned kRows = 2;

void expect(const char* what, double got, double wanted) {
  if (std::abs(got - wanted) <= 1e-4) return;
  std::printf("%s: got %g, expected %g\n", what, got, wanted);
  std::exit(1);
}

template <typename scalar>
scalar zero() {
  return scalar{};  // all bits zero, in each of the types
}

// Flat logits: every probability is 1 / V.
template <typename scalar>
void run_rows() {
  using acc = acc_t<scalar>;
  const std::vector<scalar> logits(kRows * kVocab, zero<scalar>());
  const std::vector<int64_t> targets{0, kVocab - 1};
  const TileOfLogits<scalar> tile{logits.data(), kVocab, nullptr, 0, kVocab, 512};
  std::vector<acc> states(kRows * 2 * 3), chosen(kRows), logprob(kRows), entropy(kRows);
  std::vector<double> logsumexp(kRows);
  launch_softmax_parts(nullptr, {kRows, 2}, tile, targets.data(), acc(1), states.data(), 2, 0, chosen.data());
  launch_softmax_finish<acc>(nullptr, {kRows}, states.data(), 2, chosen.data(), targets.data(), kVocab, 1.0,
                             {logprob.data(), entropy.data(), logsumexp.data()});
  expect("logprob", logprob[1], -std::log(kVocab));
  expect("entropy", entropy[1], std::log(kVocab));
  expect("logsumexp", logsumexp[1], std::log(kVocab));
  const std::vector<acc> ones(kRows, acc(1));
  const std::vector<double> no_gradient(kRows, 0.0);
  const RowGradients<acc> rows{targets.data(),  entropy.data(), logsumexp.data(),
                               ones.data(),     ones.data(),    no_gradient.data(),
                               1.0};
  std::vector<scalar> grad(kRows * kVocab, zero<scalar>());
  launch_softmax_grad<scalar, scalar>(nullptr, {kRows, 2}, tile, rows, grad.data());
  std::vector<acc> mass(kRows), nucleus(kRows);
  StatisticsOut<acc> out = {};
  out.top_p_mass = mass.data();
  out.top_p_entropy = nucleus.data();
  launch_token_statistics<scalar>(nullptr, {kRows}, {logits.data(), kVocab, kVocab, targets.data(), 1, -1, acc(0.5)},
                                  out);
  expect("top_p_mass", mass[0], 266.0 / kVocab);
  expect("top_p_entropy", nucleus[0], std::log(266.0));
}

// Equal entropies: the first tokens pass.
void run_gate() {
  constexpr int kTokens = 700;
  const std::vector<float> entropy(kTokens, 1.0f);
  const std::unique_ptr<bool[]> mask(new bool[kTokens]), keep(new bool[kTokens]);
  std::fill_n(mask.get(), kTokens, true);
  const std::vector<int64_t> offsets{0, 300, 300, kTokens};
  launch_entropy_gate(nullptr, {3}, {entropy.data(), mask.get(), nullptr, offsets.data(), kTokens, 0.2, 0.0}, keep.get());
  for (int i = 0; i < kTokens; ++i) expect("gate", keep[i], i < 60 || (i >= 300 && i < 380));
}

template <typename scalar>
void run_surrogate() {
  constexpr int kTokens = 700;
  const std::vector<scalar> zeros(kTokens, 0), ones(kTokens, 1);
  std::vector<scalar> grad(kTokens);
  std::vector<double> partial(2 * 6), total(6);
  const SurrogateTokens<scalar> tokens{zeros.data(), zeros.data(),      ones.data(),       zeros.data(), ones.data(),
                                       ones.data(),  kTokens, scalar(0.8), scalar(1.28), scalar(0)};
  launch_gated_surrogate(nullptr, 2, tokens, grad.data(), partial.data(), total.data());
  expect("loss", total[0], -kTokens);
  expect("gated", total[1], kTokens);
  expect("gradient", grad[kTokens - 1], -1.0);
}

}  // namespace

int main() {
  run_rows<float>();
  run_rows<Bf16>();
  run_gate();
  run_surrogate<float>();
  std::puts("all kernels ran");
}
