"""One judging process: `python -m verifiers.worker SETTINGS SCRATCH` reads group jobs from a socket on standard input.

A job and its reply are one line of JSON each. The process has limits of its own, since pyslang is native code over
hostile text. Nothing is caught here: what the process cannot survive, the farm sees as its death. When the farm dies,
so does the worker, with its simulators and its scratch folder. Never imports torch.
"""

import os
import resource
import select
import shutil
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from verifiers.cache import DiskCache
from verifiers.group_judge import GroupJudge
from verifiers.judgement import GROUP_JOB, REPLY, WORKER_SETTINGS
from verifiers.verify import Verifier
from verifiers.worker_process import READY, kill_children

MEMORY_BYTES = 2 << 30
_MOST_SWEEPS = 20  # of the scratch folder, while another thread may write into it
STATIC_CPU_S = 20.0  # of this process for one completion; the simulators that it starts have limits of their own


def guard() -> None:
    """Bound this process for good: its memory, and no core files."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def arm(num_completions: int) -> None:
    """Let this process end by SIGPROF when it uses more CPU time than so many completions may; 0 disarms.

    The signal's default action needs no Python code to run: native code that loops cannot hold on to the worker.
    """
    signal.setitimer(signal.ITIMER_PROF, STATIC_CPU_S * num_completions)


class FarmWatch(threading.Thread):
    """Waits for the other end of the socket to close, then ends this process with all that it started and left."""

    def __init__(self, connection: socket.socket, scratch: Path) -> None:
        super().__init__(name="watch", daemon=True)
        self._connection, self._scratch = connection.dup(), scratch  # an error closes the main thread's own

    def run(self) -> None:
        self._is_gone(None)
        # The main thread works on until the process ends: without the folder it can start and write no more.
        for _ in range(_MOST_SWEEPS):
            kill_children(os.getpid())
            shutil.rmtree(self._scratch, ignore_errors=True)
            if not self._scratch.exists():
                break
        kill_children(os.getpid())
        os._exit(0)

    def leave(self, code: int) -> NoReturn:
        """End this process. When the farm is gone, the watch does it, so that nothing is left."""
        if self._is_gone(0):
            self.join()
        os._exit(code)

    def _is_gone(self, timeout_ms: int | None) -> bool:
        poll = select.poll()
        poll.register(self._connection, select.POLLRDHUP)
        return bool(poll.poll(timeout_ms))


def watch_the_farm(connection: socket.socket, scratch: Path) -> FarmWatch:
    """A running watch, which is also how this process ends of an error.

    An orderly exit would bury the traceback under pyslang's report of leaked objects.
    """
    watch = FarmWatch(connection, scratch)

    def die_of(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        traceback.print_exception(kind, error, trace)
        sys.stderr.flush()
        watch.leave(1)

    sys.excepthook = die_of
    watch.start()
    return watch


def main() -> None:
    """Serve jobs until the other end closes the socket."""
    guard()
    settings, scratch = WORKER_SETTINGS.validate_json(sys.argv[1]), Path(sys.argv[2])
    with socket.socket(fileno=sys.stdin.fileno()) as connection, connection.makefile("rwb") as lines:
        watch = watch_the_farm(connection, scratch)
        cache = DiskCache(Path(settings.cache)) if settings.cache else None
        verifier = Verifier(isolation=settings.isolation, scratch=scratch, cache=cache)
        judge = GroupJudge(verifier, cache, audit_fraction=settings.audit_fraction)
        lines.write(READY)
        lines.flush()
        for line in lines:
            job = GROUP_JOB.validate_json(line)
            arm(max(1, len(job.completion_texts)))
            reply = REPLY.dump_json(judge.answer(job))
            arm(0)
            lines.write(reply + b"\n")
            lines.flush()
        watch.leave(0)


if __name__ == "__main__":
    main()
