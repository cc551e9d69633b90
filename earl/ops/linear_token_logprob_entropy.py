"""The vocabulary head and its statistics in tiles: from hidden states to log-prob and entropy, logits never stored."""

import torch
import torch.nn.functional as F

from earl.ops.token_logprob_entropy import TokenStats, fake_stats, in_stats_dtype, token_logprob_entropy_ref


def linear_token_logprob_entropy(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    temperature: float = 1.0,
    *,
    bias: torch.Tensor | None = None,
    positions: torch.Tensor | None = None,
) -> TokenStats:
    """`token_logprob_entropy` of the logits `hidden` [N, H] @ `weight` [V, H]^T + `bias` [V].

    With `positions` [P], rising indices of rows, only these rows are computed and the results are [P]; `targets` stays
    [N]. The backward pass computes tiles again for the rows that have a gradient only, and no gradient of a weight that
    wants none. Under autocast tiles are multiplied in autocast's type where the processor has it, else in fp32.
    Raises ValueError for shapes and temperature, TypeError for types, IndexError for targets or positions out of range.
    """
    hidden, weight, gemm_dtype = _autocast(hidden, weight)
    return in_stats_dtype(
        torch.ops.earl.linear_token_logprob_entropy(hidden, weight, bias, targets, temperature, positions, gemm_dtype)
    )


def linear_token_logprob_entropy_ref(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    temperature: float = 1.0,
    *,
    bias: torch.Tensor | None = None,
    positions: torch.Tensor | None = None,
) -> TokenStats:
    """`linear_token_logprob_entropy` in plain torch: all logits at once, in autocast's type where it is on."""
    if positions is not None:
        hidden, targets = hidden[positions], targets[positions]
    return token_logprob_entropy_ref(F.linear(hidden, weight, bias), targets, temperature)


def _autocast(hidden: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.dtype | None]:
    """The factors, and the type to multiply them in: None leaves it to the op. Autocast leaves fp64 alone."""
    device = hidden.device.type
    if not torch.is_autocast_enabled(device) or torch.float64 in (hidden.dtype, weight.dtype):
        return hidden, weight, None
    dtype = torch.get_autocast_dtype(device)
    if hidden.dtype != weight.dtype:
        hidden, weight = hidden.to(dtype), weight.to(dtype)
    has_it = device != "cpu" or torch.ops.earl.cpu_multiplies(dtype)
    return hidden, weight, dtype if has_it else torch.float32


@torch.library.register_fake("earl::linear_token_logprob_entropy")
def _fake_forward(hidden, weight, bias, targets, temperature, positions, gemm_dtype):  # noqa: PLR0913  (schema)
    return fake_stats(hidden, (hidden if positions is None else positions).shape[0])


@torch.library.register_fake("earl::linear_token_logprob_entropy_backward")
def _fake_backward(  # noqa: PLR0913  (the op's schema)
    grad_logprob,
    grad_entropy,
    grad_logsumexp,
    hidden,
    weight,
    bias,
    targets,
    entropy,
    logsumexp,
    temperature,
    positions,
    gemm_dtype,
    needs,
):
    def gradient_of(value, is_needed):
        return value.new_empty(value.shape if is_needed else (0,))

    grad_bias = weight.new_empty(0) if bias is None else gradient_of(bias, needs[2])
    return gradient_of(hidden, needs[0]), gradient_of(weight, needs[1]), grad_bias


def _save_for_backward(ctx, inputs, output):
    hidden, weight, bias, targets, ctx.temperature, positions, ctx.gemm_dtype = inputs
    _, entropy, logsumexp = output
    ctx.save_for_backward(hidden, weight, bias, targets, entropy, logsumexp, positions)


def _backward(ctx, *stats_grads):
    *tensors, positions = ctx.saved_tensors
    needs = ctx.needs_input_grad[:3]
    grads = torch.ops.earl.linear_token_logprob_entropy_backward(
        *stats_grads, *tensors, ctx.temperature, positions, ctx.gemm_dtype, needs
    )
    wanted = [grad if is_needed else None for grad, is_needed in zip(grads, needs, strict=True)]
    return *wanted, None, None, None, None


def _refuse_second_derivative(ctx, *grads):
    raise NotImplementedError(
        "earl::linear_token_logprob_entropy has no second derivative; use linear_token_logprob_entropy_ref where one "
        "is needed"
    )


torch.library.register_autograd("earl::linear_token_logprob_entropy", _backward, setup_context=_save_for_backward)
torch.library.register_autograd("earl::linear_token_logprob_entropy_backward", _refuse_second_derivative)
