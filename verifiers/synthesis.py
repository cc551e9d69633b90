"""What a design costs in gates: cells, wires and the depth of its logic, after synthesis into generic gates.

The figures compare designs with each other. They are of no technology: no area, no delay, no timing.
"""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from toolchain.sandbox import choose_rung
from toolchain.yosys import find_pyosys
from verifiers.formal_job import SYNTHESIS_ANSWER, SynthesisJob
from verifiers.formal_process import PersistentProver

_REGISTER_PREFIXES = ("$_DFF", "$_SDFF", "$_ALDFF", "$_FF_")
_LATCH_PREFIXES = ("$_DLATCH", "$_SR_")


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthesisStatistics:
    """The figures of one design; `reason` says why there are none (then all are zero)."""

    num_cells: int
    num_flip_flops: int
    num_latches: int
    num_wires: int
    num_wire_bits: int
    depth: int  # gates on the longest path between registers and ports
    cells: dict[str, int]  # by Yosys' gate type
    reason: str = ""

    @property
    def is_synthesizable(self) -> bool:
        return not self.reason


class Synthesizer:
    """One sandboxed process that has Yosys loaded. A context manager; not for several threads at once.

    Raises ToolNotFound without pyosys, InfrastructureError when the named isolation rung does not work here.
    """

    def __init__(self, *, isolation: str = "auto", scratch: Path | None = None) -> None:
        find_pyosys()
        self._process = PersistentProver(isolation=choose_rung(isolation), scratch=scratch)

    def __enter__(self) -> "Synthesizer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process. Idempotent."""
        self._process.close()

    def statistics(self, text: str, top: str, *, wall_s: float = 10.0) -> SynthesisStatistics:
        """The figures of the design `top` in `text`, which should have passed `static_check`.

        Raises InfrastructureError when the process is lost.
        """
        answer = self._process.ask(SynthesisJob(text=text, top=top, wall_s=wall_s), SYNTHESIS_ANSWER)
        return SynthesisStatistics(
            num_cells=sum(answer.cells.values()),
            num_flip_flops=_count(answer.cells, _REGISTER_PREFIXES),
            num_latches=_count(answer.cells, _LATCH_PREFIXES),
            num_wires=answer.num_wires,
            num_wire_bits=answer.num_wire_bits,
            depth=answer.depth,
            cells=answer.cells,
            reason=answer.reason,
        )


def _count(cells: dict[str, int], prefixes: tuple[str, ...]) -> int:
    return sum(number for kind, number in cells.items() if kind.startswith(prefixes))
