"""Faults of problems, apart from those of candidates and machines."""

from toolchain.errors import InfrastructureError


class ProblemError(InfrastructureError):
    """The problem itself is broken: its golden or testbench fails here. No candidate of it can be judged."""


PROBLEM_FAULT = ProblemError.__name__  # the code of the diagnostic in a verdict that ended by one
AUDIT_CODE = "batch_audit"  # of the diagnostic of a verdict that is ours because a batch and a single run differ
