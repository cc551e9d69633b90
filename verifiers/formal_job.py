"""What goes to the proving process and comes back, and both as one line of JSON. Imports no prover."""

from dataclasses import dataclass
from enum import StrEnum

from pydantic import TypeAdapter

from verifiers.types import Port, Protocol


class FormalOutcome(StrEnum):
    """What a proof came to."""

    EQUIVALENT = "equivalent"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class FormalJob:
    """Two designs to compare, and for how long."""

    golden: str
    golden_top: str
    candidate: str
    candidate_top: str
    ports: tuple[Port, ...]
    protocol: Protocol
    wall_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FormalAnswer:
    """What the process found. `rows` of `DIFFERENT` are input rows to replay, as a stimulus has them."""

    outcome: FormalOutcome
    method: str
    reason: str = ""
    rows: tuple[tuple[int, ...], ...] = ()  # rows[i][j] is input j in row i
    first_scored_row: int = 0


FORMAL_JOB = TypeAdapter(FormalJob)
FORMAL_ANSWER = TypeAdapter(FormalAnswer)
