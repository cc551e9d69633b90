"""What a farm has taken on: equal jobs are one, and each future is settled once."""

import threading
from collections import Counter

import pytest

from toolchain.errors import DeadlineExceeded, InfrastructureError, UsageError
from verifiers.farm_stats import FarmStats, Tally
from verifiers.job_queue import Overloaded
from verifiers.judgement import Judgement
from verifiers.pending_jobs import PendingJobs
from verifiers.types import Outcome, Problem, ReferenceOracle, Stage, Verdict


def _problem(name="p"):
    oracle = ReferenceOracle(golden="", golden_top="TopModule")
    return Problem(problem_id=name, source="test", prompt="", top_module="TopModule", ports=None, oracle=oracle)


def _judgement(seed=1):
    return Judgement(candidate=None, verdict=Verdict(outcome=Outcome.PASSED, stage=Stage.COMPARE, seed=seed))


@pytest.fixture
def tally():
    return Tally()


@pytest.fixture
def pending(tally):
    return PendingJobs(tally, max_queued=4, stall_s=0.05)


def _counts(tally):
    stats = tally.fill_in(FarmStats(num_workers=0, num_queued=0, num_running=0, max_queued=0))
    return stats.num_submitted, stats.num_shared, stats.num_failed


def test_equal_jobs_share_a_future_until_it_is_settled(pending, tally):
    first, second = (pending.submit(_problem(), "a", (1,), is_blocking=True) for _ in range(2))
    assert first is second
    assert (pending.num_queued, pending.num_unsettled) == (1, 1)
    [job] = pending.take()
    assert (pending.num_queued, pending.num_unsettled) == (0, 1)
    assert pending.submit(_problem(), "a", (1,), is_blocking=True) is first  # taken, not answered
    answer = _judgement()
    pending.settle(job, answer)
    assert first.result(0) is answer
    assert pending.num_unsettled == 0
    assert pending.submit(_problem(), "a", (1,), is_blocking=True) is not first
    assert _counts(tally) == (4, 2, 0)


@pytest.mark.parametrize(("text", "seeds"), [("b", (1,)), ("a", (2,))])
def test_other_texts_and_seeds_are_other_jobs(pending, text, seeds):
    first = pending.submit(_problem(), "a", (1,), is_blocking=True)
    assert pending.submit(_problem(), text, seeds, is_blocking=True) is not first


def test_half_a_surrogate_pair_becomes_a_question_mark(pending):
    pending.submit(_problem(), "a\ud800b", (1,), is_blocking=True)
    assert [job.completion_text for job in pending.take()] == ["a?b"]


def test_a_shared_future_cannot_be_cancelled(pending):
    assert not pending.submit(_problem(), "a", (1,), is_blocking=True).cancel()


def test_a_job_fails_once_and_only_without_an_answer(pending, tally):
    future = pending.submit(_problem(), "a", (1,), is_blocking=True)
    [job] = pending.take()
    error = InfrastructureError("lost")
    pending.fail(job, error)
    pending.fail(job, InfrastructureError("lost again"))
    assert future.exception(0) is error
    assert _counts(tally) == (1, 0, 1)
    with pytest.raises(KeyError):
        pending.settle(job, _judgement())  # a second answer is a bug of the farm's


@pytest.mark.parametrize(("is_blocking", "kind"), [(False, Overloaded), (True, DeadlineExceeded)])
def test_a_job_without_room_is_forgotten(pending, tally, is_blocking, kind):
    for text in "abcd":
        pending.submit(_problem(), text, (1,), is_blocking=True)
    with pytest.raises(kind):
        pending.submit(_problem(), "e", (1,), is_blocking=is_blocking)
    assert (pending.num_queued, pending.num_unsettled) == (4, 4)
    assert _counts(tally) == (5, 0, 1)


def test_closing_fails_those_that_wait_and_leaves_those_that_were_taken(pending):
    taken = pending.submit(_problem("p"), "a", (1,), is_blocking=True)
    [job] = pending.take()
    waits = pending.submit(_problem("q"), "a", (1,), is_blocking=True)
    pending.close()
    pending.close()
    assert pending.is_closed
    assert pending.take() is None
    assert isinstance(waits.exception(0), InfrastructureError)
    assert not taken.done()
    pending.settle(job, _judgement())
    assert taken.done()
    with pytest.raises(InfrastructureError, match="closed"):
        pending.submit(_problem(), "b", (1,), is_blocking=True)


def test_a_judgement_needs_a_seed(pending, tally):
    with pytest.raises(UsageError, match="at least one seed"):
        pending.submit(_problem(), "a", (), is_blocking=True)
    assert _counts(tally) == (0, 0, 0)


def test_many_threads_settle_each_job_once(tally):
    pending = PendingJobs(tally, max_queued=16, stall_s=30)
    taken = Counter()

    def serve():
        while (jobs := pending.take()) is not None:
            for job in jobs:
                taken[job.completion_text] += 1
                pending.settle(job, _judgement(seed=int(job.completion_text)))

    takers = [threading.Thread(target=serve) for _ in range(4)]
    for taker in takers:
        taker.start()
    futures = [pending.submit(_problem(str(n % 5)), str(n), (1,), is_blocking=True) for n in range(400)]
    assert [future.result(30).verdict.seed for future in futures] == list(range(400))
    pending.close()
    for taker in takers:
        taker.join()
    assert set(taken.values()) == {1}
    assert len(taken) == 400
