"""One process that checks goldens: `python -m verifiers.gate_worker SETTINGS SCRATCH` reads problems from a socket.

The question is a problem and a seed, the answer a `GoldenCheck`, each one line of JSON. Built as `verifiers.worker` is,
and for the same reason: native code reads text that may end the process. Never imports torch.
"""

import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from verifiers.golden_check import GoldenCheck, check_golden
from verifiers.judgement import WORKER_SETTINGS
from verifiers.types import Problem
from verifiers.verify import Verifier
from verifiers.worker import arm, guard, watch_the_farm
from verifiers.worker_process import READY

_CPU_SHARES = 10  # of this process for one problem, in a worker's shares for one completion: a check parses ~100 texts


@dataclass(frozen=True, kw_only=True, slots=True)
class GateJob:
    """A problem whose golden is to be checked with seeds drawn from `seed`."""

    problem: Problem
    seed: int
    num_mutants: int


GATE_JOB = TypeAdapter(GateJob)
GOLDEN_CHECK = TypeAdapter(GoldenCheck)


def main() -> None:
    """Serve until the other end closes the socket."""
    guard()
    settings, scratch = WORKER_SETTINGS.validate_json(sys.argv[1]), Path(sys.argv[2])
    with socket.socket(fileno=sys.stdin.fileno()) as connection, connection.makefile("rwb") as lines:
        watch = watch_the_farm(connection, scratch)
        verifier = Verifier(isolation=settings.isolation, scratch=scratch)
        lines.write(READY)
        lines.flush()
        for line in lines:
            job = GATE_JOB.validate_json(line)
            arm(_CPU_SHARES)
            check = check_golden(job.problem, verifier, seed=job.seed, num_mutants=job.num_mutants)
            answer = GOLDEN_CHECK.dump_json(check)
            arm(0)
            lines.write(answer + b"\n")
            lines.flush()
        watch.leave(0)


if __name__ == "__main__":
    main()
