"""The parent's end of the proving process: start it in the sandbox, ask it, kill it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from toolchain.command import Command, Limits
from toolchain.errors import InfrastructureError
from toolchain.sandbox import wrap
from toolchain.yosys import find_pyosys
from verifiers.formal_job import JOB, FormalJob, SynthesisJob

Answer = TypeVar("Answer")

_LIMITS = Limits(cpu_s=1 << 30, memory_bytes=6 << 30, processes=256)  # of the whole service; a job's are its own
_START_S = 60.0
_GRACE_S = 5.0  # past a job's deadline, by which the process must have ended it
_ANSWER_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 16
_JOBS_PER_PROCESS = 2000  # what native code leaks goes with the process
_LOG_SHOWN_BYTES = 400
_ROOT = Path(__file__).resolve().parents[1]  # where the packages are imported from


class PersistentProver:
    """A `ProverProcess` that is started when it is asked, and anew when it was lost or has served long enough."""

    def __init__(self, *, isolation: str, scratch: Path | None = None) -> None:
        self._isolation = isolation
        self._scratch = scratch
        self._process: ProverProcess | None = None

    def ask(self, job: FormalJob | SynthesisJob, answer_type: TypeAdapter[Answer]) -> Answer:
        """The answer to a job. Raises InfrastructureError when the process is lost."""
        if self._process is None or not self._process.is_usable:
            self.close()
            self._process = ProverProcess(isolation=self._isolation, scratch=self._scratch)
        return self._process.ask(job, answer_type)

    def close(self) -> None:
        """End the process. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()


class ProverProcess:
    """A running `verifiers.formal_worker`. For one thread at a time."""

    def __init__(self, *, isolation: str, scratch: Path | None = None) -> None:
        self._num_jobs = 0
        self._is_lost = False
        self._folder = Path(tempfile.mkdtemp(prefix="earl-formal-", dir=scratch))
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed in kill)
        environment = {"PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        argv = (sys.executable, "-m", "verifiers.formal_worker")
        command = Command(argv=argv, cwd=self._folder, env=environment, limits=_LIMITS)
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                wrap(command, isolation, read_only=_python_folders(), has_proc=True),
                env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", **environment},
                cwd=self._folder,
                stdin=theirs,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,
            )

    @property
    def is_usable(self) -> bool:
        """Whether it lives and has not served its number of jobs."""
        return not self._is_lost and self._num_jobs < _JOBS_PER_PROCESS

    def ask(self, job: FormalJob | SynthesisJob, answer_type: TypeAdapter[Answer]) -> Answer:
        """The answer to a job. Raises InfrastructureError when the process is lost: it is dead then."""
        start_s = _START_S if self._num_jobs == 0 else 0.0
        self._num_jobs += 1
        deadline = time.monotonic() + start_s + job.wall_s + _GRACE_S
        try:
            return answer_type.validate_json(self._exchange(JOB.dump_json(job), deadline))
        except (OSError, ValidationError) as error:
            said = self._log_end()
            self.kill()
            raise InfrastructureError(
                f"the proving process was lost ({type(error).__name__}: {error}): {said or 'it said nothing'}. "
                "Try again; if it repeats, run `earl doctor`."
            ) from error

    def kill(self) -> None:
        """End the process with all that it started, and remove its folder. Idempotent."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._is_lost = True
        self._socket.close()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _exchange(self, line: bytes, deadline: float) -> bytes:
        self._set_timeout(deadline)
        self._socket.sendall(line + b"\n")
        answer = bytearray()
        while not answer.endswith(b"\n"):
            self._set_timeout(deadline)
            chunk = self._socket.recv(_CHUNK_BYTES)
            if not chunk or len(answer) > _ANSWER_BYTES:
                raise ConnectionError("the process closed its socket, or its answer is too long")
            answer += chunk
        return bytes(answer)

    def _set_timeout(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer came within the deadline")
        self._socket.settimeout(left)

    def _log_end(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _LOG_SHOWN_BYTES))
        return self._log.read().decode(errors="replace").strip()


def _python_folders() -> tuple[Path, ...]:
    """What the process must read to run: the interpreter, its packages, and our two packages without the rest."""
    prefixes = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parents[1]}
    packages = {_ROOT / "toolchain", _ROOT / "verifiers", find_pyosys().folder}
    return tuple(sorted(prefixes | packages))
