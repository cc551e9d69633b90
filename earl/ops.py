"""The torch side of the compiled ops: log-probability, entropy and logsumexp of each token, with gradients.

Every op has a `*_ref` twin in plain torch that defines what it means. Not here: sampling, gates, losses. First
derivatives only: asking for a second one is an error.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from toolchain.errors import InfrastructureError

try:
    import earl._C  # noqa: F401  (importing it registers torch.ops.earl)
except ImportError as error:
    raise InfrastructureError(
        f"earl.ops: the compiled ops earl._C could not be loaded ({error}). Build them in the source folder with "
        "`pip install torch==2.13.0`, then `pip install --no-build-isolation -e .`"
    ) from error


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
    return TokenStats(*torch.ops.earl.token_logprob_entropy(logits, targets, temperature))


def token_logprob_entropy_ref(logits: torch.Tensor, targets: torch.Tensor, temperature: float = 1.0) -> TokenStats:
    """`token_logprob_entropy` in plain torch. Holds several copies of the logits in fp32 (fp64 for fp64)."""
    dtype = _stats_dtype(logits.dtype)
    scaled_NV = logits.to(dtype) / temperature
    logsumexp_N = torch.logsumexp(scaled_NV, dim=-1)
    logprobs_NV = scaled_NV - logsumexp_N[:, None]
    probs_NV = logprobs_NV.exp()
    # p ln p is 0 at p = 0; the mask comes first, so that the gradient there is 0 too and not 0 * inf.
    entropy_N = -(probs_NV * logprobs_NV.masked_fill(probs_NV == 0, 0.0)).sum(dim=-1)
    return TokenStats(logprobs_NV.gather(-1, targets[:, None]).squeeze(-1), entropy_N, logsumexp_N)


def linear_token_logprob_entropy(
    hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, temperature: float = 1.0, chunk_rows: int = 256
) -> TokenStats:
    """`token_logprob_entropy` of the logits `hidden` [N, H] @ `weight` [V, H]^T, which are never stored whole.

    At most `chunk_rows` rows of logits exist at a time; the backward pass computes them again, for the rows that have a
    gradient only. Under autocast both passes run in autocast's type; the weight's gradient is summed in fp32.
    Raises ValueError for shapes, types and temperature, IndexError for a target outside the vocabulary.
    """
    if hidden.dim() != 2 or weight.dim() != 2 or hidden.shape[1] != weight.shape[1]:
        raise ValueError(
            f"linear_token_logprob_entropy: hidden must be [N, H] and weight [V, H], got {tuple(hidden.shape)} and "
            f"{tuple(weight.shape)}; flatten the batch and check the head"
        )
    if targets.shape != hidden.shape[:1]:
        raise ValueError(
            f"linear_token_logprob_entropy: targets must be [{hidden.shape[0]}], one for each row of hidden, got "
            f"{tuple(targets.shape)}"
        )
    if chunk_rows < 1:
        raise ValueError(f"linear_token_logprob_entropy: chunk_rows must be at least 1, got {chunk_rows}")
    return TokenStats(*_LinearTokenLogprobEntropy.apply(hidden, weight, targets, temperature, chunk_rows))


def linear_token_logprob_entropy_ref(
    hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, temperature: float = 1.0
) -> TokenStats:
    """`linear_token_logprob_entropy` in plain torch: all logits at once, in autocast's type where it is on."""
    return token_logprob_entropy_ref(F.linear(hidden, weight), targets, temperature)


def _stats_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _matmul_dtype(hidden: torch.Tensor, weight: torch.Tensor) -> torch.dtype:
    """The type autocast would multiply in (it leaves fp64 alone), or else the one that both have."""
    device = hidden.device.type
    if torch.is_autocast_enabled(device) and torch.float64 not in (hidden.dtype, weight.dtype):
        return torch.get_autocast_dtype(device)
    if hidden.dtype != weight.dtype:
        raise ValueError(
            f"linear_token_logprob_entropy: hidden is {hidden.dtype} and weight {weight.dtype}; cast one of them or "
            "run under torch.autocast"
        )
    return hidden.dtype


