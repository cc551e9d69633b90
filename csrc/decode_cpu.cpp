// CPU kernels of a decoding step: attention of single tokens over a prompt that a group shares and over their own
// response, and drawing the next token from logits in one pass. What they mean: earl/engine/decode_ops.py.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <tuple>
#include <vector>

#include "checks.h"
#include "parallel.h"
#include "rows.h"

namespace earl {
namespace {

constexpr int64_t kLanes = 32;   // values computed side by side: they fit the registers of every instruction set

// scores[s][t] = sum over d of query[s][d] keys[d][t], for t < count. count is rounded up to whole lanes, which must be
// readable.
template <int S, typename scalar>
EARL_INLINE void score_keys(const float* query, const scalar* keys, int64_t stride, int64_t dim, int64_t count,
                            float* scores, int64_t score_stride) {
  for (int64_t start = 0; start < count; start += kLanes) {
    float sums[S][kLanes] = {};
    for (int64_t d = 0; d < dim; ++d) {
      const scalar* key = keys + d * stride + start;
      float factors[S];
      for (int s = 0; s < S; ++s) factors[s] = query[s * dim + d];
#pragma omp simd
      for (int64_t i = 0; i < kLanes; ++i) {
        const float value = widen(key[i]);
        for (int s = 0; s < S; ++s) sums[s][i] += value * factors[s];
      }
    }
    for (int s = 0; s < S; ++s) std::memcpy(scores + s * score_stride + start, sums[s], sizeof(sums[s]));
  }
}

// context[s][d] += sum over t < count of probs[s][t] values[t][d].
template <int S, typename scalar>
EARL_INLINE void mix_values(const float* probs, int64_t prob_stride, const scalar* values, int64_t dim, int64_t count,
                            float* context) {
  for (int64_t start = 0; start < dim; start += kLanes) {
    const int64_t width = std::min(kLanes, dim - start);
    float sums[S][kLanes] = {};
    for (int64_t t = 0; t < count; ++t) {
      const scalar* value = values + t * dim + start;
      float factors[S];
      for (int s = 0; s < S; ++s) factors[s] = probs[s * prob_stride + t];
      if (width == kLanes) {
#pragma omp simd
        for (int64_t i = 0; i < kLanes; ++i) {
          const float wide = widen(value[i]);
          for (int s = 0; s < S; ++s) sums[s][i] += wide * factors[s];
        }
      } else {
        for (int64_t i = 0; i < width; ++i) {
          for (int s = 0; s < S; ++s) sums[s][i] += widen(value[i]) * factors[s];
        }
      }
    }
    for (int s = 0; s < S; ++s) {
      for (int64_t i = 0; i < width; ++i) context[s * dim + start + i] += sums[s][i];
    }
  }
}

EARL_INLINE void softmax(float* scores, int64_t count) {
  float max = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : max)
  for (int64_t t = 0; t < count; ++t) max = scores[t] > max ? scores[t] : max;
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t t = 0; t < count; ++t) {
    const float exponent = (scores[t] - max) * static_cast<float>(kLog2E);
    const float e = exp2_nonpositive(exponent < kExponentFloor<float> ? kExponentFloor<float> : exponent);
    scores[t] = e;
    sum += e;
  }
  const float scale = 1 / sum;
#pragma omp simd
  for (int64_t t = 0; t < count; ++t) scores[t] *= scale;
}

// One task: a row and a key head. Rotates its query heads and its key, appends key and value, attends.
template <typename scalar>
struct AttendTasks {
  const scalar* qkv;  // (R, heads + 2 heads_kv, D)
  const float* cos;   // (R, D / 2)
  const float* sin;
  const scalar* prompt_keys;    // (P, heads_kv, D, prompt_stride)
  const scalar* prompt_values;  // (P, heads_kv, prompt_stride, D)
  const int64_t* prompt_lengths;
  const int64_t* group;
  scalar* keys;    // (R, heads_kv, D, stride)
  scalar* values;  // (R, heads_kv, stride, D)
  int64_t heads_kv;
  int64_t share;
  int64_t dim;
  int64_t prompt_stride;
  int64_t stride;
  const int64_t* lengths;  // (R,) tokens of the response that are in the cache
  scalar* context;         // (R, heads, D)

  EARL_INLINE void operator()(int64_t begin, int64_t end) const {
    const int64_t score_stride = prompt_stride + stride + 2 * kLanes;
    std::vector<float> scores(share * score_stride);
    std::vector<float> query(share * dim);
    std::vector<float> mixed(share * dim);
    for (int64_t task = begin; task < end; ++task) {
      one(task / heads_kv, task % heads_kv, query.data(), scores.data(), score_stride, mixed.data());
    }
  }

