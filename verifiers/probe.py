"""Proves that a farm judges: a right design must pass and a wrong one must not, each time with a seed of its own.

The seed keeps the answer from coming out of a cache. It says nothing of how well problems are tested.
"""

import secrets
from concurrent.futures import TimeoutError

from toolchain.errors import DeadlineExceeded, InfrastructureError
from verifiers.connect import Judge
from verifiers.types import Outcome, Port, Problem, Protocol, ReferenceOracle

_DESIGN = "module TopModule (input a, input b, output y);\n  assign y = a {} b;\nendmodule\n"
_PROBLEM = Problem(
    problem_id="probe-xor",
    source="probe",
    prompt="y is the XOR of a and b.",
    top_module="TopModule",
    ports=(*(Port(name=name, direction="input") for name in "ab"), Port(name="y", direction="output")),
    oracle=ReferenceOracle(golden=_DESIGN.format("^"), golden_top="TopModule", protocol=Protocol()),
)


def probe(judge: Judge, *, wall_s: float) -> None:
    """Judge both designs within `wall_s`. Raises InfrastructureError that says what came out instead."""
    seeds = (secrets.randbits(62),)
    futures = {
        expected: judge.submit(_PROBLEM, _DESIGN.format(operator), seeds)
        for expected, operator in ((Outcome.PASSED, "^"), (Outcome.MISMATCH, "|"))
    }
    for expected, future in futures.items():
        try:
            verdict = future.result(timeout=wall_s).verdict
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"no verdict on a probe design within {wall_s:g} s; see the queue's length"
            ) from error
        if verdict.outcome is not expected:
            said = "; ".join(diagnostic.message for diagnostic in verdict.diagnostics)
            raise InfrastructureError(f"a design that must end as {expected} ended as {verdict.outcome}: {said}")
