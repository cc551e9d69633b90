"""A problem as its own testbench alone would judge it, to see what that testbench notices.

Only for measuring testbenches: without a golden beside it, a testbench is easier to deceive.
"""

from dataclasses import replace

from verifiers.lexer import LexemeKind, lex
from verifiers.types import Port, Problem, ReferenceOracle, TestbenchOracle


def testbench_alone(problem: Problem, ports: tuple[Port, ...]) -> Problem | None:
    """The problem without our own generated testbench; None where that is all there is.

    A golden that the testbench instantiates becomes a part of its text.
    """
    oracle = problem.oracle
    if isinstance(oracle, ReferenceOracle):
        return None
    bare = replace(oracle, golden=None, golden_top=None)
    if isinstance(oracle, TestbenchOracle) and oracle.golden is not None:
        names = {oracle.testbench[x.start : x.end] for x in lex(oracle.testbench) if x.kind is LexemeKind.IDENTIFIER}
        if oracle.golden_top in names:
            bare = replace(bare, testbench=f"{oracle.testbench}\n{oracle.golden}")
    return replace(problem, ports=ports, oracle=bare)
