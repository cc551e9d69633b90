"""Opens a model on this machine for `earl eval --benchmark`: under transformers or vLLM.

In two steps, so that mistakes in options and checkouts show before gigabytes of weights are read.
"""

import importlib.util
from dataclasses import dataclass

import torch

from earl.config import SamplingConfig
from earl.engine import make_engine
from earl.policy import Policy, PromptEncoder, load_any_model, load_eval_encoder, unusual_head
from hdl_bench.sampler import EngineSampler, Sampler, SamplerPlan
from toolchain.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalOptions:
    """A model on this machine. `template` is auto, chat or plain; `dtype` that of the sampler's arithmetic."""

    model: str
    template: str
    max_tokens: int
    dtype: str
    max_rows: int


def plan_transformers(options: LocalOptions) -> SamplerPlan:
    """A transformers model: the own decode loop where the architecture allows it.

    Raises UsageError as `load_eval_encoder` does.
    """
    encoder = load_eval_encoder(options.model, max_tokens=options.max_tokens)

    def load() -> Sampler:
        model = load_any_model(options.model)
        if torch.cuda.is_available():
            model = model.to("cuda")
        settings = SamplingConfig(engine="hf" if unusual_head(model) else "auto", max_rows=options.max_rows)
        engine = make_engine(Policy(model=model, encoder=encoder), settings, dtype=options.dtype)
        return EngineSampler(engine, render=encoder.render, max_rows=options.max_rows)

    return SamplerPlan(is_chat=_is_chat(encoder, options.template), open=load)


def plan_vllm(options: LocalOptions) -> SamplerPlan:
    """A model under vLLM. UsageError when vLLM is not installed, and as `load_eval_encoder`."""
    if importlib.util.find_spec("vllm") is None:
        raise UsageError("--engine vllm needs the package vllm; pip install 'earl-rtl[vllm]', or use transformers")
    encoder = load_eval_encoder(options.model, max_tokens=options.max_tokens)

    def load() -> Sampler:
        from earl.engine.vllm import VllmEngine

        engine = VllmEngine(options.model, encoder, dtype=options.dtype)
        return EngineSampler(engine, render=encoder.render, max_rows=options.max_rows)

    return SamplerPlan(is_chat=_is_chat(encoder, options.template), open=load)


def _is_chat(encoder: PromptEncoder, template: str) -> bool:
    has_template = bool(encoder.tokenizer.chat_template)
    if template == "chat" and not has_template:
        raise UsageError("the model's tokenizer has no chat template; ask it with --template plain")
    return has_template if template == "auto" else template == "chat"
