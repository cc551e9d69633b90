"""How the compiled ops compare with torch: time, memory, error, and how far they are from the floor of their work.

All sides of a case run in turn and each figure is the median of the ratios of neighbouring runs, so that what else the
machine does slows all of them. Memory is the peak beyond inputs and returned gradients, each side in a fresh process.
Errors are the largest against float64, on the first rows. Run: python benchmarks/kernels.py [--json] [--only linear]
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import kernel_cases as cases
import torch
from kernel_cases import Case, Inputs

ERROR_ROWS = 160  # a fifth are 32: products of a few rows are summed in longer chains, by us and by torch alike
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
SIDES = {"ours": cases.ours, "torch": cases.plain, "compile": cases.compiled, "chunked": cases.chunked}


@click.command()
@click.option("--only", default="", help="Cases whose name holds this, such as linear or 576x49152/bfloat16.")
@click.option("--without", multiple=True, help="Leave out a side (torch, compile, chunked) or `memory`.")
@click.option("--pairs", default=5, show_default=True, help="Turns a case; one more is thrown away first.")
@click.option(
    "--clock", type=click.Choice(list(CLOCKS)), default="wall", help="cpu: all threads' time, on a busy machine."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
@click.option("--peak-of", nargs=2, hidden=True, help="Print the peak memory of one side of one case.")
def main(only: str, without: tuple[str, ...], pairs: int, clock: str, as_json: bool, peak_of: tuple[str, str]) -> None:
    """Compare the compiled ops with torch on this machine."""
    if peak_of:
        click.echo(peak_bytes(*peak_of))
        return
    chosen = [case for case in cases.all_cases() if only in case.name]
    if not chosen:
        names = "\n".join(case.name for case in cases.all_cases())
        raise click.UsageError(f"no case has {only!r} in its name; there are:\n{names}")
    machine = {
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "multiplies_bfloat16": torch.ops.earl.cpu_multiplies(torch.bfloat16),
        "torch": torch.__version__,
    }
    if not as_json:
        click.echo(f"{machine}; ratios of {clock} time")
    rows = []
    for case in chosen:
        rows.append(measure(case, without, pairs, CLOCKS[clock]))
        if not as_json:
            shown = {key: rows[-1][key] for key in list(rows[-1])[8:]}
            click.echo(case.name + "  " + " ".join(f"{key}={_short(value)}" for key, value in shown.items()))
    if as_json:
        click.echo(json.dumps({"machine": machine, "clock": clock, "pairs": pairs, "rows": rows}, indent=2))


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def measure(case: Case, without: tuple[str, ...], pairs: int, clock: Callable[[], float]) -> dict[str, object]:
    """One row. Ratios above 1 say that ours is faster, but vs_floor, which is ours over the floor."""
    inputs = Inputs(case)
    runs = {side: make(case, inputs) for side, make in SIDES.items() if side not in without}
    runs["floor"] = cases.floor(case, inputs)
    seconds: dict[str, list[float]] = {side: [] for side, run in runs.items() if run}
    for turn in range(pairs + 1):
        for side, times in seconds.items():
            start = clock()
            runs[side]()
            if turn:
                times.append(clock() - start)

    def ratio(above: str, below: str) -> float | None:
        if above not in seconds or below not in seconds:
            return None
        return statistics.median(a / b for a, b in zip(seconds[above], seconds[below], strict=True))

    error, error_naive = errors(case, inputs)
    del runs, inputs
    return {
        "op": case.op,
        "pass": case.passes,
        "n": case.num_rows,
        "h": case.hidden,
        "v": case.vocab,
        "dtype": case.dtype,
        "gate": case.gate,
        "gate_known": case.gate_known,
        "vs_torch": ratio("torch", "ours"),
        "vs_compile": ratio("compile", "ours"),
        "vs_chunked": ratio("chunked", "ours"),
        "vs_floor": ratio("ours", "floor"),
        "memory_ratio": None if "memory" in without or "torch" in without else memory_ratio(case),
        "error": error,
        "error_naive": error_naive,
        "ours_ms": 1e3 * statistics.median(seconds["ours"]),
    }


def errors(case: Case, inputs: Inputs) -> tuple[float | None, float | None]:
    """Largest error of log-probs and entropies (nats) or of the gradients, ours and all in the inputs' type."""
    if "logprob" not in case.op:
        return None, None
    part = inputs.cut(ERROR_ROWS)
    ours, naive = cases.ours(case, part)(), cases.stats_passes(case, part, cases.naive_stats)
    exact = cases.stats_passes(case, part.widened(), cases.plain_stats)

    def largest(values: tuple[torch.Tensor, ...]) -> float:
        return max(float((value.detach() - truth).abs().max()) for value, truth in zip(values, exact, strict=True))

    return largest(ours), largest(naive)


def memory_ratio(case: Case) -> float:
    """Our peak over plain torch's."""
    ours, torchs = (
        int(
            subprocess.run(
                [sys.executable, __file__, "--peak-of", side, case.name],
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},
            ).stdout
        )
        for side in ("ours", "torch")
    )
    return ours / torchs


def peak_bytes(side: str, name: str) -> int:
    """Peak resident memory of one run beyond what there was before it and what it returns."""
    [case] = [case for case in cases.all_cases() if case.name == name]
    inputs = Inputs(case)
    run = SIDES[side](case, inputs)
    torch.mm(torch.ones(64, 64), torch.ones(64, 64))  # libraries have started
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    before = _status_kib("VmRSS")
    returned = sum(value.nbytes for value in run())
    return max(1, (_status_kib("VmHWM") - before) * 1024 - returned)


def _status_kib(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


if __name__ == "__main__":
    main()
