"""Samplers behind `hdl_bench.types.GenerationEngine`."""

import torch
from transformers import PreTrainedModel

from earl.engine.decode import DecodeEngine
from earl.engine.hf import HfEngine
from earl.engine.llama import unsupported_reason
from earl.policy import PromptEncoder
from toolchain.errors import UsageError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def make_engine(
    name: str, model: PreTrainedModel, encoder: PromptEncoder, *, dtype: str, max_rows: int
) -> HfEngine | DecodeEngine:
    """The engine called `name`; "auto" is the own decode loop where the architecture allows it.

    Raises:
        UsageError: "decode" was asked for and the model is none that it knows.
    """
    reason = unsupported_reason(model.config)
    if name == "decode" and reason:
        raise UsageError(f'sampling.engine = "decode" cannot run this model: {reason}; use "hf"')
    if name == "hf" or reason:
        return HfEngine(model, encoder, dtype=DTYPES[dtype], max_rows=max_rows)
    return DecodeEngine(model, encoder, dtype=DTYPES[dtype], max_rows=max_rows)
