"""Gets answers from workers, and decides whose fault it is when none comes or a doubtful one does.

A job that its worker does not survive, that runs out of time or memory beside others or on a busy host, or that ends
as a tool error, is run again with all other workers at rest. A second death is the candidate's if the golden still runs
there, and ours otherwise. What a problem's own golden does is the problem's fault, and not tried again.
"""

import os
from collections.abc import Iterator
from dataclasses import replace

from toolchain.diagnostics import Diagnostic
from verifiers.errors import AUDIT_CODE, PROBLEM_FAULT
from verifiers.farm_stats import Tally
from verifiers.floor import Floor, Visit
from verifiers.judgement import Answer, GroupJob, Job, Judgement, Reply, Source
from verifiers.slot import NoWorker, Slot
from verifiers.types import Outcome, Stage, Verdict
from verifiers.worker_process import WorkerLost

_LOAD_OUTCOMES = (Outcome.TIMEOUT, Outcome.RESOURCE_LIMIT)  # beside others these may be the machine's doing


class Arbiter:
    """Shared by the threads of a farm. `wait_s` is how long one may wait for the others' workers to rest."""

    def __init__(self, *, isolation: str, tally: Tally, wait_s: float) -> None:
        self._isolation, self._tally, self._wait_s = isolation, tally, wait_s
        self._floor = Floor()

    def answers(self, slot: Slot, jobs: tuple[Job, ...]) -> Iterator[Answer]:
        """The answers to jobs of one problem and seeds, in order. Raises InfrastructureError when the farm closes."""
        self._tally.add("num_groups", int(len(jobs) > 1))
        try:
            with self._floor.shared(wait_s=self._wait_s) as visit:
                reply = self._ask(slot, _group_of(jobs))
        except WorkerLost as lost:
            for job in jobs:
                if len(jobs) > 1:
                    yield from self.answers(slot, (job,))
                else:
                    yield self._answer_alone(slot, job, [str(lost)])
        else:
            self._tally.add("num_cache_faults", reply.num_cache_faults)
            for job, answer in zip(jobs, reply.answers, strict=True):
                if _is_doubtful(answer, visit):
                    again = self._answer_alone(slot, job, [])
                    answer = replace(again, source=answer.source, stored=answer.stored) if answer.stored else again
                yield answer

    def _answer_alone(self, slot: Slot, job: Job, deaths: list[str]) -> Answer:
        """The answer to a job with all other workers at rest. `deaths` are those of the workers that it has cost."""
        self._tally.add("num_reruns_alone")
        with self._floor.alone(wait_s=self._wait_s):
            while len(deaths) < 2:
                try:
                    return self._ask(slot, _group_of((job,), is_fresh=True)).answers[0]
                except WorkerLost as lost:
                    deaths.append(str(lost))
            return self._blame(slot, job, f"{deaths[0]}; then, in a fresh worker: {deaths[1]}")

    def _blame(self, slot: Slot, job: Job, how: str) -> Answer:
        """The answer to a job that two workers did not survive: does the golden alone do better?"""
        outcome = Outcome.RESOURCE_LIMIT
        try:
            reply = self._ask(slot, GroupJob(problem=job.problem, completion_texts=(), seeds=job.seeds))
        except WorkerLost as lost:
            outcome, how = Outcome.TOOL_ERROR, f"{how}; the golden alone: {lost}"
        else:
            golden = reply.answers[0].judgement.verdict
            if not golden.passed:
                outcome, how = Outcome.TOOL_ERROR, f"{how}; the golden alone: {reason(golden)}"
        return self._own_answer(outcome, job.seeds[0], Diagnostic(message=how, code="worker_lost"))

    def _ask(self, slot: Slot, job: GroupJob) -> Reply:
        """The reply of the slot's worker; without any worker, tool errors. Raises WorkerLost."""
        try:
            return slot.ask(job)
        except NoWorker as error:
            diagnostic = Diagnostic(message=f"{error}. See `earl doctor`.", code="no_worker")
            answer = self._own_answer(Outcome.TOOL_ERROR, job.seeds[0], diagnostic)
            return Reply(answers=(answer,) * max(1, len(job.completion_texts)))

    def _own_answer(self, outcome: Outcome, seed: int, diagnostic: Diagnostic) -> Answer:
        """An answer that no worker gave."""
        verdict = Verdict(
            outcome=outcome, stage=Stage.SCREEN, seed=seed, diagnostics=(diagnostic,), isolation=self._isolation
        )
        return Answer(judgement=Judgement(candidate=None, verdict=verdict))


def reason(verdict: Verdict) -> str:
    """What the diagnostics of a verdict say."""
    return "; ".join(diagnostic.message for diagnostic in verdict.diagnostics)


def our_fault(verdict: Verdict) -> str:
    """What went wrong on our side; empty for a scored verdict, and for a problem that is broken everywhere."""
    is_problems = any(diagnostic.code == PROBLEM_FAULT for diagnostic in verdict.diagnostics)
    return "" if verdict.is_scored or is_problems else reason(verdict)


def is_batch_alarm(verdict: Verdict) -> bool:
    """Whether a batch and a single run found different things: ours, and nothing that a third run could settle."""
    return any(diagnostic.code == AUDIT_CODE for diagnostic in verdict.diagnostics)


def is_host_busy() -> bool:
    """Whether more programs have wanted to run in the last minute than this machine has processors."""
    return os.getloadavg()[0] > (os.cpu_count() or 1)


def _group_of(jobs: tuple[Job, ...], *, is_fresh: bool = False) -> GroupJob:
    texts = tuple(job.completion_text for job in jobs)
    return GroupJob(problem=jobs[0].problem, completion_texts=texts, seeds=jobs[0].seeds, is_fresh=is_fresh)


def _is_doubtful(answer: Answer, visit: Visit) -> bool:
    """Whether another run might find otherwise: a failure of ours, or a limit or crash that was met beside others."""
    verdict = answer.judgement.verdict
    if answer.source is Source.STORED or is_batch_alarm(verdict):
        return False
    is_odd = verdict.outcome in _LOAD_OUTCOMES or any(found.code == "crash" for found in verdict.diagnostics)
    return our_fault(verdict) != "" or (is_odd and (not visit.was_alone or is_host_busy()))
