"""A real server around a farm whose verdicts the test decides."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import uvicorn

from verifiers.connect import Judge
from verifiers.farm_stats import FarmStats
from verifiers.judgement import Judgement
from verifiers.service import ServiceSettings
from verifiers.service_server import make_server, open_listener, url_of
from verifiers.types import Outcome, Port, Problem, Protocol, ReferenceOracle, Stage, Verdict

GOLDEN = "module TopModule(input [3:0] a, output y);\n  assign y = ^a;\nendmodule\n"
PARITY = Problem(
    problem_id="parity",
    source="test",
    prompt="",
    top_module="TopModule",
    ports=(Port(name="a", direction="input", width=4), Port(name="y", direction="output")),
    oracle=ReferenceOracle(golden=GOLDEN, golden_top="TopModule", protocol=Protocol()),
)


def judgement(outcome: Outcome, seed: int) -> Judgement:
    return Judgement(candidate=None, verdict=Verdict(outcome=outcome, stage=Stage.COMPARE, seed=seed, duration_s=0.25))


class SlowFarm:
    """Notes every job. Texts are outcomes ("passed"); those with "held" in them wait for `release`."""

    isolation = "rlimits"

    def __init__(self) -> None:
        self.jobs: list[tuple[Problem, str, tuple[int, ...]]] = []
        self.error: Exception | None = None  # what every job ends in, when set
        self._held: list[Callable[[], None]] = []

    def submit(self, problem: Problem, text: str, seeds: tuple[int, ...]) -> "Future[Judgement]":
        self.jobs.append((problem, text, seeds))
        future: Future[Judgement] = Future()

        def settle() -> None:
            if self.error is not None:
                future.set_exception(self.error)
            else:
                future.set_result(judgement(Outcome(text.removeprefix("held ")), seeds[0]))

        if "held" in text:
            self._held.append(settle)
        else:
            settle()
        return future

    def stats(self) -> FarmStats:
        return FarmStats(
            num_workers=1, num_queued=0, num_running=len(self._held), max_queued=9, num_submitted=len(self.jobs)
        )

    def release(self) -> None:
        held, self._held = self._held, []
        for settle in held:
            settle()


@contextmanager
def serving(judge: Judge, bind: str = "127.0.0.1:0", **settings: object) -> Iterator[str]:
    """The URL of a service of `judge`, which runs in a thread until the end of the block."""
    with open_listener(bind, has_token=True) as listener:
        server = make_server(judge, ServiceSettings(**settings))
        with running(server, listener):
            yield url_of(listener)


@contextmanager
def running(server: uvicorn.Server, listener) -> Iterator[None]:
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive(), "the server did not end"


def wait_for(is_true: Callable[[], bool], wall_s: float = 20.0) -> None:
    deadline = time.monotonic() + wall_s
    while not is_true():
        assert time.monotonic() < deadline, "nothing came of it"
        time.sleep(0.005)
