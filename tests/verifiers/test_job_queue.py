"""The farm's queue: what is handed out together, whose turn it is, and what happens when it is full or closed."""

import threading
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.errors import DeadlineExceeded, InfrastructureError
from verifiers.job_queue import MAX_GROUP, JobQueue, Overloaded
from verifiers.judgement import Job
from verifiers.types import Problem, ReferenceOracle


def _problem(name: str) -> Problem:
    oracle = ReferenceOracle(golden="", golden_top="TopModule")
    return Problem(problem_id=name, source="test", prompt="", top_module="TopModule", ports=None, oracle=oracle)


def _job(name: str, text: str = "", seed: int = 1) -> Job:
    return Job(problem=_problem(name), completion_text=text, seeds=(seed,))


def _filled(*jobs: Job, max_jobs: int = 1000) -> JobQueue:
    queue = JobQueue(max_jobs=max_jobs)
    for job in jobs:
        queue.put(job, is_blocking=False, stall_s=1.0)
    return queue


def _names(jobs: tuple[Job, ...] | None) -> str:
    return "".join(job.problem.problem_id for job in jobs or ())


def test_jobs_of_one_problem_and_seed_are_handed_out_together_and_problems_take_turns():
    queue = _filled(_job("a"), _job("b"), _job("a", "x"), _job("a", "y", seed=2), _job("b", "x"))
    assert [_names(queue.take()) for _ in range(3)] == ["aa", "bb", "a"]
    assert len(queue) == 0


def test_a_group_has_at_most_eight_members_and_the_rest_waits_behind_the_other_problems():
    queue = _filled(*(_job("a", str(number)) for number in range(10)), _job("b"))
    assert [_names(queue.take()) for _ in range(3)] == ["a" * MAX_GROUP, "b", "aa"]


def test_takers_that_wait_share_a_burst():
    queue, taken = JobQueue(max_jobs=100), []
    waiting = [threading.Thread(target=lambda: taken.append(queue.take())) for _ in range(3)]
    for thread in waiting:
        thread.start()
    deadline = time.monotonic() + 10
    while queue._num_idle < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with queue._changed:  # so that all six are there when the first taker wakes
        for number in range(6):
            queue.put(_job("a", str(number)), is_blocking=False, stall_s=1.0)
    for thread in waiting:
        thread.join(timeout=10)
    assert sorted(len(jobs) for jobs in taken) == [2, 2, 2]


def test_a_full_queue_refuses_those_that_do_not_want_to_wait():
    queue = _filled(_job("a"), max_jobs=1)
    with pytest.raises(Overloaded, match="1 jobs wait already"):
        queue.put(_job("b"), is_blocking=False, stall_s=1.0)
    assert _names(queue.take()) == "a"
    queue.put(_job("b"), is_blocking=False, stall_s=1.0)


def test_a_full_queue_holds_its_callers_until_there_is_room():
    queue, order = _filled(_job("a"), max_jobs=1), []

    def put() -> None:
        queue.put(_job("b"), is_blocking=True, stall_s=10.0)
        order.append("put")

    thread = threading.Thread(target=put)
    thread.start()
    time.sleep(0.1)
    order.append("take")
    queue.take()
    thread.join(timeout=10)
    assert order == ["take", "put"]
    assert len(queue) == 1


def test_waiting_for_a_queue_that_does_not_move_has_an_end():
    queue = _filled(_job("a"), max_jobs=1)
    with pytest.raises(DeadlineExceeded, match=r"no worker took one for 0\.1 s"):
        queue.put(_job("b"), is_blocking=True, stall_s=0.1)


def test_closing_gives_back_what_waited_and_wakes_everyone():
    queue, outcomes = _filled(_job("a"), max_jobs=1), []

    def put() -> None:
        try:
            queue.put(_job("b"), is_blocking=True, stall_s=10.0)
        except InfrastructureError as error:
            outcomes.append(str(error))

    thread = threading.Thread(target=put)
    thread.start()
    time.sleep(0.1)
    assert _names(queue.close()) == "a"
    thread.join(timeout=10)
    assert "closed" in outcomes[0]
    assert queue.take() is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), max_size=60))
def test_every_job_is_handed_out_once_and_groups_are_of_one_kind(kinds):
    jobs = [_job(name, str(number), seed) for number, (name, seed) in enumerate(kinds)]
    queue, groups = _filled(*jobs), []
    while len(queue):
        groups.append(queue.take())
    assert Counter(job for group in groups for job in group) == Counter(jobs)
    assert all(len({(job.problem, job.seeds) for job in group}) == 1 <= len(group) <= MAX_GROUP for group in groups)
    for name, seed in set(kinds):  # in the order of their coming
        numbers = [
            int(j.completion_text) for g in groups for j in g if (j.problem, j.seeds) == (_problem(name), (seed,))
        ]
        assert numbers == sorted(numbers)
