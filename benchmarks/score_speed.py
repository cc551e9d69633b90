"""What scoring VerilogEval's goldens costs, hardened and isolated, beside the bare tools on as many processes.

Bare is one shell loop a process of `iverilog` and `vvp` with upstream's flags, files on a tmpfs, nothing compared. Ours
is a farm from its start to the last verdict, and is measured four ways: `cold` (nothing known), `golden_known` (golden
traces and counts on disk, each candidate new by a comment), `repeated` (verdicts on disk too) and `sampled` (as
golden_known with 20 rows a problem, each text twice). Each figure is the median over pairs of ours and bare in turn;
`wall` and `cpu` are ratios ours / bare, of `sampled` for a row. CPU time is that of the whole tree of processes, and
the sturdier figure on a busy machine.
Run: python benchmarks/score_speed.py --root CHECKOUT [--json] [--pairs N] [--limit N] [--without ID] [--formal]
"""

import json
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import click

from hdl_bench.benchmarks import load_benchmark
from hdl_bench.score import Judges, Sample, score_samples
from hdl_bench.scored import ScoredBenchmark
from verifiers.cache import DiskCache
from verifiers.farm import Farm
from verifiers.formal import FormalProver
from verifiers.lexer import rename_identifier

_LOOP = (
    'for folder in "$@"; do cd "$folder"; '
    "iverilog -Wall -Winfloop -Wno-timescale -g2012 -s tb -o sample sample.sv test.sv ref.sv > log 2>&1; "
    "timeout 30 vvp sample >> log 2>&1; done"
)
_NUM_SAMPLED = 20  # rows a problem
_SHM = Path("/dev/shm")
_TICK = os.sysconf("SC_CLK_TCK")


