"""Proves a candidate equal to the golden, or different from it, for every input sequence and not only for drawn ones.

The question is the simulator's: the golden's x matches anything, an x of the candidate matches a golden x only, resets
are held before anything is compared. The answer is `different` only with a counterexample that the simulator confirms,
and `equivalent` only for text that synthesis reads as simulation does; all else is `unknown`, never a pass.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType

from verifiers.types import Port, Protocol


class FormalOutcome(StrEnum):
    """What a proof came to."""

    EQUIVALENT = "equivalent"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class FormalResult:
    """The end of one proof. `method` names the engine that decided, or the stage that gave up."""

    outcome: FormalOutcome
    reason: str = ""
    counterexample: tuple[dict[str, str], ...] = ()  # input values in binary by row, oldest first; the last one differs
    output: str = ""  # the output that differs
    method: str = ""
    duration_s: float = 0.0


class FormalProver:
    """One sandboxed process that has Yosys loaded. A context manager; not for several threads at once.

    Raises ToolNotFound without pyosys, InfrastructureError when the named isolation rung does not work here.
    """

    def __init__(self, *, isolation: str = "auto", scratch: Path | None = None) -> None:
        raise NotImplementedError

    def __enter__(self) -> "FormalProver":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process. Idempotent."""

    def prove(
        self,
        *,
        golden: str,
        golden_top: str,
        candidate: str,
        candidate_top: str,
        ports: tuple[Port, ...],
        protocol: Protocol,
        wall_s: float = 10.0,
    ) -> FormalResult:
        """Compare two designs with these ports. Passing `wall_s` gives `unknown`."""
        raise NotImplementedError


Confirm = Callable[[tuple[dict[str, str], ...]], str | None]  # replays rows: the output that differs in the last one
