"""A small checkout in VerilogEval v1's layout, of our own making: three of the v2 problems, for tests."""

import json
from pathlib import Path

from stock_checkout import PROBLEMS, StockProblem

V1_PROBLEMS = tuple(
    problem for problem in PROBLEMS if problem.name in ("Prob902_adder", "Prob904_dff", "Prob905_count")
)


def task_id_of(problem: StockProblem) -> str:
    """The name in v1, which has no number."""
    return problem.name.split("_", 1)[1]


def solution_of(problem: StockProblem) -> str:
    """What goes on from the header."""
    return f"\n{problem.body}\nendmodule\n"


def test_of(problem: StockProblem) -> str:
    """The testbench with the golden in it."""
    harness = problem.harness().replace("RefModule", "reference_module").replace("TopModule", "top_module")
    timescale, rest = harness.split("\n", 1)
    return f"{timescale}\n{problem.source('reference_module')}\n{rest}"


test_of.__test__ = False  # for pytest: not a test


def write_v1(root: Path) -> Path:
    """Human and Machine under `root`, which is returned."""
    for name in ("data", "descriptions"):
        root.joinpath(name).mkdir(parents=True)
    rows = [
        {
            "task_id": task_id_of(problem),
            "prompt": problem.header("top_module"),
            "canonical_solution": solution_of(problem),
            "test": test_of(problem),
        }
        for problem in V1_PROBLEMS
    ]
    for stem in ("Human", "Machine"):
        asked = [{"task_id": task_id_of(p), "detail_description": f"{stem}:\n{p.asks}"} for p in reversed(V1_PROBLEMS)]
        _write_lines(root / "data" / f"VerilogEval_{stem}.jsonl", rows)
        _write_lines(root / "descriptions" / f"VerilogDescription_{stem}.jsonl", asked)
    return root


def _write_lines(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