  EARL_INLINE void one(int64_t row, int64_t head, float* query, float* scores, int64_t score_stride,
                       float* mixed) const {
    const int64_t heads = heads_kv * share;
    const int64_t step = lengths[row];
    const scalar* token = qkv + row * (heads + 2 * heads_kv) * dim;
    const float* c = cos + row * dim / 2;
    const float* s = sin + row * dim / 2;
    const float scale = 1 / std::sqrt(static_cast<float>(dim));
    for (int64_t i = 0; i < share; ++i) turn(token + (head * share + i) * dim, c, s, scale, query + i * dim);
    scalar* own_keys = keys + (row * heads_kv + head) * dim * stride;
    scalar* own_values = values + (row * heads_kv + head) * stride * dim;
    turn(token + (heads + head) * dim, c, s, 1.0f, mixed);
    for (int64_t d = 0; d < dim; ++d) narrow(mixed[d], own_keys[d * stride + step]);
    std::memcpy(static_cast<void*>(own_values + step * dim), token + (heads + heads_kv + head) * dim,
                dim * sizeof(scalar));
    const int64_t length = prompt_lengths[group[row]];
    const scalar* shared_keys = prompt_keys + (group[row] * heads_kv + head) * dim * prompt_stride;
    const scalar* shared_values = prompt_values + (group[row] * heads_kv + head) * prompt_stride * dim;
    std::memset(mixed, 0, share * dim * sizeof(float));
    const Span span{length, step + 1, shared_keys, shared_values, own_keys, own_values};
    int64_t first = 0;
    for (; first + 3 <= share; first += 3) heads_at<3>(span, query, scores, score_stride, mixed, first);
    for (; first < share; ++first) heads_at<1>(span, query, scores, score_stride, mixed, first);
    scalar* out = context + (row * heads + head * share) * dim;
    for (int64_t i = 0; i < share * dim; ++i) narrow(mixed[i], out[i]);
  }

  struct Span {
    int64_t length;  // of the prompt
    int64_t num_own;
    const scalar* shared_keys;
    const scalar* shared_values;
    const scalar* own_keys;
    const scalar* own_values;
  };

  // S query heads from `first` on. The prompt's scores come first; the response's then overwrite what was rounded up to
  // whole lanes.
  template <int S>
  EARL_INLINE void heads_at(const Span& span, const float* query, float* scores, int64_t score_stride, float* mixed,
                            int64_t first) const {
    const int64_t count = span.length + span.num_own;
    float* part = scores + first * score_stride;
    const float* part_query = query + first * dim;
    score_keys<S>(part_query, span.shared_keys, prompt_stride, dim, span.length, part, score_stride);
    score_keys<S>(part_query, span.own_keys, stride, dim, span.num_own, part + span.length, score_stride);
    for (int i = 0; i < S; ++i) softmax(part + i * score_stride, count);
    mix_values<S>(part, score_stride, span.shared_values, dim, span.length, mixed + first * dim);
    mix_values<S>(part + span.length, score_stride, span.own_values, dim, span.num_own, mixed + first * dim);
  }

  // Rounded to the storage type after turning and before scaling, as the prompt's keys and the trainer's queries are.
  EARL_INLINE void turn(const scalar* in, const float* c, const float* s, float scale, float* out) const {
    const int64_t half = dim / 2;
    for (int64_t i = 0; i < half; ++i) {
      const float first = widen(in[i]);
      const float second = widen(in[half + i]);
      scalar low, high;
      narrow(first * c[i] - second * s[i], low);
      narrow(second * c[i] + first * s[i], high);
      out[i] = widen(low) * scale;
      out[half + i] = widen(high) * scale;
    }
  }
};

// Draws from softmax(logits / T) by inverse transform. While the statistics of a row are taken, the running sum and the
// running maximum after each block are kept; the draw finds the block in them and walks through that block alone.
struct SampleRows {
  const float* logits;
  int64_t vocab;
  const double* uniforms;  // in [0, 1)
  Scale<float> scale;
  int64_t* token_ids;
  float* logprob;
  float* entropy;

  EARL_INLINE void operator()(int64_t begin, int64_t end) const {
    std::vector<RowState<float>> after((vocab + kBlock - 1) / kBlock);
    for (int64_t row = begin; row < end; ++row) {
      const float* row_logits = logits + row * vocab;
      RowState<float> state;
      for (size_t block = 0; block < after.size(); ++block) {
        const int64_t start = static_cast<int64_t>(block) * kBlock;
        accumulate<false>(state, row_logits + start, nullptr, std::min(kBlock, vocab - start), scale);
        after[block] = state;
      }
      token_ids[row] = draw(row_logits, after, uniforms[row] * state.sum);
      double logsumexp;
      finish(state, row_logits[token_ids[row]], scale, logprob + row, entropy + row, &logsumexp);
    }
  }

