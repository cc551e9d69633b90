"""What goes to a worker and comes back: jobs, answers, and both as one line of JSON. Imports no judge."""

from dataclasses import dataclass
from enum import StrEnum

from pydantic import TypeAdapter

from verifiers.types import Candidate, Problem, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A completion to judge. Equal jobs have equal judgements but for `duration_s`."""

    problem: Problem
    completion_text: str
    seeds: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupJob:
    """Completions of one problem to judge under the same seeds. Without any: the golden is run against itself.

    `is_fresh` means that no stored verdict will do.
    """

    problem: Problem
    completion_texts: tuple[str, ...]
    seeds: tuple[int, ...]
    is_fresh: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What was found in a completion (None: no code, or a worker died of it) and how it fared."""

    candidate: Candidate | None
    verdict: Verdict


class Source(StrEnum):
    """Where an answer comes from."""

    RUN = "run"
    STORED = "stored"
    AUDIT = "audit"  # stored, and yet run again
    SHARED = "shared"  # another completion of the same group holds the same design


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A worker's answer to one completion. `key` names the verdict in the cache; empty: it may not be stored.

    For an audit the judgement is that of the new run, and `stored` is the verdict that it is to be compared with.
    """

    judgement: Judgement
    source: Source = Source.RUN
    key: str = ""
    stored: Verdict | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSettings:
    """How a worker judges. `cache` is the path of the disk cache; empty: none."""

    isolation: str
    cache: str = ""
    audit_fraction: float = 0.0  # of the stored verdicts that are asked for, those that are run again


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """The answers to a group job, in its order. `num_cache_faults` are damaged or unusable entries met meanwhile."""

    answers: tuple[Answer, ...]
    num_cache_faults: int = 0


JUDGEMENT = TypeAdapter(Judgement)
GROUP_JOB = TypeAdapter(GroupJob)
REPLY = TypeAdapter(Reply)
VERDICT = TypeAdapter(Verdict)
WORKER_SETTINGS = TypeAdapter(WorkerSettings)
