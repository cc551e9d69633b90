"""What goes to the proving process and comes back, and both as one line of JSON. Imports no prover."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

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
    kind: Literal["prove"] = "prove"


@dataclass(frozen=True, kw_only=True, slots=True)
class FormalAnswer:
    """What the process found. `rows` of `DIFFERENT` are input rows to replay, as a stimulus has them."""

    outcome: FormalOutcome
    method: str
    reason: str = ""
    rows: tuple[tuple[int, ...], ...] = ()  # rows[i][j] is input j in row i
    first_scored_row: int = 0
    cpu_s: float = 0.0  # of the fork and of ABC; not known of one that was killed


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthesisJob:
    """A design to synthesize, and for how long."""

    text: str
    top: str
    wall_s: float
    kind: Literal["synthesize"] = "synthesize"


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthesisAnswer:
    """What a design becomes in generic gates; all zero, with a reason, where it becomes nothing."""

    reason: str = ""
    cells: dict[str, int] = field(default_factory=dict)  # by type
    num_wires: int = 0
    num_wire_bits: int = 0
    depth: int = 0  # gates on the longest path between registers and ports


JOB = TypeAdapter(FormalJob | SynthesisJob)
FORMAL_ANSWER = TypeAdapter(FormalAnswer)
SYNTHESIS_ANSWER = TypeAdapter(SynthesisAnswer)