class _LinearTokenLogprobEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, targets, temperature, chunk_rows):
        dtype = _matmul_dtype(hidden, weight)
        hidden_NH, weight_VH = hidden.to(dtype), weight.to(dtype)
        num_rows, vocab = hidden.shape[0], weight.shape[0]
        stats = [hidden.new_empty(num_rows, dtype=_stats_dtype(dtype)) for _ in TokenStats._fields]
        # One buffer for all chunks: fresh pages for each would cost more than the kernel that reads them.
        logits_CV = hidden.new_empty(min(chunk_rows, num_rows), vocab, dtype=dtype)
        with torch.autocast(hidden.device.type, enabled=False):
            for rows in _chunks(num_rows, chunk_rows):
                logits = torch.mm(hidden_NH[rows], weight_VH.t(), out=logits_CV[: rows.stop - rows.start])
                for whole, part in zip(stats, token_logprob_entropy(logits, targets[rows], temperature), strict=True):
                    whole[rows] = part
        _, entropy_N, logsumexp_N = stats
        ctx.save_for_backward(hidden_NH, weight_VH, targets, logsumexp_N, entropy_N)
        ctx.temperature, ctx.chunk_rows = temperature, chunk_rows
        ctx.hidden_dtype, ctx.weight_dtype = hidden.dtype, weight.dtype
        return tuple(stats)

    @staticmethod
    @once_differentiable
    def backward(ctx, *stats_grads):
        hidden_NH, weight_VH, targets_N, logsumexp_N, entropy_N = ctx.saved_tensors
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        active_A = torch.stack([grad != 0 for grad in stats_grads]).any(dim=0).nonzero().squeeze(-1)
        grad_hidden = hidden_NH.new_zeros(hidden_NH.shape, dtype=ctx.hidden_dtype) if needs_hidden else None
        grad_weight = weight_VH.new_zeros(weight_VH.shape, dtype=logsumexp_N.dtype) if needs_weight else None
        logits_CV = hidden_NH.new_empty(min(ctx.chunk_rows, len(active_A)), weight_VH.shape[0])
        with torch.autocast(hidden_NH.device.type, enabled=False):
            for chunk in _chunks(len(active_A), ctx.chunk_rows):
                rows_C = active_A[chunk]
                hidden_CH = hidden_NH[rows_C]
                logits = torch.mm(hidden_CH, weight_VH.t(), out=logits_CV[: len(rows_C)])
                grad_logits_CV = torch.ops.earl.token_logprob_entropy_backward(
                    *(grad[rows_C] for grad in stats_grads),
                    logits,
                    targets_N[rows_C],
                    logsumexp_N[rows_C],
                    entropy_N[rows_C],
                    ctx.temperature,
                )
                if needs_hidden:
                    grad_hidden[rows_C] = torch.mm(grad_logits_CV, weight_VH).to(ctx.hidden_dtype)
                if needs_weight:
                    # In the sums' type: a bf16 product would be rounded chunk by chunk, and adding it to fp32 costs
                    # torch about as much time as the wider product does.
                    grad_weight.addmm_(grad_logits_CV.t().to(grad_weight.dtype), hidden_CH.to(grad_weight.dtype))
        if needs_weight:
            grad_weight = grad_weight.to(ctx.weight_dtype)
        return grad_hidden, grad_weight, None, None, None


def _chunks(num_rows: int, chunk_rows: int) -> list[slice]:
    return [slice(start, min(start + chunk_rows, num_rows)) for start in range(0, num_rows, chunk_rows)]


@torch.library.register_fake("earl::token_logprob_entropy")
def _fake_forward(logits, targets, temperature):
    return tuple(logits.new_empty(logits.shape[0], dtype=_stats_dtype(logits.dtype)) for _ in TokenStats._fields)


@torch.library.register_fake("earl::token_logprob_entropy_backward")
def _fake_backward(  # noqa: PLR0913  (the op's schema)
    grad_logprob, grad_entropy, grad_logsumexp, logits, targets, logsumexp, entropy, temperature
):
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


def _save_for_backward(ctx, inputs, output):
    logits, targets, ctx.temperature = inputs
    _, entropy, logsumexp = output
    ctx.save_for_backward(logits, targets, logsumexp, entropy)


def _backward(ctx, *stats_grads):
    logits, targets, logsumexp, entropy = ctx.saved_tensors
    grad_logits = torch.ops.earl.token_logprob_entropy_backward(
        *stats_grads, logits, targets, logsumexp, entropy, ctx.temperature
    )
    return grad_logits, None, None


def _refuse_second_derivative(ctx, grad):
    raise NotImplementedError(
        "earl::token_logprob_entropy has no second derivative; use token_logprob_entropy_ref where one is needed"
    )


torch.library.register_autograd("earl::token_logprob_entropy", _backward, setup_context=_save_for_backward)
torch.library.register_autograd("earl::token_logprob_entropy_backward", _refuse_second_derivative)