  // The first token at which the running sum exceeds `target`; where rounding leaves none, the last of those that have
  // any probability.
  EARL_INLINE int64_t draw(const float* row_logits, const std::vector<RowState<float>>& after, double target) const {
    const float max = after.back().max;
    double before = 0.0;
    for (size_t block = 0; block < after.size(); ++block) {
      const double sum = after[block].sum * std::exp2((double{after[block].max} - double{max}) * scale.exponent);
      if (sum > target) {
        const int64_t token = walk(row_logits, static_cast<int64_t>(block), max, before, target);
        if (token >= 0) return token;
      }
      if (sum > before) before = sum;
    }
    for (size_t block = after.size(); block-- > 0;) {
      const int64_t token = walk(row_logits, static_cast<int64_t>(block), max, 0.0, HUGE_VAL);
      if (token >= 0) return token;
    }
    return vocab - 1;  // nothing has a probability: the row holds a NaN, which its statistics show
  }

  // The token of a block at which the sum, `before` its first one, exceeds `target`, or its last one of any
  // probability; -1 where there is none.
  EARL_INLINE int64_t walk(const float* row_logits, int64_t block, float max, double before, double target) const {
    int64_t last = -1;
    for (int64_t i = block * kBlock; i < std::min(vocab, (block + 1) * kBlock); ++i) {
      const float exponent = (row_logits[i] - max) * scale.exponent;
      const float e = exp2_nonpositive(exponent < scale.floor ? scale.floor : exponent);
      if (!(e > 0.0f)) continue;
      last = i;
      before += e;
      if (before > target) return i;
    }
    return last;
  }
};

void check_attention(const at::Tensor& qkv, const at::Tensor& prompt_keys, const at::Tensor& prompt_values,
                     const at::Tensor& keys, const at::Tensor& values) {
  const char* op = "decode_attention";
  TORCH_CHECK_VALUE(qkv.dim() == 3 && prompt_keys.dim() == 4 && keys.dim() == 4, op, ": qkv must be [R, heads, D], caches",
                    " 4-dimensional, got ", qkv.sizes(), ", ", prompt_keys.sizes(), ", ", keys.sizes());
  const int64_t heads_kv = keys.size(1);
  const int64_t heads = qkv.size(1) - 2 * heads_kv;
  TORCH_CHECK_VALUE(heads > 0 && heads % heads_kv == 0 && qkv.size(2) % 2 == 0, op, ": ", qkv.size(1), " heads of ",
                    qkv.size(2), " in qkv do not fit ", heads_kv, " heads in the cache");
  TORCH_CHECK_VALUE(keys.size(0) >= qkv.size(0) && keys.size(2) == qkv.size(2), op, ": keys ", keys.sizes(),
                    " have no place for ", qkv.size(0), " rows of width ", qkv.size(2));
  TORCH_CHECK_VALUE(prompt_keys.numel() == prompt_values.numel() && keys.numel() == values.numel() &&
                        prompt_keys.size(1) == heads_kv && prompt_keys.size(2) == qkv.size(2),
                    op, ": keys and values differ in size, or prompts and responses in heads");
  TORCH_CHECK_VALUE(prompt_keys.size(3) % kLanes == 0 && keys.size(3) % kLanes == 0, op,
                    ": caches must hold a multiple of ", kLanes, " positions, got ", prompt_keys.size(3), " and ",
                    keys.size(3));
}

void check_indices(const at::Tensor& indices, int64_t count, int64_t limit, const char* name) {
  TORCH_CHECK_VALUE(indices.dim() == 1 && indices.size(0) == count && indices.scalar_type() == at::kLong,
                    "decode_attention: ", name, " must be int64 [", count, "], got ", indices.sizes());
  const int64_t* values = indices.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < count; ++i) {
    TORCH_CHECK_INDEX(values[i] >= 0 && values[i] < limit, "decode_attention: ", name, " holds ", values[i],
                      ", outside [0, ", limit, ")");
  }
}

