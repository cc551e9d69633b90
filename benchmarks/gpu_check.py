"""Checks every CUDA op on a GPU against its twin in float64, then times it: the script to run where there is a GPU.

Run: python benchmarks/gpu_check.py [--json] [--rows 2048] [--only linear]. Exit codes: 0 all agree, 1 an op is wrong,
3 no GPU or no CUDA kernels. Times are medians of CUDA events; memory is torch's peak beyond what was there before.
What is timed, and the torch sides, are those of kernel_cases.py.
"""

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace

import click
import kernel_cases as cases
import torch
import torch.nn.functional as F
from kernel_cases import DTYPES, Case, Inputs, Run

from earl import ops
from earl.config import LossConfig
from toolchain.errors import InfrastructureError

VOCABS = (1, 7, 33, 2049, 8193, 50_257)
# Relative to 1 + |truth|: roundings of the statistics' type, or of the gradients' own.
STATISTICS_BOUND = {torch.float64: 1e-10}
GRADIENT_BOUND = {torch.float64: 1e-10, torch.float32: 2e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}
SHORT_LOGITS_BOUND = 2**-6  # a CPU's product of bf16 is bf16, and so are its logits; a GPU's tiles are fp32
SIDES = {"ours": cases.ours, "torch": cases.plain, "compile": cases.compiled, "chunked": cases.chunked}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One comparison with float64."""

    op: str
    what: str
    error: float
    bound: float

    @property
    def is_right(self) -> bool:
        return self.error <= self.bound  # a NaN is not


@click.command()
@click.option("--rows", default=cases.NUM_ROWS, show_default=True, help="Rows of the timed cases.")
@click.option("--only", default="", help="Time cases whose name holds this; `none` times nothing.")
@click.option("--runs", default=9, show_default=True, help="Timed runs a side, after two that are not.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the tables.")
def main(rows: int, only: str, runs: int, as_json: bool) -> None:
    """Check and time the CUDA ops on this machine's GPU."""
    try:
        require_gpu()
    except InfrastructureError as error:
        click.echo(f"gpu_check: {error}", err=True)
        raise SystemExit(3) from None
    findings = list(check_ops("cuda"))
    wrong = [finding for finding in findings if not finding.is_right]
    if not as_json:
        click.echo(f"{torch.cuda.get_device_name()}, torch {torch.__version__}: {len(findings)} comparisons")
        for finding in wrong:
            click.echo(f"WRONG {finding.op} {finding.what}: error {finding.error:.3g}, bound {finding.bound:.3g}")
    timed = []
    for case in (replace(case, num_rows=rows) if case.vocab else case for case in cases.all_cases()):
        if only in case.name:
            timed.append(time_case(case, runs))
            if not as_json:
                click.echo(_line(timed[-1]))
    if as_json:
        device = {"name": torch.cuda.get_device_name(), "capability": torch.cuda.get_device_capability()}
        comparisons = [
            {"op": found.op, "what": found.what, "error": found.error, "is_right": found.is_right} for found in findings
        ]
        click.echo(json.dumps({"device": device, "comparisons": comparisons, "rows": timed}, indent=2))
    raise SystemExit(1 if wrong else 0)


def require_gpu() -> None:
    """Raises InfrastructureError, with the remedy, where there is no GPU or the ops were built without CUDA."""
    if not torch.cuda.is_available():
        raise InfrastructureError(
            f"no CUDA device: torch {torch.__version__} sees none; run this on a machine with a GPU and a CUDA build of"
            " torch"
        )
    if not torch._C._dispatch_has_kernel_for_dispatch_key("earl::token_logprob_entropy", "CUDA"):
        raise InfrastructureError(
            "earl._C was built without its CUDA kernels; put the nvcc of torch's CUDA version on this machine and run"
            " `EARL_CUDA=1 pip install --no-build-isolation -e .`"
        )


