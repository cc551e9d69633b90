"""Proves an isolation by trying to break it: runs `toolchain.isolation_attacks` inside and looks at what came of it.

An attempt that could not be made is an error, never a success. What it cannot show: holes in the kernel itself.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from toolchain.command import CommandResult, FolderJob, Limits, Step
from toolchain.errors import InfrastructureError
from toolchain.executor import Executor

_MIB = 1 << 20
_DEADLINES_S = (0.4, 2.0, 8.0)  # for what must be killed: the first that is long enough to start
_GRACE_S = 1.5  # a busy machine needs some time to end it
_FULL_DISK_FILES = 4  # what a command may write altogether, in files of the largest size allowed
_STARTED = "attempting\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What came of one attempt to break out. `finding` says what was achieved, or what stopped at which bound."""

    name: str
    is_held: bool
    finding: str


# Runs an argv in a fresh folder of its own under the isolation and the limits.
Run = Callable[[tuple[str, ...], Limits], CommandResult]


def run_of(executor: Executor) -> Run:
    """An attempt as the only step of a job of `executor`, the way in which candidates are run."""

    def run(argv: tuple[str, ...], limits: Limits) -> CommandResult:
        return executor.run_job(FolderJob(files={}, steps=(Step(argv=argv, limits=limits),))).results[0]

    return run


def python_prefix() -> Path:
    """The folder that an isolation must let commands read for the attempts to start: this Python's installation."""
    return Path(sys.base_prefix)


def probe_isolation(run: Run, limits: Limits, names: Sequence[str] | None = None) -> tuple[Probe, ...]:
    """Make each attempt of `names` (all, by default) once under `limits`, those of a simulation, say.

    All take about two seconds. Raises InfrastructureError when an attempt could not be made.
    """
    attacker = _Attacker(run=run, limits=limits)
    return tuple(_PROBES[name](name, attacker) for name in names or PROBE_NAMES)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Attacker:
    """Makes attempts and returns what they printed."""

    run: Run
    limits: Limits

    def attempt(self, name: str, *arguments: str, limits: Limits | None = None) -> CommandResult:
        """The result of an attempt, its opening line taken off."""
        source = resources.files("toolchain").joinpath("isolation_attacks.py").read_text(encoding="utf-8")
        python = str(Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}"))
        result = self.run((python, "-I", "-S", "-c", source, name, *arguments), limits or self.limits)
        if not result.stdout.startswith(_STARTED):
            raise InfrastructureError(
                f"the attempt {name} could not be made: {python} ended with {result.returncode} and said"
                f" {result.stderr.strip()[-300:]!r}. The isolation must let it read {python_prefix()}."
            )
        return replace(result, stdout=result.stdout.removeprefix(_STARTED))


def _read_host_file(name: str, attacker: _Attacker) -> Probe:
    with _host_folder() as folder:
        secret = secrets.token_hex(8)
        (folder / "golden.v").write_text(secret)
        is_held = secret not in attacker.attempt("read_host_file", str(folder / "golden.v")).stdout
    return Probe(name=name, is_held=is_held, finding="not visible" if is_held else "read a file of another folder")


def _write_host_file(name: str, attacker: _Attacker) -> Probe:
    with _host_folder() as folder:
        attacker.attempt("write_host_file", str(folder / "planted"))
        is_held = not (folder / "planted").exists()
    return Probe(name=name, is_held=is_held, finding="not written" if is_held else "made a file in another folder")


def _open_socket(name: str, attacker: _Attacker) -> Probe:
    abstract_name = f"earl-probe-{secrets.token_hex(8)}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind("\0" + abstract_name)
        unix.listen()
        result = attacker.attempt("open_socket", str(tcp.getsockname()[1]), abstract_name)
    reached = _printed(result, "reached ")
    finding = f"reached {', '.join(reached)}" if reached else "reached neither this machine nor beyond"
    return Probe(name=name, is_held=not reached, finding=finding)


def _fork_bomb(name: str, attacker: _Attacker) -> Probe:
    allowed = attacker.limits.processes
    result = attacker.attempt("fork_bomb", str(2 * allowed))
    # A bomb that was itself killed has printed no count.
    num_children = max((int(count) for count in _printed(result, "children ")), default=2 * allowed)
    return Probe(name=name, is_held=num_children <= allowed, finding=f"{num_children} children, {allowed} allowed")


def _fill_disk(name: str, attacker: _Attacker) -> Probe:
    file_bytes = attacker.limits.file_bytes
    allowed = _FULL_DISK_FILES * file_bytes
    result = attacker.attempt("fill_disk", secrets.token_hex(8), str(allowed + file_bytes), str(file_bytes))
    for written in _printed(result, "file "):
        Path(written).unlink(missing_ok=True)
    num_bytes = max((int(count) for count in _printed(result, "bytes ")), default=0)
    finding = f"{num_bytes // _MIB} MiB written, {allowed // _MIB} allowed"
    return Probe(name=name, is_held=num_bytes <= allowed, finding=finding)


