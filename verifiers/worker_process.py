"""The parent's end of one worker process: start it, ask it, kill it with everything that it started."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from toolchain.scratch import Scratch
from verifiers.judgement import WORKER_SETTINGS, WorkerSettings

READY = b"ready\n"  # a worker's first line
_ANSWER_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 16
_LOG_SHOWN_BYTES = 400
_PASSED_ON = (
    *("PATH", "EARL_IVERILOG", "EARL_VVP", "EARL_BWRAP", "EARL_PRLIMIT", "EARL_CONTAINER_ENGINE"),
    *("EARL_VERILATOR", "EARL_CXX", "XDG_CACHE_HOME"),
    *("EARL_CONTAINER_IMAGE", "HOME", "XDG_RUNTIME_DIR", "DOCKER_HOST", "STORAGE_DRIVER"),  # of container engines
)
_ROOT = Path(__file__).resolve().parents[1]  # where the packages are imported from


def kill_children(pid: int) -> None:
    """End by SIGKILL what a process has started, each with its group: commands have sessions of their own."""
    with suppress(FileNotFoundError, ProcessLookupError):  # the process itself, or a thread of it, has ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in task.joinpath("children").read_text().split():
                with suppress(ProcessLookupError):
                    os.killpg(int(child), signal.SIGKILL)


class WorkerLost(Exception):
    """The worker died, or passed the deadline and was killed. The message says which, with the end of its log."""


class WorkerProcess:
    """A running `verifiers.worker`, its socket, its log and its scratch folder. For one thread at a time.

    `module` is another program with the same arguments, one line in and one line out.
    """

    def __init__(self, settings: WorkerSettings, *, module: str = "verifiers.worker") -> None:
        self._scratch = Scratch("worker")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed in kill)
        self._socket, theirs = socket.socketpair()
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment |= {"PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
        argv = [sys.executable, "-m", module, WORKER_SETTINGS.dump_json(settings), str(self._scratch.path)]
        try:
            with theirs:
                self._process = subprocess.Popen(
                    argv,
                    env=environment | {"TMPDIR": str(self._scratch.path)},
                    cwd=self._scratch.path,
                    stdin=theirs,
                    stdout=self._log,
                    stderr=self._log,
                    start_new_session=True,
                )
        except OSError:
            self._clean_up()
            raise

    @property
    def pid(self) -> int:
        """The process id of the worker."""
        return self._process.pid

    def await_ready(self, *, wall_s: float) -> None:
        """Wait for a new worker to say that it can judge. Raises WorkerLost: it is dead then."""
        said = self._exchange(b"", wall_s)
        assert said == READY, f"a new worker said {said[:80]!r}"

    def ask(self, line: bytes, *, wall_s: float) -> bytes:
        """Send one line, return the one that comes back within `wall_s`. Raises WorkerLost: it is dead then."""
        return self._exchange(line + b"\n", wall_s)

    def interrupt(self) -> None:
        """End the worker and every process that it started by SIGKILL. Safe while another thread is in `ask`."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGSTOP)  # stopped, it starts no more of them while they are listed
            kill_children(self.pid)
        self._process.kill()

    def kill(self) -> None:
        """As `interrupt`, and remove what the worker leaves behind. Idempotent."""
        self.interrupt()
        self._process.wait()
        self._clean_up()

    def _clean_up(self) -> None:
        self._socket.close()
        self._log.close()
        self._scratch.remove()

    def _exchange(self, data: bytes, wall_s: float) -> bytes:
        deadline = time.monotonic() + wall_s
        try:
            self._set_timeout(deadline)
            self._socket.sendall(data)
            return self._receive_line(deadline)
        except TimeoutError as error:
            self.kill()
            raise WorkerLost(f"the worker gave no answer within {wall_s:g} s and was killed") from error
        except OSError as error:
            self._process.wait()
            how = f"the worker died (exit code {self._process.returncode}): {self._log_end()}"
            self.kill()
            raise WorkerLost(how) from error

    def _receive_line(self, deadline: float) -> bytes:
        answer = bytearray()
        while not answer.endswith(b"\n"):
            self._set_timeout(deadline)
            chunk = self._socket.recv(_CHUNK_BYTES)
            if not chunk or len(answer) > _ANSWER_BYTES:
                self._process.kill()
                raise ConnectionError("the worker closed its socket, or its answer is too long")
            answer += chunk
        return bytes(answer)

    def _set_timeout(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)

    def _log_end(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _LOG_SHOWN_BYTES))
        return self._log.read().decode(errors="replace").strip()