def check_ops(device: str) -> Iterator[Finding]:
    """Every op on `device` against its twin in float64 on the CPU, on shapes with odd sizes, tails and ties."""
    for dtype in GRADIENT_BOUND:
        for vocab in VOCABS:
            logits = torch.randn(5, vocab, dtype=torch.float64, generator=_generator(vocab)) * 3
            logits[3] = (logits[3] * 2).round()
            logits[4] *= 1000
            yield from _check_rows(device, (logits.to(dtype),), vocab)
        hidden, weight = (
            torch.randn(rows, 64, dtype=torch.float64, generator=_generator(rows)).to(dtype) for rows in (37, 5003)
        )
        yield from _check_rows(device, (hidden, weight / 4), 5003)
    yield from _check_tokens(device)


def _check_rows(device: str, factors: tuple[torch.Tensor, ...], vocab: int) -> Iterator[Finding]:
    """Statistics and gradients of given logits, or of a head's (hidden, weight)."""
    is_head = len(factors) == 2
    op = "linear_token_logprob_entropy" if is_head else "token_logprob_entropy"
    dtype, rows = factors[0].dtype, len(factors[0])
    targets = torch.randint(vocab, (rows,), generator=_generator(1))
    weights = torch.randn(3, rows, dtype=torch.float64, generator=_generator(2))
    weights[:, ::3] = 0  # rows without a gradient
    exact_leaves = [factor.double().requires_grad_() for factor in factors]
    exact_logits = F.linear(*exact_leaves) if is_head else exact_leaves[0]
    exact = ops.token_logprob_entropy_ref(exact_logits, targets, 0.7)
    exact_grads = torch.autograd.grad(exact, exact_leaves, grad_outputs=list(weights))
    leaves = [factor.to(device).requires_grad_() for factor in factors]
    got = getattr(ops, op)(*leaves, targets.to(device), 0.7)
    grad_outputs = [weight.to(value) for weight, value in zip(weights, got, strict=True)]
    grads = torch.autograd.grad(got, leaves, grad_outputs=grad_outputs)
    shape = f"{tuple(factors[-1].shape)} {str(dtype).removeprefix('torch.')}"
    bound = STATISTICS_BOUND.get(dtype, 2e-5 if is_head else 4e-6)
    if is_head and device == "cpu" and dtype is torch.bfloat16 and torch.ops.earl.cpu_multiplies(dtype):
        bound = SHORT_LOGITS_BOUND
    for name, value, truth in zip(got._fields, got, exact, strict=True):
        yield Finding(op=op, what=f"{name} {shape}", error=_error(value, truth), bound=bound)
    for index, (value, truth) in enumerate(zip(grads, exact_grads, strict=True)):
        scale = 1 + float(truth.abs().max()) if is_head else 1.0
        what = f"gradient {index} {shape}"
        yield Finding(op=op, what=what, error=_error(value, truth), bound=GRADIENT_BOUND[dtype] * scale)
    if not is_head:
        yield from _check_named(device, factors[0], targets, shape)


def _check_named(device: str, logits: torch.Tensor, targets: torch.Tensor, shape: str) -> Iterator[Finding]:
    names = list(ops.STATISTICS)
    exact = ops.token_statistics_ref(logits.double(), targets, names=names)
    got = ops.token_statistics(logits.to(device), targets.to(device), names=names)
    for name, truth in exact.items():
        yield Finding(op="token_statistics", what=f"{name} {shape}", error=_error(got[name], truth), bound=3e-5)


