"""The outer end of a long-lived sandbox: starts `toolchain.sandbox_server` under bubblewrap and hands it jobs.

One job at a time. What comes back is data of our own process inside the sandbox, but a hostile program may have broken
that: it is read as JSON with sizes, never unpickled, and bounded. Does not choose rungs: that is `toolchain.sandbox`.
"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path

from toolchain.command import CommandResult, FolderJob, FolderResult, Step
from toolchain.errors import InfrastructureError
from toolchain.sandbox import MINIMAL_ENVIRONMENT, server_argv
from toolchain.seccomp import filter_bytes

_FRAME = struct.Struct(">QQ")
_START_WALL_S = 20.0
_SLACK_WALL_S = 15.0  # over the sum of the steps' own limits
_UNPRIVILEGED_ID = 65534  # what root becomes inside: nobody
_FOLDER_BYTES = 256 << 20  # of a job's folder, a tmpfs
_HEADER_BYTES = 1 << 20


class SandboxProcess:
    """A running sandbox. For one thread at a time. Raises InfrastructureError when it cannot be set up here.

    Some systems let bubblewrap make a namespace, but nothing inside it another.
    """

    def __init__(self, *, read_only: tuple[Path, ...] = ()) -> None:
        python = Path(sys.executable).resolve()
        prefix = Path(sys.base_prefix).resolve()
        visible = (Path("/usr"), *read_only)
        hidden = (
            () if any(prefix.is_relative_to(path) or path.is_relative_to(prefix) for path in visible) else (prefix,)
        )
        settings = {
            "uid": _UNPRIVILEGED_ID,
            "hidden": [str(path) for path in hidden],
            "filter": filter_bytes().hex(),
            "folder_bytes": _FOLDER_BYTES,
        }
        source = resources.files("toolchain").joinpath("sandbox_server.py").read_text()
        argv = [
            *server_argv(read_only=(*read_only, prefix)),
            *(str(python), "-I", "-S", "-c", source, json.dumps(settings)),
        ]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed in kill)
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                argv, env=MINIMAL_ENVIRONMENT, stdin=theirs, stdout=self._log, stderr=self._log, start_new_session=True
            )
        greeting, _ = self._receive(time.monotonic() + _START_WALL_S)
        if greeting["problem"]:
            self.kill()
            raise InfrastructureError(f"a long-lived sandbox cannot be set up here: {greeting['problem']}.")

    def run(self, job: FolderJob) -> FolderResult:
        """Run a job in a fresh folder that is gone afterwards. Raises InfrastructureError: the sandbox is dead then."""
        files = [(name, text.encode(errors="replace")) for name, text in job.files.items()]
        header = {
            "files": [(name, len(data)) for name, data in files],
            "steps": [_to_wire(step) for step in job.steps],
            "collects": job.collects,
        }
        if not self.is_alive:
            raise InfrastructureError("a job was given to a sandbox that has ended; start another one.")
        deadline = time.monotonic() + sum(step.limits.wall_s for step in job.steps) + _SLACK_WALL_S
        text = json.dumps(header).encode()
        body = b"".join(data for _, data in files)
        try:
            self._socket.settimeout(_SLACK_WALL_S)
            self._socket.sendall(_FRAME.pack(len(text), len(body)) + text + body)
        except OSError as error:
            raise self._lost("would not take a job") from error
        bound = sum(step.limits.output_bytes for step in job.steps) + (len(job.collects) + 1) * _FOLDER_BYTES
        answer, data = self._receive(deadline, bound)
        try:
            return _from_wire(answer, data)
        except (KeyError, TypeError, ValueError) as error:
            raise self._lost(f"gave an answer that is none ({error!r})") from error

    @property
    def is_alive(self) -> bool:
        """Whether it can take another job."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End the sandbox and all that runs in it by SIGKILL. Idempotent."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._socket.close()
        self._log.close()

    def _receive(self, deadline: float, bound: int = _HEADER_BYTES) -> tuple[dict, bytes]:
        try:
            header_size, body_size = _FRAME.unpack(self._read(_FRAME.size, deadline))
            if header_size > _HEADER_BYTES or body_size > bound:
                raise self._lost(f"announced an answer of {header_size} + {body_size} bytes, which is too much")
            data = self._read(header_size + body_size, deadline)
            return json.loads(data[:header_size]), data[header_size:]
        except TimeoutError as error:
            raise self._lost("gave no answer before its deadline") from error
        except (OSError, ValueError) as error:
            raise self._lost(f"ended or gave an answer that is none ({error})") from error

    def _read(self, size: int, deadline: float) -> bytes:
        data = bytearray(size)
        view, position = memoryview(data), 0
        while position < size:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            got = self._socket.recv_into(view[position:])
            if got == 0:
                raise ConnectionError("the socket was closed")
            position += got
        return bytes(data)

    def _lost(self, how: str) -> InfrastructureError:
        self._log.seek(0)
        said = self._log.read()[-400:].decode(errors="replace").strip()
        self.kill()
        return InfrastructureError(
            f"the sandbox {how}: {said or 'it said nothing'}. A new one is started for the next job."
        )


def _to_wire(step: Step) -> dict:
    limits = step.limits
    return {
        "argv": step.argv,
        "env": MINIMAL_ENVIRONMENT | step.env,
        "wall_s": limits.wall_s,
        "cpu_s": limits.cpu_s,
        "memory_bytes": limits.memory_bytes,
        "output_bytes": limits.output_bytes,
        "file_bytes": limits.file_bytes,
        "processes": limits.processes,
    }


def _from_wire(answer: dict, data: bytes) -> FolderResult:
    position = 0

    def take(size: int) -> str:
        nonlocal position
        position += size
        return data[position - size : position].decode(errors="replace")

    results = tuple(
        CommandResult(
            returncode=result["returncode"],
            stdout=take(result["stdout"]),
            stderr=take(result["stderr"]),
            duration_s=result["duration_s"],
            is_timed_out=result["is_timed_out"],
            is_output_truncated=result["is_output_truncated"],
        )
        for result in answer["results"]
    )
    return FolderResult(results=results, outputs={name: take(size) for name, size in answer["outputs"]})