at::Tensor decode_attention(const at::Tensor& qkv, const at::Tensor& cos, const at::Tensor& sin,
                            const at::Tensor& prompt_keys, const at::Tensor& prompt_values,
                            const at::Tensor& prompt_lengths, const at::Tensor& group, const at::Tensor& lengths,
                            at::Tensor keys, at::Tensor values) {
  check_attention(qkv, prompt_keys, prompt_values, keys, values);
  for (const at::Tensor& tensor : {prompt_keys, prompt_values, keys, values, cos, sin, prompt_lengths, group, lengths}) {
    TORCH_CHECK_VALUE(tensor.is_contiguous(), "decode_attention: all but qkv must be contiguous");
  }
  const int64_t num_rows = qkv.size(0);
  check_indices(prompt_lengths, prompt_keys.size(0), prompt_keys.size(3) + 1, "prompt_lengths");
  check_indices(group, num_rows, prompt_keys.size(0), "group");
  check_indices(lengths, num_rows, keys.size(3), "lengths");
  const int64_t heads_kv = keys.size(1);
  const int64_t dim = qkv.size(2);
  const int64_t heads = qkv.size(1) - 2 * heads_kv;
  const at::Tensor dense = qkv.contiguous();
  at::Tensor context = at::empty({num_rows, heads, dim}, qkv.options());
  const auto run = [&](auto zero) {
    using scalar = decltype(zero);
    const AttendTasks<scalar> body{dense.const_data_ptr<scalar>(),
                                   cos.const_data_ptr<float>(),
                                   sin.const_data_ptr<float>(),
                                   prompt_keys.const_data_ptr<scalar>(),
                                   prompt_values.const_data_ptr<scalar>(),
                                   prompt_lengths.const_data_ptr<int64_t>(),
                                   group.const_data_ptr<int64_t>(),
                                   keys.mutable_data_ptr<scalar>(),
                                   values.mutable_data_ptr<scalar>(),
                                   heads_kv,
                                   heads / heads_kv,
                                   dim,
                                   prompt_keys.size(3),
                                   keys.size(3),
                                   lengths.const_data_ptr<int64_t>(),
                                   context.mutable_data_ptr<scalar>()};
    for_rows(body, num_rows * heads_kv, prompt_keys.size(3) * dim);
  };
  if (qkv.scalar_type() == at::kFloat) {
    run(0.0f);
  } else {
    TORCH_CHECK_TYPE(qkv.scalar_type() == at::kBFloat16, "decode_attention: qkv must be float32 or bfloat16, got ",
                     qkv.scalar_type());
    run(c10::BFloat16());
  }
  return context;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> sample_tokens(const at::Tensor& logits, const at::Tensor& uniforms,
                                                             double temperature) {
  TORCH_CHECK_VALUE(logits.dim() == 2 && logits.size(1) > 0 && logits.scalar_type() == at::kFloat,
                    "sample_tokens: logits must be float32 [R, V], got ", logits.scalar_type(), " ", logits.sizes());
  TORCH_CHECK_VALUE(uniforms.dim() == 1 && uniforms.size(0) == logits.size(0) && uniforms.scalar_type() == at::kDouble,
                    "sample_tokens: uniforms must be float64 [", logits.size(0), "], got ", uniforms.sizes());
  check_temperature("sample_tokens", temperature);
  const at::Tensor dense = logits.contiguous();
  const at::Tensor dense_uniforms = uniforms.contiguous();
  const int64_t num_rows = logits.size(0);
  at::Tensor token_ids = at::empty({num_rows}, logits.options().dtype(at::kLong));
  at::Tensor logprob = at::empty({num_rows}, logits.options());
  at::Tensor entropy = at::empty({num_rows}, logits.options());
  const SampleRows body{dense.const_data_ptr<float>(),
                        logits.size(1),
                        dense_uniforms.const_data_ptr<double>(),
                        Scale<float>(temperature),
                        token_ids.mutable_data_ptr<int64_t>(),
                        logprob.mutable_data_ptr<float>(),
                        entropy.mutable_data_ptr<float>()};
  for_rows(body, num_rows, logits.size(1));
  return {token_ids, logprob, entropy};
}

}  // namespace
}  // namespace earl

TORCH_LIBRARY_FRAGMENT(earl, m) {
  m.def(
      "decode_attention(Tensor qkv, Tensor cos, Tensor sin, Tensor prompt_keys, Tensor prompt_values, "
      "Tensor prompt_lengths, Tensor group, Tensor lengths, Tensor(a!) keys, Tensor(b!) values) -> Tensor");
  m.def("sample_tokens(Tensor logits, Tensor uniforms, float temperature) -> (Tensor token_ids, Tensor logprob, Tensor entropy)");
}

TORCH_LIBRARY_IMPL(earl, CPU, m) {
  m.impl("decode_attention", &earl::decode_attention);
  m.impl("sample_tokens", &earl::sample_tokens);
}