def _check_tokens(device: str) -> Iterator[Finding]:
    """The gate, which must agree exactly, and the surrogate."""
    for lengths in ([1], [5, 0, 300], [256, 257, 1000, 4096]):
        offsets = torch.tensor([0, *lengths]).cumsum(0)
        size = int(offsets[-1])
        entropy = (torch.rand(size, generator=_generator(size)) * 8).round() / 8
        mask, eligible = (torch.rand(2, size, generator=_generator(size + 1)) < 0.8).unbind()
        exact = ops.entropy_gate_ref(entropy, mask, eligible, offsets, 0.2, 0.1)
        given = [value.to(device) for value in (entropy, mask, eligible, offsets)]
        num_wrong = int((ops.entropy_gate(*given, 0.2, 0.1).cpu() != exact).sum())
        yield Finding(op="entropy_gate", what=f"lengths {lengths}", error=num_wrong, bound=0)
        columns = torch.randn(6, size, dtype=torch.float64, generator=_generator(size + 2))
        columns[4:].clamp_(min=0)
        config = LossConfig(dual_clip=3.0)
        outputs = []
        for place, op in (("cpu", ops.gated_surrogate_ref), (device, ops.gated_surrogate)):
            *tokens, surrogate_weights, kl_weights = (column.to(place) for column in columns)
            tokens[0].requires_grad_()
            output = op(*tokens, (surrogate_weights, kl_weights), config)
            outputs.append([*torch.autograd.grad(output.loss, tokens[:1]), output.loss, output.sums])
        for name, truth, value in zip(("gradient", "loss", "sums"), *outputs, strict=True):
            what = f"{name} of {size} tokens"
            yield Finding(op="gated_surrogate", what=what, error=_error(value, truth), bound=1e-10)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _error(value: torch.Tensor, truth: torch.Tensor) -> float:
    """The largest error relative to 1 + |truth|; equal infinities are no error."""
    value, truth = value.detach().cpu().double(), truth.detach().double()
    difference = torch.where(value == truth, 0.0, (value - truth).abs() / (1 + truth.abs()))
    return float(difference.max()) if difference.numel() else 0.0


def time_case(case: Case, runs: int) -> dict[str, object]:
    """Milliseconds and peak bytes of each side, and ours over the floor: a copy of the logits, or the bare products."""
    inputs = Inputs(case)
    for name, value in list(vars(inputs).items()):
        setattr(inputs, name, _on_gpu(value))
    row: dict[str, object] = {"case": case.name}
    for side, make in SIDES.items():
        run = make(case, inputs)
        row[f"{side}_ms"], row[f"{side}_bytes"] = _measure(run, runs) if run else (None, None)
    floor = _floor(case, inputs)
    row["floor_ms"] = _measure(floor, runs)[0] if floor else None
    for side in ("torch", "compile", "chunked"):
        row[f"vs_{side}"] = row[f"{side}_ms"] / row["ours_ms"] if row[f"{side}_ms"] else None
    row["vs_floor"] = row["ours_ms"] / row["floor_ms"] if row["floor_ms"] else None
    return row


def _on_gpu(value: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor | tuple[torch.Tensor, ...]:
    if isinstance(value, tuple):
        return tuple(leaf.detach().cuda().requires_grad_() for leaf in value)
    return value.cuda()


def _floor(case: Case, inputs: Inputs) -> Run | None:
    if "linear" in case.op:
        factors = [leaf.detach().to(DTYPES[case.dtype]) for leaf in inputs.leaves]
        return lambda: cases._products(case, inputs, factors)
    return cases.floor(case, inputs)


def _measure(run: Run, runs: int) -> tuple[float | None, int | None]:
    """Median milliseconds, and the peak beyond what is held before and after a run; None where memory ran out."""
    try:
        for _ in range(2):
            run()
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        returned = sum(value.nbytes for value in run())
        peak = torch.cuda.max_memory_allocated() - before - returned
        times = []
        for _ in range(runs):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            run()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end))
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        return None, None
    return statistics.median(times), peak


def _line(row: dict[str, object]) -> str:
    shown = [f"{key}={row[key]:.3g}" for key in row if key != "case" and row[key] is not None and "bytes" not in key]
    return f"{row['case']}  {' '.join(shown)}"


if __name__ == "__main__":
    main()
