"""How many times faster, and how much smaller, the compiled ops are than their twins in plain torch.

Each case runs both sides in turn and reports the median of the ratios of neighbouring runs: what else the machine does
then slows both. Peak memory is not measured. Run: python benchmarks/kernels_first.py [--json]
"""

import json
import statistics
import time
from collections.abc import Callable

import click
import torch

from earl import ops


@click.command()
@click.option("--rows", default=512, show_default=True, help="Rows of logits (tokens).")
@click.option("--vocab", default=49152, show_default=True, help="Entries of the vocabulary.")
@click.option("--hidden-size", default=576, show_default=True, help="Columns of the head's weight.")
@click.option("--pairs", default=5, show_default=True, help="Pairs of runs a case; one more is thrown away first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
def main(rows: int, vocab: int, hidden_size: int, pairs: int, as_json: bool) -> None:
    """Compare the compiled ops with plain torch on this machine."""
    torch.manual_seed(0)
    results = [{"case": name, **compare(ours, theirs, pairs)} for name, ours, theirs in cases(rows, vocab, hidden_size)]
    machine = {
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }
    if as_json:
        shape = {"rows": rows, "vocab": vocab, "hidden_size": hidden_size}
        click.echo(json.dumps({"machine": machine, "shape": shape, "pairs": pairs, "results": results}, indent=2))
        return
    click.echo(f"{rows} x {vocab}, hidden {hidden_size}; {machine}")
    click.echo(f"{'case':34} {'ours ms':>9} {'torch ms':>9} {'ratio':>7}")
    for row in results:
        click.echo(f"{row['case']:34} {row['ours_ms']:9.1f} {row['torch_ms']:9.1f} {row['ratio']:7.2f}")


def compare(ours: Callable[[], object], theirs: Callable[[], object], pairs: int) -> dict[str, float]:
    """Median times in ms, and the median over pairs of torch's time over ours."""
    timed = [(wall_ms(ours), wall_ms(theirs)) for _ in range(pairs + 1)][1:]
    return {
        "ours_ms": statistics.median(a for a, _ in timed),
        "torch_ms": statistics.median(b for _, b in timed),
        "ratio": statistics.median(b / a for a, b in timed),
    }


def wall_ms(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def cases(rows: int, vocab: int, hidden_size: int) -> list[tuple[str, Callable[[], object], Callable[[], object]]]:
    """(name, ours, torch's), the two doing the same work."""
    targets = torch.randint(0, vocab, (rows,))
    logits = torch.randn(rows, vocab) * 3
    hidden = torch.randn(rows, hidden_size, requires_grad=True)
    weight = (torch.randn(vocab, hidden_size) * 0.05).requires_grad_()
    every_row = torch.ones(rows)
    gated = (torch.arange(rows) % 5 == 0).float()  # the fifth of the tokens that a gate lets through
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        typed = logits.to(dtype)
        found.append(
            (
                f"op forward, {dtype}",
                without_grad(ops.token_logprob_entropy, typed, targets),
                without_grad(ops.token_logprob_entropy_ref, typed, targets),
            )
        )
        leaf = typed.detach().requires_grad_()
        found.append(
            (
                f"op forward + backward, {dtype}",
                with_grad(ops.token_logprob_entropy, (leaf, targets), (leaf,), every_row),
                with_grad(ops.token_logprob_entropy_ref, (leaf, targets), (leaf,), every_row),
            )
        )
    heads = (ops.linear_token_logprob_entropy, ops.linear_token_logprob_entropy_ref)
    inputs, leaves = (hidden, weight, targets), (hidden, weight)
    found.append(("head forward, autocast bf16", *(without_grad(head, *inputs) for head in heads)))
    for name, row_weights in (("all rows", every_row), ("a fifth of them", gated)):
        sides = [with_grad(head, inputs, leaves, row_weights) for head in heads]
        found.append((f"head fwd + bwd bf16, {name}", *sides))
    return found


def without_grad(op: Callable[..., ops.TokenStats], *inputs: torch.Tensor) -> Callable[[], object]:
    """A run of the forward pass under autocast (which leaves the op on logits as it is)."""

    def run() -> object:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            return op(*inputs)

    return run


def with_grad(
    op: Callable[..., ops.TokenStats],
    inputs: tuple[torch.Tensor, ...],
    leaves: tuple[torch.Tensor, ...],
    row_weights: torch.Tensor,
) -> Callable[[], object]:
    """A run of both passes, for a loss of log-probs and entropies weighted by row."""

    def run() -> object:
        with torch.autocast("cpu", torch.bfloat16):
            stats = op(*inputs)
        return torch.autograd.grad((row_weights * (stats.logprob + 0.1 * stats.entropy)).sum(), leaves)

    return run


if __name__ == "__main__":
    main()
