"""Checkpointed layers: the same gradients to the bit on each pass, and less kept for the backward pass."""

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from earl import checkpointing, forward, lora
from earl.forward import Sequences, lay_out, token_stats
from earl.update_params import LoraParams
from toolchain.errors import UsageError

pytestmark = pytest.mark.usefixtures("one_thread")

LAYOUTS = [
    lay_out(Sequences(prompt=[5, 9, 2, 7, 7, 1], responses=([3, 4, 8, 0], [6, 0], [9, 9, 9, 9, 1, 0]))),
    lay_out(Sequences(prompt=[1, 2], responses=([7, 0], [3, 3, 0]))),
]


def _gradients(model, kind, dtype=torch.float32):
    checkpointing.set_up(model, kind)
    model.zero_grad()
    stats = token_stats(model, LAYOUTS, temperature=1.3, dtype=dtype)
    (stats.logprob * torch.linspace(-1, 1, stats.logprob.numel())).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def _force(monkeypatch, path):
    if path != "ours":
        monkeypatch.setattr(forward, "is_supported", lambda model: False)
    if path == "padded":
        monkeypatch.setattr(forward, "_packed_hidden_states", forward._padded_hidden_states)


@pytest.mark.parametrize("path", ["ours", "packed", "padded"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rank", [0, 3])
def test_gradients_are_equal_to_the_bit(tiny_model, monkeypatch, path, dtype, rank):
    _force(monkeypatch, path)
    if rank:
        lora.add_adapters(tiny_model, LoraParams(rank=rank), base="base", seed=0)
    kept, again = (_gradients(tiny_model, kind, dtype) for kind in ("none", "layers"))
    assert kept.keys() == again.keys()
    assert all(torch.equal(gradient, again[name]) for name, gradient in kept.items())
    assert not any(module.training for module in tiny_model.modules())


@pytest.mark.parametrize("path", ["ours", "packed", "padded"])
def test_layers_run_once_more_but_for_the_last_and_only_their_input_is_kept(monkeypatch, path):
    """Four layers: with `layers` the first three run twice, and the bytes saved in the forward pass shrink."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    model = _four_layers(path, sizes)
    _force(monkeypatch, path)
    calls = [0] * 4
    for number, layer in enumerate(model.model.layers):

        def count(*_, number=number):
            calls[number] += 1

        layer.mlp.gate_proj.register_forward_hook(count)
    saved = {}
    for kind in ("none", "layers"):
        calls[:] = [0] * 4
        saved[kind] = _saved_bytes(model, kind)
        assert calls == ([1, 1, 1, 1] if kind == "none" else [2, 2, 2, 1])
    assert saved["layers"] < 0.5 * saved["none"]


def _four_layers(path, sizes):
    from transformers import LlamaConfig, LlamaForCausalLM

    config, kind = (LlamaConfig, LlamaForCausalLM) if path == "ours" else (Qwen3Config, Qwen3ForCausalLM)
    return kind(config(vocab_size=40, num_hidden_layers=4, head_dim=8, **sizes)).eval()


def _saved_bytes(model, kind):
    """Bytes of what a forward pass keeps by autograd outside checkpoints, parameters apart."""
    checkpointing.set_up(model, kind)
    parameters = {parameter.data_ptr() for parameter in model.parameters()}
    storages = {}

    def pack(tensor):
        if tensor.data_ptr() not in parameters:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        stats = token_stats(model, LAYOUTS, temperature=1.0, dtype=torch.float32)
    size = sum(storages.values())
    stats.logprob.sum().backward()
    return size


def test_passes_without_gradient_do_not_checkpoint(tiny_model):
    checkpointing.set_up(tiny_model, "layers")
    assert checkpointing.is_on(tiny_model)
    with torch.no_grad():
        assert not checkpointing.is_on(tiny_model)


def test_a_model_without_such_layers_is_refused():
    from transformers import PretrainedConfig, PreTrainedModel

    class Flat(PreTrainedModel):
        config_class = PretrainedConfig

    with pytest.raises(UsageError, match="no layers that can be computed again"):
        checkpointing.set_up(Flat(PretrainedConfig()), "layers")
