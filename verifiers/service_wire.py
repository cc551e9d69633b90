"""The service's wire format: a batch of jobs, its judgements, what a service says of itself, the error document.

Strict: an unknown key, a missing one and a value of the wrong type are refused by name. Both ends use these models.
"""

import json
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from verifiers.farm_stats import FarmStats
from verifiers.judgement import Judgement
from verifiers.problem_json import problem_from_json, problem_to_json
from verifiers.types import Problem

WIRE_VERSION = 1  # both ends must have the same
MAX_SEEDS = 64  # of one job


def _read_problem(value: object) -> Problem:
    return value if isinstance(value, Problem) else problem_from_json(value)


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class JobBody(_Wire):
    """One completion to judge. `completion` is the model's whole text, or bare Verilog."""

    problem: Annotated[Problem, BeforeValidator(_read_problem)]
    completion: str
    seeds: list[Annotated[int, Field(ge=0, strict=True)]] = Field(min_length=1, max_length=MAX_SEEDS)


class BatchBody(_Wire):
    """What `POST /v1/verdicts` takes."""

    jobs: list[JobBody] = Field(min_length=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchAnswer:
    """What it answers: one judgement a job, in the order of the jobs."""

    judgements: tuple[Judgement, ...]


class Pending(_Wire):
    """What it answers while the batch is being judged: ask again with the same key."""

    num_jobs: int
    message: str


class Status(_Wire):
    """What `GET /v1/status` says. A client fits its batches to the limits."""

    wire_version: int
    version: str  # of earl-rtl
    isolation: str  # the rung that candidates run on
    max_jobs: int  # in one batch
    max_pending_jobs: int
    max_body_bytes: int
    num_pending_jobs: int
    farm: FarmStats


class ErrorBody(_Wire):
    """Why a request failed, and whether the same request may succeed later."""

    code: str
    message: str
    is_retryable: bool


class ErrorDocument(_Wire):
    """The body of every answer that is no success."""

    error: ErrorBody


ANSWER = TypeAdapter(BatchAnswer)


def job_to_json(problem: Problem, completion_text: str, seeds: tuple[int, ...]) -> bytes:
    """One element of `jobs`."""
    job = {"problem": problem_to_json(problem), "completion": completion_text, "seeds": list(seeds)}
    return json.dumps(job, separators=(",", ":")).encode()


def batch_body(jobs: list[bytes]) -> bytes:
    """The request's body from what `job_to_json` gave for each job."""
    return b'{"jobs":[' + b",".join(jobs) + b"]}"
