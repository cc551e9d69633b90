"""The torch side of the layer kernels: RMSNorm after the residual addition, rotary positions, SwiGLU; with gradients.

Every op has a `*_ref` twin in plain torch that defines what it means and serves other devices than the CPU. First
derivatives only. Shapes: _N tokens, _H hidden, _K heads, _D head width, _I width of the MLP.
"""

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from earl import ops


def is_compiled_for(tensor: torch.Tensor) -> bool:
    """Whether a kernel, not its twin, is to run on `tensor`."""
    return tensor.is_cpu and ops.in_force() is ops.OPS["compiled"]


def add_rms_norm(
    x_NH: torch.Tensor, delta_NH: torch.Tensor | None, weight_H: torch.Tensor, eps: float, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """The residual stream x + delta, in x's type, and its RMSNorm in `dtype`, which is delta's; None adds nothing.

    x is float32, or float64 with a `dtype` of float64. Raises ValueError or TypeError for shapes and types.
    """
    if not is_compiled_for(x_NH):
        return add_rms_norm_ref(x_NH, delta_NH, weight_H, eps, dtype)
    if not torch.is_grad_enabled():
        return torch.ops.earl.add_rms_norm(x_NH, delta_NH, weight_H, eps, dtype)[:2]
    return _AddRmsNorm.apply(x_NH, delta_NH, weight_H, eps, dtype)


def add_rms_norm_ref(
    x_NH: torch.Tensor, delta_NH: torch.Tensor | None, weight_H: torch.Tensor, eps: float, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """`add_rms_norm` in plain torch."""
    sum_NH = x_NH if delta_NH is None else x_NH + delta_NH
    return sum_NH, F.rms_norm(sum_NH, weight_H.shape, weight_H, eps).to(dtype)


def silu_mul(gate_NI: torch.Tensor, up_NI: torch.Tensor) -> torch.Tensor:
    """silu(gate) * up, rounded once. Rows must be dense; the two may be halves of one matrix."""
    if not is_compiled_for(gate_NI):
        return silu_mul_ref(gate_NI, up_NI)
    if not torch.is_grad_enabled():
        return torch.ops.earl.silu_mul(gate_NI, up_NI)
    return _SiluMul.apply(gate_NI, up_NI)


def silu_mul_ref(gate_NI: torch.Tensor, up_NI: torch.Tensor) -> torch.Tensor:
    """`silu_mul` in plain torch, which rounds in between too."""
    return F.silu(gate_NI) * up_NI


def rotate(x_NKD: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding in the halves convention; cos and sin are (N, D / 2), float32 (float64 for float64)."""
    if not is_compiled_for(x_NKD):
        return rotate_ref(x_NKD, cos, sin)
    if not torch.is_grad_enabled():
        return torch.ops.earl.rotate(x_NKD, cos, sin, False)
    return _Rotate.apply(x_NKD, cos, sin)


def rotate_ref(x_NKD: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """`rotate` in plain torch."""
    first, second = x_NKD.to(cos.dtype).chunk(2, dim=-1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x_NKD.dtype)


class _AddRmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x_NH, delta_NH, weight_H, eps, dtype):
        sum_NH, normed_NH, rstd_N = torch.ops.earl.add_rms_norm(x_NH, delta_NH, weight_H, eps, dtype)
        ctx.save_for_backward(sum_NH, weight_H, rstd_N)
        ctx.delta_dtype = None if delta_NH is None else delta_NH.dtype
        ctx.set_materialize_grads(False)
        return sum_NH, normed_NH

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_sum, grad_normed):
        sum_NH, weight_H, rstd_N = ctx.saved_tensors
        if grad_normed is None:
            grad_x, grad_weight = grad_sum, None
        else:
            grad_x, grad_weight = torch.ops.earl.add_rms_norm_backward(grad_sum, grad_normed, sum_NH, weight_H, rstd_N)
        grad_delta = None if ctx.delta_dtype is None or grad_x is None else grad_x.to(ctx.delta_dtype)
        return grad_x, grad_delta, grad_weight, None, None


class _SiluMul(torch.autograd.Function):
    @staticmethod
    def forward(ctx, gate_NI, up_NI):
        ctx.save_for_backward(gate_NI, up_NI)
        return torch.ops.earl.silu_mul(gate_NI, up_NI)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_NI):
        return torch.ops.earl.silu_mul_backward(grad_NI, *ctx.saved_tensors)


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x_NKD, cos, sin):
        ctx.save_for_backward(cos, sin)
        return torch.ops.earl.rotate(x_NKD, cos, sin, False)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_NKD):
        return torch.ops.earl.rotate(grad_NKD, *ctx.saved_tensors, True), None, None
