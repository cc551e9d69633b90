"""Problems of the user's own as a benchmark: any source that `hdl_bench.problem_source` reads.

`earl problems make --out FILE.jsonl` writes such a file too, so procedural sets are read by the same code.
"""

from functools import partial
from pathlib import Path

from hdl_bench.problem_files import read_problems
from hdl_bench.scored import ScoredBenchmark
from toolchain.errors import UsageError
from verifiers.types import Problem


def load(root: Path, *, name: str = "jsonl") -> ScoredBenchmark:
    """The problems at `root`, ready to be scored.

    Raises UsageError for what is no problem and for a problem_id given twice; as `read_problems` for what is missing.
    """
    problems: dict[str, Problem] = {}
    for problem in read_problems(root):
        if problem.problem_id in problems:
            raise UsageError(f"{root} has the problem_id {problem.problem_id!r} twice; give each problem its own")
        problems[problem.problem_id] = problem
    return ScoredBenchmark(name=name, problems=problems, prepare=lambda problem_id, completion: completion)


load_procedural = partial(load, name="procedural")
