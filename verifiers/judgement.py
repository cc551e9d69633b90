"""What goes to a worker and comes back: a job, a judgement, and both as one line of JSON. Imports no judge."""

from dataclasses import dataclass

from pydantic import TypeAdapter

from verifiers.types import Candidate, Problem, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A completion to judge, or, with `completion_text` None, the problem's golden to run against itself."""

    problem: Problem
    completion_text: str | None
    seeds: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What was found in a completion (None: no code, or a worker died of it) and how it fared."""

    candidate: Candidate | None
    verdict: Verdict


JOB = TypeAdapter(Job)
JUDGEMENT = TypeAdapter(Judgement)
