"""Procedural problems that were written to a file: `earl problems make --out FILE.jsonl`."""

from pathlib import Path

from hdl_bench.jsonl import read_problems
from hdl_bench.scored import ScoredBenchmark, whole_answer


def load(root: Path) -> ScoredBenchmark:
    """The problems of a file of JSON lines, or of a folder of such files, ready to be scored."""
    problems = {problem.problem_id: problem for problem in read_problems(root)}
    return ScoredBenchmark(
        name="procedural", problems=problems, prepare=lambda problem_id, completion: whole_answer(completion)
    )
