"""Faults of problems, apart from those of candidates and machines."""

from toolchain.errors import InfrastructureError
from toolchain.icarus import Ending


class ProblemError(InfrastructureError):
    """The problem itself is broken: its golden or testbench fails here. No candidate of it can be judged."""


def fault_of_golden(ending: Ending) -> type[InfrastructureError]:
    """Whose fault a golden's failure is. One that ends of itself is broken; one that was ended may have met a busy or
    a broken machine."""
    return ProblemError if ending in (Ending.CLEAN, Ending.REFUSED) else InfrastructureError


PROBLEM_FAULT = ProblemError.__name__  # the code of the diagnostic in a verdict that ended by one
AUDIT_CODE = "batch_audit"  # of the diagnostic of a verdict that is ours because a batch and a single run differ
