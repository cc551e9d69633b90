"""Attention within a packed group, forward and backward: our kernel of tiles beside torch's flash attention, in bf16.

Both compute the same group in turn; `speed` is the median of the ratios of neighbouring runs, flash over tiles.
Run: python benchmarks/group_attention.py [--json]
"""

import json
import statistics
import time

import click
import torch

from earl.group_flash import Groups, flash_group_attention
from earl.group_tiles import attend_groups, has_kernel

_HEADS, _HEADS_KV, _WIDTH = 9, 3, 64  # SmolLM2-135M's
_GROUPS: dict[str, Groups] = {
    "8 x 192 tokens after 150": [(150, [192] * 8)],
    "8 x 64 tokens after 80": [(80, [64] * 8)],
    "16 x 512 tokens after 300": [(300, [512] * 16)],
    "2 x 2,048 tokens after 500": [(500, [2048] * 2)],
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@click.option("--pairs", default=9, show_default=True)
def main(as_json: bool, pairs: int) -> None:
    """Compare the two ways to attend on this machine."""
    rows = {name: measure(groups, pairs) for name, groups in _GROUPS.items()}
    if as_json:
        click.echo(
            json.dumps({"threads": torch.get_num_threads(), "torch": torch.__version__, "groups": rows}, indent=2)
        )
        return
    for name, row in rows.items():
        click.echo(f"{name:28} " + "  ".join(f"{key} {value:.3g}" for key, value in row.items()))


def measure(groups: Groups, pairs: int) -> dict[str, float]:
    """Milliseconds of both passes, and the ratios of the two ways."""
    total = sum(prompt + sum(lengths) for prompt, lengths in groups)
    query, key, value, slope = (
        torch.randn(total, heads, _WIDTH).bfloat16() for heads in (_HEADS, _HEADS_KV, _HEADS_KV, _HEADS)
    )
    if not has_kernel(query):
        raise click.ClickException("the kernel needs a CPU that multiplies bfloat16; torch's flash attention runs here")
    leaves = [tensor.requires_grad_() for tensor in (query, key, value)]
    times: dict[str, list[float]] = {
        "tiles forward": [],
        "tiles backward": [],
        "flash forward": [],
        "flash backward": [],
    }
    for _ in range(pairs + 1):
        for name, attend in (("tiles", attend_groups), ("flash", flash_group_attention)):
            started = time.perf_counter()
            context = attend(*leaves, groups, _WIDTH**-0.5)
            between = time.perf_counter()
            torch.autograd.grad(context, leaves, slope)
            times[f"{name} forward"].append(between - started)
            times[f"{name} backward"].append(time.perf_counter() - between)
    kept = {name: values[1:] for name, values in times.items()}
    row = {f"{name} ms": 1000 * statistics.median(values) for name, values in kept.items()}
    for part in ("forward", "backward"):
        pairs_of = zip(kept[f"flash {part}"], kept[f"tiles {part}"], strict=True)
        row[f"speed {part}"] = statistics.median(flash / tiles for flash, tiles in pairs_of)
    return row


if __name__ == "__main__":
    main()