@click.command()
@click.option("--root", type=click.Path(exists=True, path_type=Path), required=True, help="A checkout of VerilogEval.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@click.option("--pairs", "num_pairs", default=3, show_default=True)
@click.option("--limit", type=int, help="Only the first problems.")
@click.option("--without", multiple=True, metavar="ID", help="Leave a problem out; may be repeated.")
@click.option("--workers", default=2, show_default=True, help="Our workers, and the bare loops.")
@click.option("--formal", "is_formal", is_flag=True, help="Passes are put to proof too, as `earl score` does.")
def main(  # noqa: PLR0913  (one parameter an option)
    root: Path,
    as_json: bool,
    num_pairs: int,
    limit: int | None,
    without: tuple[str, ...],
    workers: int,
    is_formal: bool,
) -> None:
    """Measure the cost of a score on this machine."""
    benchmark = load_benchmark("verilog-eval-v2-spec", root)
    names = [name for name in benchmark.problems if name not in without][:limit]
    with tempfile.TemporaryDirectory(prefix="earl-bench-", dir=_SHM if _SHM.is_dir() else None) as scratch:
        folders = _bare_folders(benchmark, names, Path(scratch) / "bare")
        cache = Path(scratch) / "verdicts.db"
        marks = iter(range(1_000_000))

        def score(cache: Path | None, *marks: int) -> float:
            samples = [
                Sample(problem_id=name, sample_idx=index, completion=text)
                for index, mark in enumerate(marks)
                for name, text in zip(names, _goldens(benchmark, names, mark), strict=True)
            ]
            return _score(benchmark, samples, workers, cache, is_formal=is_formal)

        ways: dict[str, Callable[[], float]] = {
            "cold": lambda: score(None, next(marks)),
            "golden_known": lambda: score(cache, next(marks)),
            "repeated": lambda: score(cache, -1),
            "sampled": lambda: score(cache, *(2 * [next(marks) for _ in range(_NUM_SAMPLED // 2)])),
        }
        score(cache, -1)
        pairs: dict[str, list[tuple[_Cost, _Cost]]] = defaultdict(list)
        for _ in range(num_pairs):
            for name, way in ways.items():
                ours, theirs = _cost(way), _cost(lambda: _shell_loops(folders, workers))
                num_rows = _NUM_SAMPLED if name == "sampled" else 1
                pairs[name].append(({side: ours[side] / num_rows for side in _SIDES}, theirs))
    report = {
        "num_problems": len(names),
        "num_workers": workers,
        "num_pairs": num_pairs,
        "is_formal": is_formal,
        "bare_s": {side: _median(theirs[side] for found in pairs.values() for _, theirs in found) for side in _SIDES},
        **{
            name: {
                **{f"{side}_ratio": _median(ours[side] / theirs[side] for ours, theirs in found) for side in _SIDES},
                **{f"{side}_s": _median(ours[side] for ours, _ in found) for side in _SIDES},
            }
            for name, found in pairs.items()
        },
    }
    click.echo(json.dumps(report, indent=2) if as_json else "\n".join(f"{k}: {v}" for k, v in report.items()))


_SIDES = ("wall", "cpu")
_Cost = dict[str, float]


def _goldens(benchmark: ScoredBenchmark, names: list[str], mark: int) -> list[str]:
    """The goldens as candidates, made new by a comment."""
    texts = []
    for name in names:
        problem = benchmark.problems[name]
        text = rename_identifier(problem.oracle.golden, problem.oracle.golden_top, problem.top_module)
        texts.append(f"// {mark}\n{text}")
    return texts


def _score(
    benchmark: ScoredBenchmark, samples: list[Sample], workers: int, cache: Path | None, *, is_formal: bool
) -> float:
    """Score all. The CPU reading before the farm kills its workers, whose time is nobody's from then on."""
    with ExitStack() as stack:
        prover = stack.enter_context(FormalProver()) if is_formal else None
        farm = stack.enter_context(Farm(num_workers=workers, cache=cache, audit_fraction=0.0))
        proofs = stack.enter_context(closing(DiskCache(cache))) if cache and is_formal else None
        judges = Judges(ours=farm, prover=prover, cache=proofs)
        score = score_samples(benchmark, samples, judges, progress=lambda *now: None)
        num_passed = sum(row.verdict.passed for row in score.rows)
        assert num_passed > 0.9 * len(samples), f"only {num_passed} of {len(samples)} goldens pass: these are failures"
        return _tree_cpu_s()


def _bare_folders(benchmark: ScoredBenchmark, names: list[str], parent: Path) -> list[str]:
    folders = []
    for name, text in zip(names, _goldens(benchmark, names, 0), strict=True):
        oracle, folder = benchmark.problems[name].oracle, parent / name
        folder.mkdir(parents=True)
        for file, content in (("sample", text), ("test", oracle.testbench), ("ref", oracle.golden)):
            folder.joinpath(f"{file}.sv").write_text(content)
        folders.append(str(folder))
    return folders


def _shell_loops(folders: list[str], workers: int) -> float:
    """Run all. The CPU reading at the end."""
    loops = [
        subprocess.Popen(["sh", "-c", _LOOP, "sh", *folders[number::workers]], stdin=subprocess.DEVNULL)
        for number in range(workers)
    ]
    for loop in loops:
        loop.wait()
    logs = [Path(folder, "log").read_text() for folder in folders]
    num_right = sum(re.search(r"^Mismatches: 0 in", log, re.MULTILINE) is not None for log in logs)
    assert num_right > 0.9 * len(folders), f"only {num_right} of {len(folders)} bare runs end well"
    return _tree_cpu_s()


def _cost(run: Callable[[], float]) -> _Cost:
    before, started = _tree_cpu_s(), time.perf_counter()
    after = run()
    return {"wall": time.perf_counter() - started, "cpu": after - before}


def _tree_cpu_s() -> float:
    """CPU seconds of this process and all below it, with the children that they have waited for."""
    ticks, children = {}, defaultdict(list)
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            try:
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended since
                continue
            children[int(fields[1])].append(int(entry.name))
            ticks[int(entry.name)] = sum(map(int, fields[11:15]))
    found, queue = 0, [os.getpid()]
    while queue:
        pid = queue.pop()
        found += ticks.get(pid, 0)
        queue += children[pid]
    return found / _TICK


def _median(values) -> float:
    return round(statistics.median(values), 3)


if __name__ == "__main__":
    main()