def _exceed_memory(name: str, attacker: _Attacker) -> Probe:
    allowed = attacker.limits.memory_bytes
    is_held = not _printed(attacker.attempt("exceed_memory", str(allowed + _MIB)), "bytes ")
    finding = f"refused at {allowed // _MIB} MiB" if is_held else f"took more than {allowed // _MIB} MiB"
    return Probe(name=name, is_held=is_held, finding=finding)


def _flood_output(name: str, attacker: _Attacker) -> Probe:
    result = attacker.attempt("flood_output")
    num_bytes = len(result.stdout) + len(_STARTED) + len(result.stderr)
    is_held = result.is_output_truncated and num_bytes <= attacker.limits.output_bytes
    return Probe(name=name, is_held=is_held, finding=f"{num_bytes // _MIB} MiB kept, {result.duration_s:.1f} s")


def _survive(name: str, attacker: _Attacker) -> Probe:
    for deadline_s in _DEADLINES_S[:-1]:
        try:
            return _survive_deadline(name, attacker, deadline_s)
        except InfrastructureError:  # on a busy machine it may not even have started by then
            continue
    return _survive_deadline(name, attacker, _DEADLINES_S[-1])


def _survive_deadline(name: str, attacker: _Attacker, deadline_s: float) -> Probe:
    nonce = secrets.token_hex(16)
    limits = replace(attacker.limits, wall_s=deadline_s)
    result = attacker.attempt("survive", nonce, str(deadline_s + 2 * _GRACE_S), limits=limits)
    survivors = _survivors(nonce)
    for pid in survivors:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if result.duration_s > deadline_s + _GRACE_S:
        finding = f"held the executor up for {result.duration_s:.1f} s, the limit being {deadline_s:g} s"
        return Probe(name=name, is_held=False, finding=finding)
    is_held = result.is_timed_out and not survivors
    finding = "killed with all children" if is_held else f"{len(survivors)} processes lived on"
    return Probe(name=name, is_held=is_held, finding=finding)


def _gain_privileges(name: str, attacker: _Attacker) -> Probe:
    gained = _printed(attacker.attempt("gain_privileges"), "gained ")
    return Probe(name=name, is_held=not gained, finding=f"gained {', '.join(gained)}" if gained else "gained none")


def _kill_host_process(name: str, attacker: _Attacker) -> Probe:
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE) as victim:
        attacker.attempt("kill_host_process", str(victim.pid))
        victim.communicate(b"\n")
    is_held = victim.returncode == 0
    finding = "the process lives" if is_held else "killed a process of the same user"
    return Probe(name=name, is_held=is_held, finding=finding)


def _leave_traces(name: str, attacker: _Attacker) -> Probe:
    nonce = secrets.token_hex(3)  # also a key of shared memory, which has 32 bits
    attacker.attempt("plant", nonce)
    found = _printed(attacker.attempt("find_planted", nonce), "found ")
    finding = f"the next command found {', '.join(found)}" if found else "the next command found nothing"
    return Probe(name=name, is_held=not found, finding=finding)


_PROBES: dict[str, Callable[[str, _Attacker], Probe]] = {
    "read_host_file": _read_host_file,
    "write_host_file": _write_host_file,
    "open_socket": _open_socket,
    "fork_bomb": _fork_bomb,
    "fill_disk": _fill_disk,
    "exceed_memory": _exceed_memory,
    "flood_output": _flood_output,
    "survive_killer": _survive,
    "gain_privileges": _gain_privileges,
    "kill_host_process": _kill_host_process,
    "leave_traces": _leave_traces,
}
PROBE_NAMES = tuple(_PROBES)
# What rlimits alone promise; a full rung promises all.
HELD_BY_RLIMITS = ("exceed_memory", "flood_output")


def _printed(result: CommandResult, prefix: str) -> list[str]:
    return [line.removeprefix(prefix) for line in result.stdout.splitlines() if line.startswith(prefix)]


@contextmanager
def _host_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="earl-host-") as name:
        folder = Path(name)
        folder.chmod(0o777)  # only the isolation protects it, not its mode
        yield folder


def _survivors(nonce: str) -> list[int]:
    """The processes of a killed command that are there when the kernel has had time to end them."""
    deadline = time.monotonic() + _GRACE_S
    while (survivors := _processes_with(nonce)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return survivors


def _processes_with(nonce: str) -> list[int]:
    """The processes of this machine, sandboxed ones among them, that carry `nonce` as an argument."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                if nonce.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
    return found
