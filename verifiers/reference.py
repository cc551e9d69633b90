"""A problem as its golden alone would judge it: our own generated testbench beside, or instead of, a stock one."""

from dataclasses import replace

from verifiers.types import Problem, ReferenceOracle


def as_reference(problem: Problem) -> Problem | None:
    """The problem with its golden as the oracle; None where its oracle has no golden."""
    oracle = problem.oracle
    if isinstance(oracle, ReferenceOracle):
        return problem
    if oracle.golden is None:
        return None
    assert oracle.golden_top is not None, f"the oracle of {problem.problem_id} has a golden but no golden_top"
    golden = ReferenceOracle(golden=oracle.golden, golden_top=oracle.golden_top, protocol=oracle.protocol)
    return replace(problem, oracle=golden)
