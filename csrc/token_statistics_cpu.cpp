// CPU kernel of earl::token_statistics: the statistics of a row that are asked for by name, without gradient.
//
// With p_max the largest probability of the row: a min-p law keeps the tokens with p >= min_p p_max, a top-p law (the
// nucleus) the fewest most likely tokens that hold at least top_p; both are renormalised.
#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "checks.h"
#include "parallel.h"
#include "rows.h"

namespace earl {
namespace {

constexpr const char* kOp = "token_statistics";
constexpr int kNumStatistics = 10;
constexpr std::array<const char*, kNumStatistics> kNames = {
    "logprob",        "entropy",             "logsumexp",  "chosen_logit",  "mean_logit",
    "self_certainty", "mean_entropy_change", "top_p_mass", "top_p_entropy", "min_p_logprob"};
enum Statistic {
  kLogprob,
  kEntropy,
  kLogsumexp,
  kChosenLogit,
  kMeanLogit,
  kSelfCertainty,
  kMeanEntropyChange,
  kTopPMass,
  kTopPEntropy,
  kMinPLogprob
};

// Sums of a second pass, when the maximum is known; t and e as in rows.h.
struct Sums {
  double logit = 0.0;
  double square = 0.0;           // of e
  double weighted_square = 0.0;  // of t e^2
  double kept = 0.0;             // of e where the min-p law keeps it
};

template <typename scalar>
EARL_INLINE Sums second_pass(const scalar* logits, int64_t size, acc_t<scalar> shift, acc_t<scalar> exponent,
                             acc_t<scalar> lowest_kept) {
  using acc = acc_t<scalar>;
  constexpr acc kFloor = kExponentFloor<acc>;
  Sums sums;
  for (int64_t start = 0; start < size; start += kBlock) {
    const int64_t count = std::min(kBlock, size - start);
    acc logit_sum = 0, square_sum = 0, weighted_sum = 0, kept_sum = 0;
#pragma omp simd reduction(+ : logit_sum, square_sum, weighted_sum, kept_sum)
    for (int64_t i = 0; i < count; ++i) {
      const acc logit = widen(logits[start + i]);
      const acc t = (logit - shift) * exponent;
      const acc bounded = t < kFloor ? kFloor : t;
      const acc e = exp2_nonpositive(bounded);
      logit_sum += logit;
      square_sum += e * e;
      weighted_sum += bounded * e * e;
      kept_sum += t >= lowest_kept ? e : acc(0);
    }
    sums.logit += logit_sum;
    sums.square += square_sum;
    sums.weighted_square += weighted_sum;
    sums.kept += kept_sum;
  }
  return sums;
}

struct Nucleus {
  double mass;
  double entropy;
};

// `exponents` of a whole row (no NaN), in any order; they are sorted as far as the nucleus reaches.
template <typename acc>
Nucleus nucleus(std::vector<acc>& exponents, double total, double top_p) {
  const int64_t size = static_cast<int64_t>(exponents.size());
  double mass = 0.0;
  double weighted = 0.0;
  int64_t sorted = 0;
  for (int64_t i = 0; i < size && mass < top_p * total; ++i) {
    if (i == sorted) {
      sorted = std::min(size, std::max<int64_t>(64, 8 * sorted));
      const auto first = exponents.begin() + i;
      const auto last = exponents.begin() + sorted;
      if (last != exponents.end()) std::nth_element(first, last, exponents.end(), std::greater<acc>());
      std::sort(first, last, std::greater<acc>());
    }
    const double e = std::exp2(double{exponents[i]});
    if (e == 0.0) break;  // so is all that follows: the whole sum missed `top_p` of the total by a rounding
    mass += e;
    weighted += exponents[i] * e;
  }
  return {mass / total, std::log(mass) - kLn2 * weighted / mass};
}

template <typename scalar>
struct StatisticsRows {
  using acc = acc_t<scalar>;
  const scalar* logits;
  int64_t row_stride;
  int64_t vocab;
  const int64_t* targets;
  Scale<acc> scale;
  double top_p;
  double min_p;
  std::array<acc*, kNumStatistics> out;  // null: not asked for

  void set(Statistic which, int64_t row, double value) const {
    if (out[which] != nullptr) out[which][row] = static_cast<acc>(value);
  }

