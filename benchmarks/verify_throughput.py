"""Verdicts a second, against the bare tools in a shell loop and against upstream's make rule, in the same run.

Each ratio is the median over pairs of neighbouring runs, ours and theirs in turn, so that what else the machine does
slows both. The baselines use as many processes as we have workers, a tmpfs as our sandbox does, and its limits; their
files are written before the clock starts. They screen, isolate and (the bare one) compare nothing. Our side is a farm
without a cache; golden traces are new to it where not said otherwise.
Run: python benchmarks/verify_throughput.py [--json] [--quick] [--root CHECKOUT]
"""

import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import click
from throughput_problems import Group, reference_groups, stock_groups, with_duplicates

from toolchain.command import FolderJob, Limits, Step
from toolchain.executor import LocalExecutor, run_in_folder
from toolchain.tool import find_tool
from verifiers.batch import verify_group
from verifiers.farm import Farm
from verifiers.golden import harness_of
from verifiers.simulate import SIMULATE_LIMITS
from verifiers.stimulus import draw_stimulus
from verifiers.testbench import build_testbench, row_file_name
from verifiers.types import Candidate, Outcome
from verifiers.verify import Verifier

_LOOP = (
    'for folder in "$@"; do cd "$folder" && iverilog -g2012 -o image testbench.v design.v && vvp -n image > log; done'
)
_RECIPE = (
    "timeout 30 iverilog -Wall -Winfloop -Wno-timescale -g2012 -s tb -o sample sample.sv test.sv ref.sv"
    " > log 2>&1; timeout 30 ./sample >> log 2>&1; true"
)
_SETTLED = (Outcome.PASSED, Outcome.MISMATCH)
_SHM = Path("/dev/shm")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@click.option("--quick", is_flag=True, help="Fewer problems and pairs: wider scatter.")
@click.option("--root", type=click.Path(exists=True, path_type=Path), help="A checkout of VerilogEval v2 to use.")
@click.option("--workers", default=2, show_default=True, help="Our workers, and the baselines' processes.")
def main(as_json: bool, quick: bool, root: Path | None, workers: int) -> None:
    """Measure how fast candidates are judged on this machine."""
    num_groups, num_pairs = (8, 3) if quick else (24, 7)
    verifier = Verifier()
    references = _settled(verifier, reference_groups(2 * num_groups))[:num_groups]
    stocks = _settled(verifier, stock_groups(2 * num_groups, root))[:num_groups]
    with tempfile.TemporaryDirectory(prefix="earl-bench-", dir=_SHM if _SHM.is_dir() else None) as scratch:
        report = {
            "isolation": verifier.isolation,
            "num_workers": workers,
            "num_groups": num_groups,
            "num_pairs": num_pairs,
            **_ratios(references, stocks, Path(scratch), workers, num_pairs),
            "verdicts_per_s": _rates(references, Path(scratch), workers),
            "latency_ms": _latency(verifier, references),
            "rung_overhead_ms": _rung_overheads(),
        }
    click.echo(json.dumps(report, indent=2) if as_json else "\n".join(f"{k}: {v}" for k, v in report.items()))


def _settled(verifier: Verifier, groups: list[Group]) -> list[Group]:
    """The groups whose candidates all run to an end: a hang would be all that is measured."""
    kept = []
    for group in groups:
        candidates = [Candidate(text=text) for text in group.texts]
        if all(v.outcome in _SETTLED for v in verify_group(verifier, group.problem, candidates, (1,))):
            kept.append(group)
    return kept


