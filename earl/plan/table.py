"""The plan's document as a table for people."""

from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

_PARTS = {
    "program": "Python, torch, transformers",
    "masters": "weights in float32",
    "optimizer": "optimiser state",
    "reference": "reference model",
    "workers": "rollout workers",
    "judges": "judges' workers and their sandboxes",
    "sampler_copy": "sampler's copy of the weights",
    "kv_cache": "keys and values",
    "sampling_logits": "logits of a decoding step",
    "gradients": "gradients",
    "compute_copies": "weights in bfloat16",
    "activations": "activations of a micro-batch",
    "holes": "holes of malloc among these",
    "backward": "one layer's backward pass",
    "logits": "head: rows and gradient",
}
_SAMPLING = ("sampler_copy", "kv_cache", "sampling_logits")
_TRAINING = ("gradients", "compute_copies", "activations", "holes", "backward", "logits")


def plan_view(document: dict[str, Any]) -> Group:
    """Work, memory, time and disk, then what is wrong."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, title=document["config"], title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    table.add_column("", style="dim", overflow="fold")
    if document["model"]:
        _add_model(table, document["model"])
    if document["work"]:
        _add_work(table, document["work"])
    if document["memory"]:
        _add_memory(table, document["memory"])
        _add_time(table, document["time"])
        _add_disk(table, document["disk"])
    lines = [Text.assemble(("error    ", "red"), message) for message in document["errors"]]
    lines += [Text.assemble(("warning  ", "yellow"), message) for message in document["warnings"]]
    if not lines:
        lines = [Text("nothing is wrong", style="green")]
    return Group(table, Text(), *lines)


def _add_model(table: Table, model: dict[str, Any]) -> None:
    kind = f"adapters of {_count(model['num_adapter'])}" if model["num_adapter"] else "all of them"
    table.add_row("model", _count(model["num_parameters"]), f"{model['path']}, {model['architecture']}")
    table.add_row("trained", _count(model["num_trainable"]), kind)
    table.add_section()


def _add_work(table: Table, work: dict[str, Any]) -> None:
    prompts, samples = work["num_prompts"], work["num_samples"]
    table.add_row("a step", f"{work['num_completions']} completions", f"{prompts} prompts x {samples} samples")
    micro = f"{work['num_micro_batches']} micro-batches, the largest of {work['largest_micro_batch']:,} positions"
    table.add_row("", f"{work['num_updates']} updates", f"each of {micro}")
    prompt = f"{work['mean_prompt_tokens']:.0f} (at most {work['prompt_tokens']})"
    table.add_row("", f"{work['sampled_tokens']:,} tokens", f"at most, after prompts of {prompt}")
    epochs = f"{work['num_epochs']:.1f} epochs of {work['num_problems']} problems"
    table.add_row("the run", f"{work['num_steps']} steps", f"{work['updates_in_all']} updates, {epochs}")
    table.add_row("", f"{work['sampled_tokens_in_all']:,} tokens", "at most")
    table.add_row("warm start", f"{work['sft_steps']} steps", "if `earl sft` or `earl demo` runs it")
    table.add_row("distillation", f"{work['distil_completions']:,} completions", "if `earl distil` runs it")
    table.add_section()


def _add_memory(table: Table, memory: dict[str, Any]) -> None:
    for part, value in memory["parts_bytes"].items():
        when = "while sampling" if part in _SAMPLING else "while training" if part in _TRAINING else ""
        if value:
            table.add_row(_PARTS[part], _size(value), when)
    has = f"the machine has {_size(memory['machine_bytes'])}, {_size(memory['available_bytes'])} available"
    peaks = f"sampling {_size(memory['sampling_bytes'])}, training {_size(memory['training_bytes'])}"
    table.add_row(Text("memory", style="bold"), Text(_size(memory["peak_bytes"]), style="bold"), f"{peaks}; {has}")
    table.add_section()


def _add_time(table: Table, time: dict[str, Any]) -> None:
    parts = f"sampling {time['sample_s']:.0f} s, training {time['train_s']:.0f} s, judging {time['judge_s']:.0f} s"
    if time["is_overlapped"]:
        parts += "; sampling beside training"
    table.add_row("a step", f"{time['step_s']:.0f} s", parts)
    table.add_row(Text("time", style="bold"), Text(_span(time["run_s"]), style="bold"), f"from {time['source']}")
    table.add_row("", "", f"assumed: {'; '.join(time['assumed'])}")


def _add_disk(table: Table, disk: dict[str, Any]) -> None:
    of_each = f"checkpoints: {disk['num_checkpoints']} x {_size(disk['checkpoint_bytes'])}"
    free = f"{_size(disk['free_bytes'])} free"
    published = f", {_size(disk['published_bytes'])} of weights for workers" if disk["published_bytes"] else ""
    total = Text(_size(disk["checkpoints_bytes"] + disk["published_bytes"]), style="bold")
    table.add_row(Text("disk", style="bold"), total, f"{of_each}{published} at once; {free}")


def _count(number: int) -> str:
    return f"{number / 1e9:.2f} B" if number >= 1e9 else f"{number / 1e6:.1f} M"


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