  EARL_INLINE void operator()(int64_t begin, int64_t end) const {
    std::vector<acc> exponents;
    for (int64_t row = begin; row < end; ++row) {
      const scalar* row_logits = logits + row * row_stride;
      const double target_logit = widen(row_logits[targets[row]]);
      RowState<acc> state;
      accumulate<false>(state, row_logits, nullptr, vocab, scale);
      const acc shift = std::isinf(state.max) && state.max < 0 ? acc(0) : state.max;
      const Sums sums = second_pass(row_logits, vocab, shift, scale.exponent, static_cast<acc>(std::log2(min_p)));
      const double log_sum = std::log(state.sum);
      const double logprob = (target_logit - state.max) * scale.inverse_temperature - log_sum;
      const double entropy = log_sum - kLn2 * state.weighted / state.sum;
      const double logsumexp = state.max * scale.inverse_temperature + log_sum;
      const double mean_logit = sums.logit / static_cast<double>(vocab);
      set(kLogprob, row, logprob);
      set(kEntropy, row, entropy);
      set(kLogsumexp, row, logsumexp);
      set(kChosenLogit, row, target_logit);
      set(kMeanLogit, row, mean_logit);
      set(kSelfCertainty, row, logsumexp - mean_logit * scale.inverse_temperature);
      set(kMeanEntropyChange, row,
          ((entropy - log_sum) * sums.square + kLn2 * sums.weighted_square) / (state.sum * state.sum));
      const bool is_dropped = (widen(row_logits[targets[row]]) - shift) * scale.exponent < std::log2(min_p);
      set(kMinPLogprob, row,
          is_dropped ? -std::numeric_limits<double>::infinity() : logprob - std::log(sums.kept / state.sum));
      if (out[kTopPMass] != nullptr || out[kTopPEntropy] != nullptr) set_nucleus(row, row_logits, shift, state.sum, exponents);
    }
  }

  void set_nucleus(int64_t row, const scalar* row_logits, acc shift, double total, std::vector<acc>& exponents) const {
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    Nucleus found{kNone, kNone};  // of a row without a distribution
    if (total > 0.0) {
      exponents.resize(vocab);
      for (int64_t i = 0; i < vocab; ++i) exponents[i] = (widen(row_logits[i]) - shift) * scale.exponent;
      found = nucleus(exponents, total, top_p);
    }
    set(kTopPMass, row, found.mass);
    set(kTopPEntropy, row, found.entropy);
  }
};

int index_of(const std::string& name) {
  const auto* found = std::find(kNames.begin(), kNames.end(), name);
  std::string known;
  for (const char* one : kNames) known += std::string(known.empty() ? "" : ", ") + one;
  TORCH_CHECK_VALUE(found != kNames.end(), kOp, ": unknown statistic ", name, "; known: ", known);
  return static_cast<int>(found - kNames.begin());
}

std::vector<at::Tensor> token_statistics(const at::Tensor& logits, const at::Tensor& targets, double temperature,
                                         const std::vector<std::string>& names, double top_p, double min_p) {
  check_logits(kOp, logits, targets, temperature);
  TORCH_CHECK_VALUE(top_p > 0.0 && top_p <= 1.0, kOp, ": top_p must be in (0, 1], got ", top_p);
  TORCH_CHECK_VALUE(min_p >= 0.0 && min_p <= 1.0, kOp, ": min_p must be in [0, 1], got ", min_p);
  const at::Tensor dense_logits = with_dense_rows(logits);
  const at::Tensor dense_targets = targets.contiguous();
  std::array<at::Tensor, kNumStatistics> columns;
  for (const std::string& name : names) {
    TORCH_CHECK_VALUE(!columns[index_of(name)].defined(), kOp, ": ", name, " is asked for twice");
    columns[index_of(name)] = at::empty({logits.size(0)}, logits.options().dtype(stats_type(logits.scalar_type())));
  }
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, logits.scalar_type(), kOp, [&] {
    using acc = acc_t<scalar_t>;
    StatisticsRows<scalar_t> body{dense_logits.const_data_ptr<scalar_t>(),
                                  dense_logits.stride(0),
                                  logits.size(1),
                                  dense_targets.const_data_ptr<int64_t>(),
                                  Scale<acc>(temperature),
                                  top_p,
                                  min_p,
                                  {}};
    for (int which = 0; which < kNumStatistics; ++which) {
      body.out[which] = columns[which].defined() ? columns[which].mutable_data_ptr<acc>() : nullptr;
    }
    for_rows(body, logits.size(0), logits.size(1));
  });
  std::vector<at::Tensor> found;
  for (const std::string& name : names) found.push_back(columns[index_of(name)]);
  return found;
}

}  // namespace
}  // namespace earl

TORCH_LIBRARY_IMPL(earl, CPU, m) { m.impl("token_statistics", &earl::token_statistics); }
