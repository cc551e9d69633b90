"""Samplers behind `hdl_bench.types.GenerationEngine`."""

import torch

from earl.config import SamplingConfig
from earl.engine.decode import DecodeEngine
from earl.engine.hf import HfEngine
from earl.engine.llama import unsupported_reason
from earl.policy import Policy
from toolchain.errors import UsageError


def compute_dtype(name: str, device: str = "cpu") -> torch.dtype:
    """What projections multiply in: "float32", "bfloat16", or with "auto" bfloat16 where the device has units for it.

    `device` is the type of the one that the model is on: a GPU elsewhere in the machine does not count. A CPU without
    units (no AVX-512 BF16 and no AMX) multiplies bfloat16 twenty and more times slower than float32.
    """
    if name == "auto":
        has_units = device == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return torch.bfloat16 if has_units else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def make_engine(policy: Policy, sampling: SamplingConfig, *, dtype: str) -> HfEngine | DecodeEngine:
    """The engine called `sampling.engine`; "auto" is the own decode loop where the architecture allows it.

    Raises:
        UsageError: "decode" was asked for and the model is none that it knows.
    """
    reason = unsupported_reason(policy.model.config)
    if sampling.engine == "decode" and reason:
        raise UsageError(f'sampling.engine = "decode" cannot run this model: {reason}; use "hf"')
    compute = compute_dtype(dtype, policy.model.device.type)
    if sampling.engine == "hf" or reason:
        return HfEngine(policy, dtype=compute, max_rows=sampling.max_rows)
    return DecodeEngine(policy, dtype=compute, max_rows=sampling.max_rows)
