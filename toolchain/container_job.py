"""The inner end of `toolchain.container_executor`: the first process of a container, `python -I -S -c` of this module.

Reads one job as JSON on standard input, runs its steps under rlimits and the system-call filter, writes the results as
JSON on standard output, and ends: with it the runtime ends whatever is left. Standard library and `toolchain` only.
"""

import ctypes
import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from toolchain.command import FolderJob, Limits, Step
from toolchain.executor import LocalExecutor
from toolchain.seccomp import filter_bytes, install

_PR_SET_DUMPABLE = 4


def read_job(text: str) -> FolderJob:
    """The job of `dataclasses.asdict` and JSON."""
    document = json.loads(text)
    steps = (Step(argv=tuple(s["argv"]), limits=Limits(**s["limits"]), env=s["env"]) for s in document["steps"])
    return FolderJob(files=document["files"], steps=tuple(steps), collects=tuple(document["collects"]))


def main() -> None:
    """Run the job of standard input."""
    job = read_job(sys.stdin.read())
    # As the first process it gets only signals that it has asked for. And no other of its user may open its files.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0))
    install(filter_bytes())
    result = LocalExecutor(isolation="rlimits", scratch=Path("/tmp")).run_job(job)
    json.dump(asdict(result), sys.stdout)


if __name__ == "__main__":
    main()
