"""A rollout worker: claims tasks, takes the weights they ask for, samples, judges, and gives back the groups.

It has a model, an engine, a judge and a journal of verdicts of its own. It ends with its session, or when the process
that started it is gone.
"""

import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType

from earl.asynchronous import weights
from earl.asynchronous.spool import BEAT_EVERY_S, Spool
from earl.asynchronous.task import Failure, Finished, Task
from earl.config import Config
from earl.engine import make_engine
from earl.farm_wait import FarmLost, Patience
from earl.hooks import Hooks
from earl.journal import VerdictJournal
from earl.policy import Policy, load_trainable
from earl.rollout import RolloutJudge
from earl.rollout_source import Sampler
from earl.torch_setup import set_up_torch
from earl.verifier import open_judge
from toolchain.errors import DeadlineExceeded, EarlError, InfrastructureError, UsageError

POLL_S = 0.02
_IDLE_S = 3600.0  # an update takes less
_LEAVE_S = 15.0  # from being told to end until being made to


def run_worker(spool: Spool, name: str, config: Config, run_folder: Path) -> None:
    """Work for a session until it ends.

    Raises:
        DeadlineExceeded: no task for an hour.
        EarlError: what sampling or judging raised.
    """
    share = max(1, config.verifier.num_workers // max(1, config.rollout.num_workers))
    policy = load_trainable(config.model.path, config)
    journal = VerdictJournal(run_folder / f"verdicts-{name}.jsonl")
    engine = make_engine(policy, config.sampling, dtype=config.model.dtype)

    def tell(line: str) -> None:
        print(f"rollout worker {name}: {line}", file=sys.stderr, flush=True)

    with open_judge(config.verifier, num_workers=share) as farm:
        patience = Patience(limit_s=config.verifier.wait_s, hooks=Hooks(warn=tell))
        sampler = Sampler(engine, RolloutJudge(farm, journal, config.reward, config.run.seed, patience), config)
        try:
            _work(spool, name, policy, sampler, lambda: journal.read_others(run_folder))
        except (FileNotFoundError, InfrastructureError):
            if spool.is_open:  # else the session ended under our hands, which is how it ends
                raise
        finally:
            spool.release(name)
            journal.close()


def _work(spool: Spool, name: str, policy: Policy, sampler: Sampler, look_around: Callable[[], None]) -> None:
    version, idle_since = None, time.monotonic()
    while spool.is_open:
        task = spool.claim(name)
        if task is None:
            if time.monotonic() - idle_since > _IDLE_S:
                raise DeadlineExceeded(f"waited {_IDLE_S:.0f} s for a task in {spool.folder}; does the trainer run?")
            time.sleep(POLL_S)
            continue
        waited_s = time.monotonic() - idle_since
        look_around()  # the task may have been begun by a worker that died: what it has judged is known
        wanted = weights.versions(spool.weights)[-1] if task.version is None else task.version
        if wanted != version:
            weights.load(policy.model, weights.read(spool.weights, wanted))
            sampler.update_weights(wanted)
            version = wanted
        with _beating(spool, task, name):
            sampled = sampler(task.draw)
        finished = Finished(
            worker=name,
            policy_version=version,
            rollouts=tuple(map(tuple, sampled.rollouts)),
            sample_s=sampled.sample_s,
            judge_s=sampled.judge_s,
            wait_s=waited_s,
        )
        spool.finish(task, finished)
        idle_since = time.monotonic()


@contextmanager
def _beating(spool: Spool, task: Task, name: str) -> Iterator[None]:
    """Touch the claim from time to time while the block runs."""
    is_over = threading.Event()

    def beat() -> None:
        while not is_over.wait(BEAT_EVERY_S):
            spool.beat(task, name)

    thread = threading.Thread(target=beat, name="beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def local_main(folder: Path, name: str, config: Config, run_folder: Path) -> None:
    """The body of a process that a trainer started."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the trainer, which ends us when it has checkpointed
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_follow_parent, name="parent", daemon=True).start()
    set_up_torch(config.run.num_threads, config.model.ops)
    spool = Spool(folder)
    try:
        run_worker(spool, name, config, run_folder)
    except Exception as error:  # the boundary of the process: the trainer tells what it died of
        if spool.is_open:
            spool.fail(name, failure_of(error))
        if isinstance(error, EarlError):  # it says all there is to say
            raise SystemExit(error.exit_code) from None
        raise


def failure_of(error: Exception) -> Failure:
    """What is left of an error for the trainer."""
    if not isinstance(error, EarlError):
        return Failure(message=f"{type(error).__name__}: {error}", kind="death")
    kind = "usage" if isinstance(error, UsageError) else "judge" if isinstance(error, FarmLost) else "death"
    return Failure(message=str(error), kind=kind)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # through every `with`, so that the farm's processes and scratch folders go too


def _follow_parent() -> None:
    """End this process when the trainer is gone, however it went."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a local worker is started by multiprocessing"
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_LEAVE_S)
    os.kill(os.getpid(), signal.SIGKILL)


def join_session(run_folder: Path, config: Config, *, wall_s: float = 600.0) -> None:
    """Work for whoever trains in a run folder, from any machine. InfrastructureError when nobody does in `wall_s`."""
    signal.signal(signal.SIGTERM, _leave)
    deadline = time.monotonic() + wall_s
    while (spool := Spool.newest(run_folder / "rollouts")) is None:
        if time.monotonic() > deadline:
            raise InfrastructureError(
                f"no trainer with rollout workers in {run_folder} within {wall_s:.0f} s; start it first:"
                " earl train CONFIG rollout.max_staleness=1 rollout.num_workers=1"
            )
        time.sleep(POLL_S)
    run_worker(spool, f"{socket.gethostname()}-{os.getpid()}", config, run_folder)