def _ratios(
    references: list[Group], stocks: list[Group], scratch: Path, workers: int, num_pairs: int
) -> dict[str, float]:
    """Their time over ours, by comparison."""
    seeds = iter(range(10_000, 1_000_000))
    bare = [_bare_folders(group, scratch / f"bare{index}") for index, group in enumerate(references)]
    chosen = [index % len(group.texts) for index, group in enumerate(references)]  # right and wrong ones
    singles = [(group.problem, group.texts[index]) for group, index in zip(references, chosen, strict=True)]
    bare_singles = [folders[index] for folders, index in zip(bare, chosen, strict=True)]
    bare_all = [folder for folders in bare for folder in folders]
    distinct = [(group.problem, text) for group in stocks for text in group.texts]
    doubled = [(group.problem, text) for group in stocks for text in with_duplicates(group, 2)]
    grouped = [(group.problem, text) for group in references for text in group.texts]
    make, make_doubled = (_make_folder(jobs, scratch / name) for name, jobs in (("make", distinct), ("make2", doubled)))
    with Farm(num_workers=workers) as farm:

        def judge(jobs: Iterable[tuple], seed: int) -> None:
            judgements = farm.judge_all([(problem, text, (seed,)) for problem, text in jobs])
            assert all(j.verdict.outcome in _SETTLED for j in judgements), "a candidate that had settled does no more"

        known = next(seeds)
        judge([*singles, *distinct], known)
        cases: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
            "single_vs_bare": (lambda: judge(singles, known), lambda: _shell_loops(bare_singles, workers)),
            "single_new_golden_vs_bare": (
                lambda: judge(singles, next(seeds)),
                lambda: _shell_loops(bare_singles, workers),
            ),
            "group8_reference_vs_bare": (lambda: judge(grouped, next(seeds)), lambda: _shell_loops(bare_all, workers)),
            "group8_upstream_vs_make": (lambda: judge(doubled, known), lambda: _run_make(make_doubled, workers)),
            "group8_upstream_distinct_vs_make": (lambda: judge(distinct, known), lambda: _run_make(make, workers)),
        }
        return {name: _ratio(ours, theirs, num_pairs) for name, (ours, theirs) in cases.items()}


def _ratio(ours: Callable[[], None], theirs: Callable[[], None], num_pairs: int) -> float:
    """The median of their time over ours; one more pair is thrown away first."""
    pairs = [(_wall_s(ours), _wall_s(theirs)) for _ in range(num_pairs + 1)][1:]
    return round(statistics.median(b / a for a, b in pairs), 3)


