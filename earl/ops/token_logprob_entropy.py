"""Log-probability, entropy and logsumexp of each token from its logits, in one pass, with gradients."""

from typing import NamedTuple

import torch


class TokenStats(NamedTuple):
    """Of softmax(logits / temperature), a row each: fp32, or fp64 for fp64 logits."""

    logprob: torch.Tensor  # [N], of the target
    entropy: torch.Tensor  # [N], nats
    logsumexp: torch.Tensor  # [N], of logits / temperature


def token_logprob_entropy(logits: torch.Tensor, targets: torch.Tensor, temperature: float = 1.0) -> TokenStats:
    """Log-prob of `targets` [N] (int64) and entropy under softmax(`logits` [N, V] / `temperature`), in one pass.

    Logits of any floating type; -inf is a token that cannot be sampled; a NaN or +inf makes its row's entropy NaN. Rows
    whose three incoming gradients are zero cost only the writing of zeros in the backward pass.
    Raises ValueError for shapes and temperature, IndexError for a target outside the vocabulary.
    """
    return in_stats_dtype(torch.ops.earl.token_logprob_entropy(logits, targets, temperature))


def token_logprob_entropy_ref(logits: torch.Tensor, targets: torch.Tensor, temperature: float = 1.0) -> TokenStats:
    """`token_logprob_entropy` in plain torch. Holds several copies of the logits in fp32 (fp64 for fp64)."""
    scaled_NV = logits.to(stats_dtype(logits.dtype)) / temperature
    logsumexp_N = torch.logsumexp(scaled_NV, dim=-1)
    logprobs_NV = scaled_NV - logsumexp_N[:, None]
    probs_NV = logprobs_NV.exp()
    # p ln p is 0 at p = 0; the mask comes first, so that the gradient there is 0 too and not 0 * inf.
    entropy_N = -(probs_NV * logprobs_NV.masked_fill(probs_NV == 0, 0.0)).sum(dim=-1)
    return TokenStats(logprobs_NV.gather(-1, targets[:, None]).squeeze(-1), entropy_N, logsumexp_N)


def stats_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type in which statistics of logits of `dtype` are summed and given."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def in_stats_dtype(results: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> TokenStats:
    """An op's log-prob, entropy and logsumexp, the last of which is fp64 for the backward pass, in one type."""
    logprob, entropy, logsumexp = results
    return TokenStats(logprob, entropy, logsumexp.to(logprob.dtype))


def fake_stats(source: torch.Tensor, num_rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Results of an op on input like `source`, without values."""
    dtypes = (stats_dtype(source.dtype), stats_dtype(source.dtype), torch.float64)
    return tuple(source.new_empty(num_rows, dtype=dtype) for dtype in dtypes)


@torch.library.register_fake("earl::token_logprob_entropy")
def _fake_forward(logits, targets, temperature):
    return fake_stats(logits, logits.shape[0])


@torch.library.register_fake("earl::token_logprob_entropy_backward")
def _fake_backward(  # noqa: PLR0913  (the op's schema)
    grad_logprob, grad_entropy, grad_logsumexp, logits, targets, entropy, logsumexp, temperature
):
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


def _save_for_backward(ctx, inputs, output):
    logits, targets, ctx.temperature = inputs
    ctx.save_for_backward(logits, targets, *output[1:])


def _backward(ctx, *stats_grads):
    grad_logits = torch.ops.earl.token_logprob_entropy_backward(*stats_grads, *ctx.saved_tensors, ctx.temperature)
    return grad_logits, None, None


def _refuse_second_derivative(ctx, grad):
    raise NotImplementedError(
        "earl::token_logprob_entropy has no second derivative; use token_logprob_entropy_ref where one is needed"
    )


torch.library.register_autograd("earl::token_logprob_entropy", _backward, setup_context=_save_for_backward)
torch.library.register_autograd("earl::token_logprob_entropy_backward", _refuse_second_derivative)
