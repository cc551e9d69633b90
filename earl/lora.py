"""Low-rank adapters (arXiv 2106.09685) by peft: put on, kept, read, merged.

Adapters are injected into the model in place, so everything that calls a projection as a module sees them. What lays
weights out for itself, as the decode loop does, asks `merged_weight`. Folders are peft's own: adapter_config.json with
the name of the base, and adapter_model.safetensors. Not here: quantised bases, adapters of embeddings or of the head.
"""

import copy
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from earl.model_source import ADAPTER_WEIGHTS
from earl.update_params import LoraParams
from toolchain.errors import UsageError

if TYPE_CHECKING:
    from peft import LoraConfig

_NAME = "default"  # peft's own name of a model's only adapter
_PREFIX = "base_model.model."  # before every name in peft's files


def check_lora(lora: LoraParams) -> None:
    """UsageError where adapters are asked for and peft is not installed."""
    if lora.rank and importlib.util.find_spec("peft") is None:
        raise UsageError("lora.rank needs the package peft: pip install 'earl-rtl[lora]', or set lora.rank = 0")


def has_adapters(model: PreTrainedModel) -> bool:
    return hasattr(model, "peft_config")


def add_adapters(model: PreTrainedModel, lora: LoraParams, *, base: str, seed: int) -> None:
    """Freeze `model` and put new adapters on it that change nothing yet. `base` is where its own weights can be read.

    Raises:
        UsageError: no peft, a target that no module has, or one that is an embedding or the head.
    """
    check_lora(lora)
    from peft import LoraConfig

    targets = lora.target_modules[0] if lora.target_modules == ("all-linear",) else list(lora.target_modules)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=0.0,
        target_modules=targets,
        base_model_name_or_path=base,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        _inject(model, config, "lora.target_modules")


def load_adapters(model: PreTrainedModel, folder: Path, *, base: str) -> None:
    """Put the adapters of `folder` on their base, which lies at `base`. They are frozen; `train_adapters` thaws them.

    Raises:
        UsageError: no peft, another kind of adapter, or weights that do not fit the model.
    """
    if importlib.util.find_spec("peft") is None:
        raise UsageError(f"{folder} is an adapter; reading it needs the package peft: pip install 'earl-rtl[lora]'")
    from peft import LoraConfig, PeftConfig, get_peft_model_state_dict, set_peft_model_state_dict

    config = PeftConfig.from_pretrained(str(folder))
    if not isinstance(config, LoraConfig) or config.use_dora or config.bias != "none" or config.modules_to_save:
        raise UsageError(f"{folder} is no plain LoRA adapter ({config.peft_type}); merge it with peft")
    config.lora_dropout = 0.0
    config.base_model_name_or_path = base
    _inject(model, config, str(folder))
    try:
        tensors = load_file(folder / ADAPTER_WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"cannot read {folder / ADAPTER_WEIGHTS}: {error}; is the copy complete?") from error
    expected = {name: tensor.shape for name, tensor in get_peft_model_state_dict(model, adapter_name=_NAME).items()}
    if {name.removeprefix(_PREFIX): tensor.shape for name, tensor in tensors.items()} != expected:
        raise UsageError(f"the weights of the adapter {folder} do not fit its base {config.base_model_name_or_path}")
    set_peft_model_state_dict(model, tensors, adapter_name=_NAME)
    model.requires_grad_(False)


def train_adapters(model: PreTrainedModel, lora: LoraParams) -> None:
    """Let a loaded adapter be trained further. UsageError unless its rank, scale and targets are those of `lora`."""
    config = _config(model)
    targets = set(config.target_modules) if isinstance(config.target_modules, set | list) else {config.target_modules}
    wanted = set(lora.target_modules)
    is_same_place = wanted == {"all-linear"} or wanted == targets
    ends = sorted({name.rpartition(".")[2] for name in targets})
    if (config.r, config.lora_alpha) != (lora.rank, lora.alpha) or not is_same_place:
        raise UsageError(
            f"model.path is an adapter of rank {config.r}, alpha {config.lora_alpha} on {', '.join(ends)},"
            f" and [lora] asks for rank {lora.rank}, alpha {lora.alpha} on {', '.join(sorted(wanted))};"
            " give its own, or merge it first with `earl merge`"
        )
    for parameter in adapter_parameters(model).values():
        parameter.requires_grad_(True)


def adapter_parameters(model: PreTrainedModel) -> dict[str, torch.nn.Parameter]:
    """The adapters' matrices by name."""
    return {name: value for name, value in model.named_parameters() if ".lora_A." in name or ".lora_B." in name}


def merged_weight(module: torch.nn.Module) -> torch.Tensor:
    """The matrix that a projection multiplies by, its adapter's product added."""
    weight = module.weight.detach()
    return weight + module.get_delta_weight(_NAME).detach() if _is_adapted(module) else weight


def merge_adapters(model: PreTrainedModel) -> None:
    """Turn a model with adapters into a plain one of the same function; all its weights want a gradient."""
    for name, module in list(model.named_modules()):
        if _is_adapted(module):
            module.merge(safe_merge=True)
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.get_base_layer())
    del model.peft_config
    model.requires_grad_(True)


@contextmanager
def adapters_off(model: PreTrainedModel) -> Iterator[None]:
    """The base alone, for passes without gradient."""
    layers = [module for module in model.modules() if _is_adapted(module)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def save_adapters(model: PreTrainedModel, folder: Path) -> None:
    """Write the adapters in peft's layout."""
    from peft import get_peft_model_state_dict

    tensors = get_peft_model_state_dict(model, adapter_name=_NAME).items()
    folder.mkdir(parents=True, exist_ok=True)
    named = {_PREFIX + name: tensor.contiguous() for name, tensor in tensors}
    save_file(named, folder / ADAPTER_WEIGHTS, {"format": "pt"})
    config = copy.deepcopy(_config(model))
    config.inference_mode = True
    if isinstance(config.target_modules, set):  # whose order is another one in each process
        config.target_modules = sorted(config.target_modules)
    config.save_pretrained(str(folder))


def _inject(model: PreTrainedModel, config: "LoraConfig", origin: str) -> None:
    from peft import inject_adapter_in_model

    try:
        inject_adapter_in_model(config, model, adapter_name=_NAME)
    except ValueError as error:
        raise UsageError(f"{origin}: {str(error).splitlines()[0]}") from error
    model.eval()  # as every model here: what peft adds comes in training mode
    for module in model.modules():
        if _is_adapted(module):
            # Under autocast peft would copy the input to float32 for its matrices, and autocast copies that back: each
            # projection would keep a copy of an input that `earl.llama_pass` means to compute again.
            module.cast_input_dtype_enabled = False
    embeddings = (model.get_input_embeddings(), model.get_output_embeddings())
    if any(_is_adapted(module) for module in embeddings):
        raise UsageError(f"{origin}: the embedding and the head take no adapter here; name other modules")


def _config(model: PreTrainedModel) -> "LoraConfig":
    return model.peft_config[_NAME]


def _is_adapted(module: torch.nn.Module) -> bool:
    return hasattr(module, "get_delta_weight")
