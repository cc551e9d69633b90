"""Completions that lie in folders, as upstreams' own scripts write them: RTLLM's trials, VerilogEval's build folder.

Each file is what upstream judges as it is: nothing more is taken out of it by upstream's rule. Rows come in an order of
their own, whatever the file system's.
"""

import re
from pathlib import Path

from hdl_bench.checkout import read_text
from hdl_bench.score import Sample, read_samples
from hdl_bench.scored import ScoredBenchmark
from toolchain.errors import UsageError

_TRIAL = re.compile(r"t([1-9]\d*)")


def read_rows(benchmark: ScoredBenchmark, *, samples: Path | None, trials: Path | None) -> tuple[Sample, ...]:
    """The rows of a file of JSON lines, of VerilogEval's build folder (`samples`) or of RTLLM's `trials`.

    Raises UsageError unless exactly one is given, and as the readers do.
    """
    if (samples is None) == (trials is None):
        raise UsageError("give either --samples (a file or VerilogEval's build folder) or --trials (a folder)")
    if trials is not None:
        return read_trials(trials, benchmark)
    assert samples is not None, "one of the two is given"
    return read_build_folder(samples, benchmark) if samples.is_dir() else read_samples(samples, benchmark)


def read_trials(folder: Path, benchmark: ScoredBenchmark) -> tuple[Sample, ...]:
    """The rows of `t1` to `tN`, each with a `PROBLEM.v` for a problem: trial by trial, in the benchmark's order.

    A problem without a file in a trial is an empty completion, as upstream counts it. Raises UsageError for a folder
    without trials, for a gap in their numbers, and for a trial with no file of the benchmark.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give the folder that holds t1, t2, ...")
    numbers = sorted(int(match[1]) for path in folder.iterdir() if (match := _TRIAL.fullmatch(path.name)))
    if not numbers:
        raise UsageError(
            f"{folder} holds no trial; it needs folders t1, t2, ... with a file PROBLEM.v for each problem"
        )
    gap = next((number for number in range(1, numbers[-1]) if number not in numbers), None)
    if gap is not None:
        raise UsageError(f"{folder} has t{numbers[-1]} but no t{gap}; number the trials from 1 without a gap")
    rows = []
    for index, number in enumerate(numbers):
        trial = folder / f"t{number}"
        texts = {name: _text_of(trial / f"{name}.v") for name in benchmark.problems}
        if all(text is None for text in texts.values()):
            known = ", ".join(f"{name}.v" for name in list(benchmark.problems)[:3])
            raise UsageError(f"{trial} holds no file of {benchmark.name}; its files are like {known}")
        rows += [_sample(name, index, text or "") for name, text in texts.items()]
    return tuple(rows)


def read_build_folder(folder: Path, benchmark: ScoredBenchmark) -> tuple[Sample, ...]:
    """The rows of `PROBLEM/PROBLEM_sampleNN.sv`, problem by problem in the benchmark's order, then by number.

    Raises UsageError for a folder without such files.
    """
    rows = []
    for name in benchmark.problems:
        file_name = re.compile(re.escape(name) + r"_sample(\d+)\.sv")
        paths = folder.joinpath(name).glob("*.sv")
        numbered = sorted((int(match[1]), path) for path in paths if (match := file_name.fullmatch(path.name)))
        rows += [_sample(name, index, _text_of(path) or "") for index, (_, path) in enumerate(numbered)]
    if not rows:
        name = next(iter(benchmark.problems))
        raise UsageError(f"{folder} holds no sample of {benchmark.name}; its files are like {name}/{name}_sample01.sv")
    return tuple(rows)


def _text_of(path: Path) -> str | None:
    """The text of a file of the model's, which may be empty or not there."""
    return read_text(path, may_be_empty=True) if path.exists() else None


def _sample(problem_id: str, index: int, text: str) -> Sample:
    return Sample(problem_id=problem_id, sample_idx=index, completion=text, is_extracted=True)
