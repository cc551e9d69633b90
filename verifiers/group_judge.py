"""A worker's answer to a group job: extract, look up what is known, verify the rest, each distinct design once.

Reads the cache and never writes verdicts: the farm does, once a verdict is final. A small part of what is found there
is run again, so that a stored verdict that is wrong does not stay unnoticed.
"""

import random
from dataclasses import dataclass, replace

from verifiers.batch import verify_group
from verifiers.cache import DiskCache, entry_key, problem_digest, unified
from verifiers.extract import extract
from verifiers.judgement import VERDICT, Answer, GroupJob, Judgement, Reply, Source
from verifiers.types import Candidate, Verdict
from verifiers.verify import Verifier


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """What the cache says of a candidate: its key, the verdict if there is one, and whether to run it all the same."""

    key: str
    stored: Verdict | None
    is_audit: bool

    @property
    def needs_run(self) -> bool:
        return self.stored is None or self.is_audit


class GroupJudge:
    """Answers group jobs with a verifier and, if there is one, a cache. `audit_fraction` of the hits are run again."""

    def __init__(self, verifier: Verifier, cache: DiskCache | None = None, *, audit_fraction: float = 0.0) -> None:
        self._verifier, self._cache, self._audit_fraction = verifier, cache, audit_fraction
        self._draw = random.SystemRandom().random

    def answer(self, job: GroupJob) -> Reply:
        """The answers in the order of the job's texts; for a job without texts, that of the golden."""
        if not job.completion_texts:
            verdict = self._verifier.verify_golden(job.problem, job.seeds)
            return Reply(answers=(Answer(judgement=Judgement(candidate=None, verdict=verdict)),))
        candidates = [extract(text, job.problem.top_module) for text in job.completion_texts]
        designs = {unified(candidate.text): candidate for candidate in reversed(candidates) if candidate is not None}
        known = {text: self._look_up(job, text) for text in designs}
        to_run = [text for text, entry in known.items() if entry.needs_run]
        verdicts = verify_group(self._verifier, job.problem, [designs[text] for text in to_run], job.seeds)
        fresh = dict(zip(to_run, verdicts, strict=True))
        answers, first_of = [], set()
        for candidate in candidates:
            if candidate is None:
                answers.append(Answer(judgement=self._verifier.no_code(job.problem, job.seeds[0])))
                continue
            text = unified(candidate.text)
            answer = _answer(candidate, known[text], fresh.get(text))
            answers.append(replace(answer, source=Source.SHARED, key="", stored=None) if text in first_of else answer)
            first_of.add(text)
        num_faults = 0 if self._cache is None else self._cache.take_faults()
        return Reply(answers=tuple(answers), num_cache_faults=num_faults)

    def _look_up(self, job: GroupJob, text: str) -> _Known:
        if self._cache is None:
            return _Known(key="", stored=None, is_audit=False)
        versions, isolation = sorted(self._verifier.versions.items()), self._verifier.isolation
        key = entry_key("verdict", text, problem_digest(job.problem), versions, isolation, job.seeds)
        payload = None if job.is_fresh else self._cache.get(key)
        if payload is None:
            return _Known(key=key, stored=None, is_audit=False)
        stored = replace(VERDICT.validate_json(payload), duration_s=0.0)
        return _Known(key=key, stored=stored, is_audit=self._draw() < self._audit_fraction)


def _answer(candidate: Candidate, known: _Known, fresh: Verdict | None) -> Answer:
    if fresh is None:
        assert known.stored is not None, "neither stored nor run"
        return Answer(judgement=Judgement(candidate=candidate, verdict=known.stored), source=Source.STORED)
    source = Source.AUDIT if known.is_audit else Source.RUN
    judgement = Judgement(candidate=candidate, verdict=fresh)
    return Answer(judgement=judgement, source=source, key=known.key, stored=known.stored)