def _wall_s(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _bare_folders(group: Group, parent: Path) -> list[Path]:
    """One folder a candidate, with the very testbench and rows that our side would use."""
    harness = harness_of(group.problem)
    stimulus = draw_stimulus(harness.ports, harness.protocol, 10_000, literals=harness.literals)
    testbench = build_testbench((group.problem.top_module,), harness.ports, harness.protocol)
    folders = []
    for index, text in enumerate(group.texts):
        folder = parent / str(index)
        folder.mkdir(parents=True)
        folder.joinpath("testbench.v").write_text(testbench.text)
        folder.joinpath("design.v").write_text(text)
        folder.joinpath(row_file_name(0)).write_text(stimulus.row_file)
        folders.append(folder)
    return folders


def _shell_loops(folders: list[Path], workers: int) -> None:
    loops = [
        subprocess.Popen([*_limit_argv(), "sh", "-c", _LOOP, "sh", *folders[number::workers]], stdin=subprocess.DEVNULL)
        for number in range(workers)
    ]
    assert [loop.wait() for loop in loops] == [0] * workers, "a bare loop failed"


def _limit_argv() -> list[str]:
    limits = SIMULATE_LIMITS
    sizes = [f"--as={limits.memory_bytes}", f"--fsize={limits.file_bytes}", "--core=0"]
    return [str(find_tool("prlimit").path), *sizes]  # CPU time would bound the whole loop


def _make_folder(jobs: list[tuple], folder: Path) -> Path:
    """A folder with a makefile that has a target a candidate, its recipe upstream's."""
    folder.mkdir()
    lines = ["all: " + " ".join(f"{index}/log" for index in range(len(jobs)))]
    for index, (problem, text) in enumerate(jobs):
        sample = folder / str(index)
        sample.mkdir()
        for name, content in (("sample", text), ("test", problem.oracle.testbench), ("ref", problem.oracle.golden)):
            sample.joinpath(f"{name}.sv").write_text(content)
        lines += [f"{index}/log:", f"\t@cd {index}; {_RECIPE}"]
    folder.joinpath("Makefile").write_text("\n".join(lines) + "\n")
    return folder


def _run_make(folder: Path, workers: int) -> None:
    argv = [*_limit_argv(), "make", "-s", "-B", f"-j{workers}"]
    subprocess.run(argv, cwd=folder, check=True, stdin=subprocess.DEVNULL)
    logs = list(folder.glob("*/log"))
    assert logs, "make ran nothing"
    silent = [log for log in logs if "Mismatches: " not in log.read_text()]
    assert not silent, f"{len(silent)} of {len(logs)} samples gave no result line, the first: {silent[0].read_text()!r}"


def _rates(references: list[Group], scratch: Path, workers: int) -> dict[str, float]:
    """Verdicts a second of whole groups: with the farm's start and new goldens, with known ones, out of the cache."""
    jobs = [(group.problem, text, (3,)) for group in references for text in group.texts]
    rates = {}
    cache = scratch / "cache" / "verdicts.db"
    cache.parent.mkdir()
    started = time.perf_counter()
    with Farm(num_workers=workers, cache=cache, audit_fraction=0.0) as farm:
        farm.judge_all(jobs)
        rates["cold"] = len(jobs) / (time.perf_counter() - started)
        rates["cached"] = len(jobs) / _wall_s(lambda: farm.judge_all(jobs))
    with Farm(num_workers=workers) as farm:
        farm.judge_all(jobs)
        rates["warm"] = len(jobs) / _wall_s(lambda: farm.judge_all(jobs))
    shutil.rmtree(cache.parent)
    return {name: round(rate, 1) for name, rate in rates.items()}


def _latency(verifier: Verifier, references: list[Group]) -> dict[str, float]:
    """Of one verdict after the other in this process, in ms: candidates alone, and those that are screened out."""
    alone, screened = [], []
    for group in references:
        text = group.texts[0]
        refused = text.replace("endmodule", "initial $finish; endmodule")
        assert verifier.verify(group.problem, Candidate(text=text), (3,)).passed
        alone.append(_wall_s(lambda g=group, t=text: verifier.verify(g.problem, Candidate(text=t), (3,))))
        assert verifier.verify(group.problem, Candidate(text=refused), (3,)).outcome is Outcome.FORBIDDEN_CONSTRUCT
        screened.append(_wall_s(lambda g=group, t=refused: verifier.verify(g.problem, Candidate(text=t), (3,))))
    ranked = statistics.quantiles(alone, n=20)
    return {
        "single_p50": round(statistics.median(alone) * 1e3, 2),
        "single_p95": round(ranked[-1] * 1e3, 2),
        "screened_out_p50": round(statistics.median(screened) * 1e3, 3),
    }


def _rung_overheads() -> dict[str, float]:
    """What a command that does nothing costs on each rung, in ms over the same command bare; medians."""
    job = FolderJob(files={}, steps=(Step(argv=("/bin/true",), limits=Limits()),))
    bubblewrap, rlimits = LocalExecutor(isolation="auto"), LocalExecutor(isolation="rlimits")
    ways: dict[str, Callable[[], object]] = {
        "bare": lambda: subprocess.run(["/bin/true"], check=True),
        "rlimits": lambda: rlimits.run_job(job),
        f"{bubblewrap.isolation}, one a command": lambda: run_in_folder(bubblewrap.run, job),
        f"{bubblewrap.isolation}, one a worker": lambda: bubblewrap.run_job(job),
    }
    medians = {name: statistics.median(_wall_s(way) for _ in range(31)) * 1e3 for name, way in ways.items()}
    bubblewrap.close()
    bare_ms = medians.pop("bare")
    return {name: round(value - bare_ms, 2) for name, value in medians.items()}


if __name__ == "__main__":
    main()
