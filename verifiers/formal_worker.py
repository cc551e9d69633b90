"""The proving process: `python -m verifiers.formal_worker` reads jobs from a socket on its standard input.

A job and its answer are one line of JSON each. Yosys is native code over hostile text and ends its process on any
error, so each job runs in a fork of this one, which has it loaded: with limits of its own, a folder of its own, killed
with all that it started at the deadline. The fork does not have the socket. Never imports torch.
"""

import contextlib
import os
import resource
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from toolchain.yosys import SourceModule, find_pyosys, load_yosys, read_netlists, synthesize
from verifiers.formal_aig import Aig, AigTooLarge
from verifiers.formal_clocks import Clocking, find_clocking
from verifiers.formal_job import (
    FORMAL_ANSWER,
    JOB,
    SYNTHESIS_ANSWER,
    FormalAnswer,
    FormalJob,
    FormalOutcome,
    SynthesisAnswer,
    SynthesisJob,
)
from verifiers.formal_model import MachineBuilder
from verifiers.formal_netlist import Netlist, UnsupportedDesign
from verifiers.formal_rows import RowWriter
from verifiers.formal_solve import solve
from verifiers.formal_subset import simulation_doubt
from verifiers.static_check import static_check

MEMORY_BYTES = 2 << 30
FILE_BYTES = 64 << 20
MAX_GATES = 400_000
_LOG = "log"
_CHUNK_BYTES = 1 << 16


def prove(job: FormalJob, deadline: float) -> FormalAnswer:
    """Answer a job in the working folder, which Yosys may end this process in."""
    finding = static_check(job.candidate, job.candidate_top, job.ports)
    if finding is not None:
        return _unknown("static check", f"the candidate fails before simulation: {finding.diagnostics[0].message}")
    for who, text, top in (("golden", job.golden, job.golden_top), ("candidate", job.candidate, job.candidate_top)):
        doubt = simulation_doubt(text, top, job.protocol)
        if doubt is not None:
            return _unknown("source", f"of the {who}: {doubt}")
    try:
        return _compare(job, deadline)
    except (UnsupportedDesign, AigTooLarge) as error:
        return _unknown("netlist", str(error))


def _compare(job: FormalJob, deadline: float) -> FormalAnswer:
    Path("golden.sv").write_text(job.golden, encoding="utf-8")
    Path("candidate.sv").write_text(job.candidate, encoding="utf-8")
    modules = read_netlists(
        (
            SourceModule(file="golden.sv", top=job.golden_top, name="golden"),
            SourceModule(file="candidate.sv", top=job.candidate_top, name="candidate"),
        ),
        output="netlists.json",
    )
    netlists = (Netlist(modules["golden"], is_golden=True), Netlist(modules["candidate"], is_golden=False))
    clocking = find_clocking(netlists, job.ports, job.protocol, Aig(max_nodes=MAX_GATES))
    answer, may_be_x = _search(job, netlists, clocking, deadline, frees_x=False)
    if answer.outcome is not FormalOutcome.EQUIVALENT or not may_be_x:
        return answer
    # Equal by the simulator's rules for x. Is it so whatever value an x has?
    robust, _ = _search(job, netlists, clocking, deadline, frees_x=True)
    if robust.outcome is not FormalOutcome.DIFFERENT:
        return robust
    golden_itself = (netlists[0], netlists[0])
    clocking = find_clocking(golden_itself, job.ports, job.protocol, Aig(max_nodes=MAX_GATES))
    of_golden, _ = _search(job, golden_itself, clocking, deadline, frees_x=True)
    if of_golden.outcome is FormalOutcome.DIFFERENT:
        return answer  # the golden leans on those rules too
    return _unknown(
        "x", "the candidate is right by a simulator's rules for x alone: some values of what is x are wrong"
    )


def _search(
    job: FormalJob, netlists: tuple[Netlist, Netlist], clocking: Clocking, deadline: float, *, frees_x: bool
) -> tuple[FormalAnswer, bool]:
    """What a search finds, and whether the candidate may be x anywhere."""
    aig = Aig(max_nodes=MAX_GATES)
    machine = MachineBuilder(netlists, clocking, job.ports, job.protocol, aig, frees_x=frees_x).build()
    usual = {machine.step.inputs[reset.name][0]: int(not reset.is_active_high) for reset in job.protocol.resets}
    answer = solve(machine, abc=find_pyosys().abc, folder=Path.cwd(), deadline=deadline, usual=usual)
    if not answer.is_decided:
        return _unknown(answer.method, answer.reason), machine.may_be_x
    if answer.trace is None:
        return FormalAnswer(outcome=FormalOutcome.EQUIVALENT, method=answer.method), machine.may_be_x
    writer = RowWriter(job.ports, job.protocol)
    first_scored_row = writer.write(machine, answer.trace, has_levels=clocking.has_levels)
    found = FormalAnswer(
        outcome=FormalOutcome.DIFFERENT,
        method=answer.method,
        rows=tuple(writer.rows),
        first_scored_row=first_scored_row,
    )
    return found, machine.may_be_x


