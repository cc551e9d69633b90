"""The processes that `kill_runs` kills: a trainer, forked, and the judges that it and its rollout workers use.

Importing it changes `earl` for good, in the fork server that rollout workers come from too: these judges are opened,
and what a journal spares is noted.
"""

import os
import select
import sys
import time
import traceback
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import forkserver
from pathlib import Path

from serving import PARITY
from trainer_runs import OUTCOMES, PROBLEMS

from earl import checkpoint, step
from earl import train as training
from earl.asynchronous import worker
from earl.asynchronous.rollouts import WorkerRollouts
from earl.config import Config, VerifierConfig
from earl.engine.decode import DecodeEngine
from earl.journal import JournaledJudge, judgement_key
from earl.metrics import MetricsLog
from earl.rollout import RolloutJudge
from earl.run_folder import RunFolder
from toolchain.diagnostics import Diagnostic
from verifiers.connect import Judge
from verifiers.farm import Farm
from verifiers.farm_stats import FarmStats, Tally
from verifiers.judgement import Judgement
from verifiers.types import Candidate, OutputScore, Problem, Stage, Verdict

NOTES = "judged.log"  # in a run's parent folder, where its processes work
RUN = Path("runs", "run")
WAIT_S = 300.0  # for anything that a child does; it takes well under a second
FAKE_ADDRESS = "http://fake.invalid"
REAL_PROBLEMS = [
    Problem(
        problem_id=problem.problem_id,
        source="test",
        prompt=problem.prompt,
        top_module=PARITY.top_module,
        ports=PARITY.ports,
        oracle=PARITY.oracle,
    )
    for problem in PROBLEMS
]
_DESIGNS = ("assign y = ^a;", "assign y = &a;", "assign y = ;")


def checksum(text: str, seeds: tuple[int, ...]) -> int:
    return zlib.crc32(f"{text}:{seeds}".encode("utf-8", "surrogatepass"))


def note(kind: str, key: str) -> None:
    """Append a line that later processes can read, whatever becomes of this one."""
    with open(NOTES, "a", encoding="utf-8") as file:
        file.write(f"{kind} {key}\n")


class SlowFarm:
    """A judge whose verdicts come a little later, from other threads, and depend on text and seeds alone.

    It can give no time-out. What it must judge is noted.
    """

    isolation = "rlimits"

    def __init__(self) -> None:
        self._tally = Tally()
        self._pool = ThreadPoolExecutor(2)

    def __enter__(self) -> "SlowFarm":
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown()

    def submit(self, problem: Problem, text: str, seeds: tuple[int, ...]) -> "Future[Judgement]":
        if len(seeds) == 1:  # a rollout; passes that are judged again have the evaluation seeds
            note("judged", judgement_key(problem, text, seeds))
        return self._pool.submit(self._judge, problem, text, seeds)

    def stats(self) -> FarmStats:
        return self._tally.fill_in(FarmStats(num_workers=2, num_queued=0, num_running=0, max_queued=1))

    def _judge(self, problem: Problem, text: str, seeds: tuple[int, ...]) -> Judgement:
        number = checksum(text, seeds)
        time.sleep(number % 5 / 1000)
        output = OutputScore(name="y", num_samples=10, num_mismatches=number % 10, constant_fraction=0.1)
        verdict = Verdict(
            outcome=OUTCOMES[number % 3],
            stage=Stage.COMPARE,
            seed=seeds[0],
            outputs=(output,),
            diagnostics=(Diagnostic(message=f"found {text!r:.20}", code="test"),),
            suspect_lines=(1,),
            duration_s=time.perf_counter() % 1,
        )
        self._tally.judged(problem.problem_id, verdict)
        return Judgement(candidate=Candidate(text=text), verdict=verdict)


class DesignFarm(Farm):
    """The real farm. What an untrained policy writes would not reach a simulator: a design of ours is judged for it."""

    def submit(self, problem: Problem, completion_text: str, seeds: tuple[int, ...], **options) -> "Future[Judgement]":
        """See `Farm.submit`."""
        if len(seeds) == 1:
            note("judged", judgement_key(problem, completion_text, seeds))
        number = checksum(completion_text, seeds)
        body = f"{_DESIGNS[number % 3]} // {number}"
        design = f"module TopModule(input [3:0] a, output y);\n  {body}\nendmodule\n"
        return super().submit(problem, design, seeds, **options)


def open_judge(config: VerifierConfig, **_: object) -> SlowFarm | DesignFarm:
    """What stands in for `earl.verifier.open_judge`."""
    return SlowFarm() if config.address == FAKE_ADDRESS else DesignFarm(num_workers=1, isolation=config.isolation)


worker.open_judge = open_judge


class Child:
    """A training process, forked. It tells of each phase that it enters, with the moment."""

    def __init__(self, folder: Path, config: Config) -> None:
        self._read, write = os.pipe()
        self.seen: list[tuple[str, float]] = []
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _in_child(folder, config, write)
        os.close(write)
        self._rest = b""

    def wait_for(self, phase: str, number: int) -> bool:
        """True when the `number`-th such phase has begun, False when the process has ended before."""
        while sum(name == phase for name, _ in self.seen) < number:
            if not self._hear(WAIT_S):
                return False
        return True

    def _hear(self, timeout_s: float) -> bool:
        ready, _, _ = select.select([self._read], [], [], timeout_s)
        if not ready:
            raise TimeoutError(f"process {self.pid} said nothing for {timeout_s:g} s; the last: {self.seen[-3:]}")
        data = os.read(self._read, 4096)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.seen += [(name, float(moment)) for name, moment in (line.decode().split() for line in lines)]
        return bool(data)

    def end(self) -> int:
        """Wait for the end. The exit code; minus the signal for a process that was killed."""
        while self._hear(WAIT_S):
            pass
        os.close(self._read)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _in_child(folder: Path, config: Config, write: int) -> None:
    """Train or resume in `folder`, and end this process."""
    code = 1
    try:
        os.chdir(folder)
        forkserver._forkserver.ensure_running = lambda: None  # it is our parent's, and runs
        _tell_phases(lambda name: os.write(write, f"{name} {time.monotonic()}\n".encode()))
        is_resumed = RUN.exists()
        run = RunFolder.open(RUN) if is_resumed else RunFolder.create(config, default_name="x")
        problems = PROBLEMS if config.verifier.address == FAKE_ADDRESS else REAL_PROBLEMS
        with open_judge(config.verifier) as farm:
            training.train(config, run, problems, farm, is_resumed=is_resumed)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _tell_phases(tell: Callable[[str], None]) -> None:
    for owner, name, phase in (
        (training, "identity_of", "resume"),
        (DecodeEngine, "generate", "sample"),
        (RolloutJudge, "__call__", "judge"),
        (WorkerRollouts, "first", "wait"),
        (step, "_update", "train"),
        (MetricsLog, "write", "log"),
        (checkpoint, "save", "checkpoint"),
    ):
        setattr(owner, name, _told(getattr(owner, name), phase, tell))


def _told(function: Callable, phase: str, tell: Callable[[str], None]) -> Callable:
    def telling(*arguments, **options):
        tell(phase)
        return function(*arguments, **options)

    return telling


def _note_what_is_reused() -> None:
    submit = JournaledJudge.submit

    def noting(judge: Judge, problem: Problem, text: str, seeds: tuple[int, ...]) -> "Future[Judgement]":
        before = judge.num_reused
        future = submit(judge, problem, text, seeds)
        if judge.num_reused > before:
            note("reused", judgement_key(problem, text, seeds))
        return future

    JournaledJudge.submit = noting


_note_what_is_reused()
