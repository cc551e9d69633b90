"""Runs a command under its limits and brings back what it said. Knows nothing of what the command means.

Safe from several threads at once. Whatever ends a command, its whole process group is ended by SIGKILL: a polite
signal would let a simulator run on and print.
"""

import os
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from toolchain.command import Command, CommandResult, Limits
from toolchain.errors import InfrastructureError
from toolchain.sandbox import choose_rung, wrap

_MINIMAL_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TMPDIR": "/tmp"}
_CHUNK_BYTES = 1 << 16


class Executor(Protocol):
    """Anything that runs commands: this machine, a container, a cluster."""

    isolation: str  # the rung in force

    def run(self, command: Command) -> CommandResult:
        """Run to the end or to a limit. Raises InfrastructureError when the command cannot be started."""
        ...


class LocalExecutor:
    """Runs commands on this machine. `read_only` are folders outside /usr that commands may read in the sandbox."""

    def __init__(self, *, isolation: str = "auto", read_only: tuple[Path, ...] = ()) -> None:
        self.isolation = choose_rung(isolation)
        self._read_only = read_only

    def run(self, command: Command) -> CommandResult:
        argv = wrap(command, self.isolation, read_only=self._read_only)
        started = time.monotonic()
        try:
            process = subprocess.Popen(
                argv,
                cwd=command.cwd,
                env=_MINIMAL_ENVIRONMENT | command.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise InfrastructureError(f"could not start {argv[0]} in {command.cwd}: {error}") from error
        with process:
            drain = _drain(process, command.limits, deadline=started + command.limits.wall_s)
        return CommandResult(
            returncode=_signed(process.returncode),
            stdout=drain.stdout.decode(errors="replace"),
            stderr=drain.stderr.decode(errors="replace"),
            duration_s=time.monotonic() - started,
            is_timed_out=drain.is_timed_out,
            is_output_truncated=drain.is_truncated,
        )


def _signed(returncode: int) -> int:
    """bubblewrap, and tools that work through a shell, report a signal n of their child as the exit code 128 + n."""
    return 128 - returncode if 128 < returncode < 128 + signal.NSIG else returncode


@dataclass(kw_only=True, slots=True)
class _Drain:
    """What was read so far."""

    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    is_timed_out: bool = False
    is_truncated: bool = False

    def take(self, sink: bytearray, chunk: bytes, output_bytes: int) -> None:
        room = output_bytes - len(self.stdout) - len(self.stderr)
        self.is_truncated = self.is_truncated or len(chunk) > room
        sink += chunk[: max(room, 0)]


def _drain(process: subprocess.Popen, limits: Limits, *, deadline: float) -> _Drain:
    """Read both pipes until the process ends or passes a limit, then end its group and read what is left."""
    drain = _Drain()
    process_fd = os.pidfd_open(process.pid)
    with selectors.DefaultSelector() as selector:
        try:
            selector.register(process_fd, selectors.EVENT_READ)
            selector.register(process.stdout, selectors.EVENT_READ, drain.stdout)
            selector.register(process.stderr, selectors.EVENT_READ, drain.stderr)
            is_running = True
            while is_running and not drain.is_timed_out and not drain.is_truncated:
                ready = selector.select(timeout=max(deadline - time.monotonic(), 0.0))
                drain.is_timed_out = not ready and time.monotonic() >= deadline
                for key, _ in ready:
                    if key.fd == process_fd:
                        is_running = False
                    else:
                        _read(selector, key, drain, limits.output_bytes)
        finally:
            # The leader is not reaped before this, so the group's number cannot belong to anyone else.
            os.killpg(process.pid, signal.SIGKILL)
            os.close(process_fd)
    for pipe, sink in ((process.stdout, drain.stdout), (process.stderr, drain.stderr)):
        while chunk := pipe.read1(_CHUNK_BYTES):
            drain.take(sink, chunk, limits.output_bytes)
    return drain


def _read(selector: selectors.BaseSelector, key: selectors.SelectorKey, drain: _Drain, output_bytes: int) -> None:
    chunk = os.read(key.fd, _CHUNK_BYTES)
    if chunk:
        drain.take(key.data, chunk, output_bytes)
    else:
        selector.unregister(key.fileobj)