def _unknown(method: str, reason: str) -> FormalAnswer:
    return FormalAnswer(outcome=FormalOutcome.UNKNOWN, method=method, reason=reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class _NoAnswer:
    """A fork that ended without an answer: at which stage, and why."""

    stage: str
    reason: str


def main() -> None:
    """Serve jobs until the other end closes the socket."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    load_yosys()
    with socket.socket(fileno=sys.stdin.fileno()) as connection, connection.makefile("rwb") as lines:
        for line in lines:
            lines.write(serve(JOB.validate_json(line), connection) + b"\n")
            lines.flush()


def serve(job: FormalJob | SynthesisJob, connection: socket.socket) -> bytes:
    """The answer to a job as JSON. `connection` is what the fork must not have."""
    given = _run_forked(job, connection)
    if isinstance(given, bytes):
        return given
    if isinstance(job, SynthesisJob):
        return SYNTHESIS_ANSWER.dump_json(SynthesisAnswer(reason=given.reason))
    return FORMAL_ANSWER.dump_json(_unknown(given.stage, given.reason))


def _run_forked(job: FormalJob | SynthesisJob, connection: socket.socket) -> bytes | _NoAnswer:
    deadline = time.monotonic() + job.wall_s
    folder = Path(tempfile.mkdtemp(prefix="proof-", dir="."))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _serve_in_child(job, deadline, folder, writing, connection)
    os.close(writing)
    with contextlib.suppress(PermissionError, ProcessLookupError):  # it has done so itself, or is gone
        os.setpgid(child, child)
    try:
        with open(reading, "rb", buffering=0) as pipe:
            text = _read_until(pipe.fileno(), deadline)
        os.killpg(child, signal.SIGKILL)  # not yet waited for: the number is still the child's
        _, status = os.waitpid(child, 0)
        if text is None:
            return _NoAnswer(stage="deadline", reason=f"no answer within {job.wall_s:g} s")
        if not text:
            exit_code = os.waitstatus_to_exitcode(status)
            return _NoAnswer(stage="front end", reason=_end_of_log(folder / _LOG, exit_code))
        return text
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _serve_in_child(
    job: FormalJob | SynthesisJob, deadline: float, folder: Path, writing: int, connection: socket.socket
) -> None:
    """Prove, write the answer, end. Whatever goes wrong ends this process without an answer."""
    try:
        os.setpgid(0, 0)
        connection.close()
        os.chdir(folder)
        log = os.open(_LOG, os.O_WRONLY | os.O_CREAT)
        for number in (0, 1, 2):
            os.dup2(log, number)
        seconds = int(job.wall_s) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
        view = memoryview(_answer(job, deadline))
        while view:
            view = view[os.write(writing, view) :]
    except BaseException as error:  # the boundary of the fork: nothing of it may run on in the caller's code
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(0)


def _answer(job: FormalJob | SynthesisJob, deadline: float) -> bytes:
    if isinstance(job, FormalJob):
        return FORMAL_ANSWER.dump_json(replace(prove(job, deadline), cpu_s=_cpu_s()))
    Path("design.sv").write_text(job.text, encoding="utf-8")
    gates = synthesize("design.sv", job.top)
    answer = SynthesisAnswer(
        cells=gates.cells, num_wires=gates.num_wires, num_wire_bits=gates.num_wire_bits, depth=gates.depth
    )
    return SYNTHESIS_ANSWER.dump_json(answer)


def _cpu_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _read_until(pipe: int, deadline: float) -> bytes | None:
    """What comes down the pipe until it closes; None when the deadline comes first."""
    text = bytearray()
    while True:
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        chunk = os.read(pipe, _CHUNK_BYTES)
        if not chunk:
            return bytes(text)
        text += chunk


def _end_of_log(path: Path, exit_code: int) -> str:
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    errors = [line.strip() for line in lines if "error:" in line.lower()]
    said = (errors or lines or ["nothing was said"])[0 if errors else -1]
    return f"the front end gave up (exit code {exit_code}): {said[:300]}"


if __name__ == "__main__":
    main()
