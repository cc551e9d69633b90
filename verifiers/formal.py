"""Proves a candidate equal to the golden, or different from it, for every input sequence and not only for drawn ones.

The question is the simulator's: the golden's x matches anything, an x of the candidate matches a golden x only, resets
are held before anything is compared. The answer is `different` only with a counterexample that the simulator confirms,
and `equivalent` only for sources that synthesis reads as a simulator does; all else is `unknown`, never a pass.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from toolchain.sandbox import choose_rung
from toolchain.yosys import find_pyosys
from verifiers.formal_job import FORMAL_ANSWER, FormalAnswer, FormalJob, FormalOutcome
from verifiers.formal_process import PersistentProver
from verifiers.simulate import Design, Failure, Simulator, local_executor
from verifiers.stimulus import Stimulus
from verifiers.trace import compare, expectation_of
from verifiers.types import FirstMismatch, Port, Protocol

__all__ = ["FormalOutcome", "FormalProver", "FormalResult"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FormalResult:
    """The end of one proof. `method` names the engine that decided, or the stage that gave up."""

    outcome: FormalOutcome
    reason: str = ""
    counterexample: tuple[dict[str, str], ...] = ()  # input values in binary by row, oldest first; the last one differs
    output: str = ""  # the output that differs
    method: str = ""
    duration_s: float = 0.0
    cpu_s: float = 0.0  # of the proof without its replay; 0 where the proof was ended from outside


class FormalProver:
    """One sandboxed process that has Yosys loaded. A context manager; not for several threads at once.

    Raises ToolNotFound without pyosys or Icarus, InfrastructureError when the named isolation rung does not work here.
    """

    def __init__(self, *, isolation: str = "auto", scratch: Path | None = None) -> None:
        find_pyosys()
        self.isolation = choose_rung(isolation)
        self._executor = local_executor(isolation=isolation, scratch=scratch)
        self._simulator = Simulator(executor=self._executor)
        self._process = PersistentProver(isolation=self.isolation, scratch=scratch)

    def __enter__(self) -> "FormalProver":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process. Idempotent."""
        self._process.close()
        self._executor.close()

    def prove(  # noqa: PLR0913  (two designs and what they share)
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
        """Compare two designs with these ports. Passing `wall_s` gives `unknown`.

        Raises InfrastructureError when the proving process is lost, which no candidate should be able to cause.
        """
        started = time.monotonic()
        job = FormalJob(
            golden=golden,
            golden_top=golden_top,
            candidate=candidate,
            candidate_top=candidate_top,
            ports=ports,
            protocol=protocol,
            wall_s=wall_s,
        )
        answer = self._process.ask(job, FORMAL_ANSWER)
        found: FirstMismatch | str = answer.reason
        stimulus = _stimulus(job, answer)
        if answer.outcome is FormalOutcome.DIFFERENT:
            found = self._replay(job, stimulus)
        duration_s = time.monotonic() - started
        if isinstance(found, FirstMismatch):
            return FormalResult(
                outcome=FormalOutcome.DIFFERENT,
                reason=f"expected {found.expected}, got {found.got}",
                counterexample=tuple(stimulus.row_by_name(row) for row in range(found.row + 1)),
                output=found.output,
                method=answer.method,
                duration_s=duration_s,
                cpu_s=answer.cpu_s,
            )
        is_equivalent = answer.outcome is FormalOutcome.EQUIVALENT
        outcome = FormalOutcome.EQUIVALENT if is_equivalent else FormalOutcome.UNKNOWN
        return FormalResult(
            outcome=outcome, reason=found, method=answer.method, duration_s=duration_s, cpu_s=answer.cpu_s
        )

    def _replay(self, job: FormalJob, stimulus: Stimulus) -> FirstMismatch | str:
        """Where the simulator sees the difference too, or why it does not: each design in a process of its own."""
        traces = []
        for text, top in ((job.golden, job.golden_top), (job.candidate, job.candidate_top)):
            designs = (Design(text=text, top=top),)
            played = self._simulator.simulate(designs, (stimulus,), ports=job.ports, protocol=job.protocol)
            if isinstance(played, Failure):
                return f"a counterexample could not be replayed: {top} ended at {played.stage} ({played.ending})"
            traces.append(played.traces[0][0])
        golden, candidate = traces
        mismatch = compare(expectation_of(golden, stimulus), candidate).first_mismatch
        if mismatch is None:
            return "the netlists differ, and the simulator does not confirm it"
        return mismatch


def _stimulus(job: FormalJob, answer: FormalAnswer) -> Stimulus:
    inputs = tuple(port for port in job.ports if port.direction == "input")
    return Stimulus.of_rows(answer.rows, inputs=inputs, first_scored_row=answer.first_scored_row)
