"""One judging process: `python -m verifiers.worker ISOLATION SCRATCH` reads jobs from a socket on its standard input.

A job and its answer are one line of JSON each. The process has limits of its own, since pyslang is native code over
hostile text. Nothing is caught here: what the process cannot survive, the farm sees as its death. Never imports torch.
"""

import resource
import signal
import socket
import sys
from pathlib import Path

from verifiers.judgement import JOB, JUDGEMENT, Job, Judgement
from verifiers.verify import Verifier

MEMORY_BYTES = 2 << 30
STATIC_CPU_S = 20.0  # of this process for one job; the simulators that it starts have limits of their own


def judge_job(verifier: Verifier, job: Job) -> Judgement:
    """The answer to a job."""
    if job.completion_text is None:
        return Judgement(candidate=None, verdict=verifier.verify_golden(job.problem, job.seeds))
    return verifier.judge(job.problem, job.completion_text, job.seeds)


def main() -> None:
    """Serve jobs until the other end closes the socket."""
    isolation, scratch = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    verifier = Verifier(isolation=isolation, scratch=Path(scratch))
    with socket.socket(fileno=sys.stdin.fileno()) as connection, connection.makefile("rwb") as lines:
        for line in lines:
            job = JOB.validate_json(line)
            # SIGPROF ends the process by default: native code that loops cannot hold on to the worker.
            signal.setitimer(signal.ITIMER_PROF, STATIC_CPU_S)
            answer = JUDGEMENT.dump_json(judge_job(verifier, job))
            signal.setitimer(signal.ITIMER_PROF, 0.0)
            lines.write(answer + b"\n")
            lines.flush()


if __name__ == "__main__":
    main()
