"""The sizes of a model from its config alone: built on torch's meta device, which has shapes and no memory."""

from dataclasses import dataclass

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from earl.config import Config
from earl.engine.llama import unsupported_reason
from earl.model_source import base_of, light_source
from earl.policy import unusual_head
from toolchain.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """Numbers of values unless said otherwise."""

    architecture: str
    num_parameters: int  # tied ones once
    num_body: int  # of the projections that every token is multiplied by, without the head
    num_trainable: int
    num_adapter: int  # 0 without LoRA
    num_adapted: int  # of the projections under adapters
    num_layers: int
    hidden: int
    intermediate: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocabulary: int
    context_length: int | None  # positions; None: the config names none
    unsupported: str | None  # why the decode loop and the training pass of ours cannot run it
    unusual_head: tuple[str, ...]  # why it cannot be trained, if it cannot


def read_shape(config: Config) -> ModelShape:
    """The shape of the model of a config, with its adapters.

    Raises:
        UsageError: no such model, no causal language model, or a LoRA target that no module has.
    """
    path = config.model.path
    source, how = light_source(path)
    try:
        settings = AutoConfig.from_pretrained(base_of(source), **how)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(settings, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the config of {path}: {str(error).splitlines()[0]}") from error
    return _shape_of(model, settings, config)


def _shape_of(model: torch.nn.Module, settings: PretrainedConfig, config: Config) -> ModelShape:
    head, values = model.get_output_embeddings(), settings.to_dict()
    projections = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    adapted = _adapted(projections, config) if config.lora.rank else []
    num_adapter = sum(config.lora.rank * (module.in_features + module.out_features) for module in adapted)
    num_heads = values.get("num_attention_heads") or values["n_head"]
    hidden = settings.hidden_size
    return ModelShape(
        architecture=values["model_type"],
        num_parameters=num_parameters,
        num_body=sum(module.weight.numel() for module in projections.values()),
        num_trainable=num_adapter or num_parameters,
        num_adapter=num_adapter,
        num_adapted=sum(module.weight.numel() for module in adapted),
        num_layers=settings.num_hidden_layers,
        hidden=hidden,
        intermediate=values.get("intermediate_size") or 4 * hidden,
        num_heads=num_heads,
        num_kv_heads=values.get("num_key_value_heads") or num_heads,
        head_dim=values.get("head_dim") or hidden // num_heads,
        vocabulary=settings.vocab_size,
        context_length=values.get("max_position_embeddings"),
        unsupported=unsupported_reason(settings),
        unusual_head=tuple(unusual_head(model)),
    )


def _adapted(projections: dict[str, torch.nn.Linear], config: Config) -> list[torch.nn.Linear]:
    """The projections that peft would put an adapter on."""
    targets = config.lora.target_modules
    if targets == ("all-linear",):
        return list(projections.values())
    found = {
        target: {name for name in projections if name == target or name.endswith(f".{target}")} for target in targets
    }
    missing = [target for target, names in found.items() if not names]
    if missing:
        ends = sorted({name.rpartition(".")[2] for name in projections})
        raise UsageError(
            f"lora.target_modules: no projection is called {', '.join(missing)}; there are {', '.join(ends)}"
        )
    return [projections[name] for name in sorted(set().union(*found.values()))]
