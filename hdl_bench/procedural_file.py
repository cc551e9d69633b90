"""Procedural problems that were written to files: `earl problems make --out FILE.jsonl`."""

from pathlib import Path

from hdl_bench.problem_files import read_problems
from hdl_bench.scored import ScoredBenchmark
from toolchain.errors import UsageError
from verifiers.types import Problem


def load(root: Path) -> ScoredBenchmark:
    """The problems of a file, or of all .jsonl files in a folder, ready to be scored.

    Raises UsageError for what is no problem, for a problem_id given twice, and for a folder without such files.
    """
    files = sorted(root.glob("*.jsonl")) if root.is_dir() else [root]
    if not files:
        raise UsageError(f"{root} holds no .jsonl file; write one with `earl problems make --out FILE.jsonl`")
    problems: dict[str, Problem] = {}
    for problem in (problem for file in files for problem in read_problems(file)):
        if problem.problem_id in problems:
            raise UsageError(f"{root} has the problem_id {problem.problem_id!r} twice; give each problem its own")
        problems[problem.problem_id] = problem
    return ScoredBenchmark(name="procedural", problems=problems, prepare=lambda problem_id, completion: completion)
