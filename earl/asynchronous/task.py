"""What goes to a rollout worker and comes back, each as one JSON document."""

import itertools
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from earl.rollout_source import Draw
from earl.types import Rollout
from verifiers.problem_json import problem_from_json, problem_to_json

_UNIT_SEED = 10_000_000_000_000  # between the sampling seeds of a step's units


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """Groups to sample and judge together: one unit of a step's draw."""

    step: int  # that it was made for
    number: int  # of the step's further round; 0: the step itself
    unit: int
    version: int | None  # of the policy to sample from; None: the newest when it is claimed
    draw: Draw

    @property
    def name(self) -> str:
        """Unique in a session; names sort in the order in which tasks are needed."""
        return f"{self.step:06d}-{self.number:03d}-{self.unit:04d}"

    def to_json(self) -> str:
        fields = {"step": self.step, "number": self.number, "unit": self.unit, "version": self.version}
        draw = {"epoch": self.draw.epoch, "seed": self.draw.seed}
        return json.dumps({**fields, **draw, "problems": [problem_to_json(problem) for problem in self.draw.problems]})

    @staticmethod
    def from_json(text: str) -> "Task":
        values = json.loads(text)
        problems = tuple(problem_from_json(problem) for problem in values.pop("problems"))
        draw = Draw(problems=problems, epoch=values.pop("epoch"), seed=values.pop("seed"))
        return Task(**values, draw=draw)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """A task's rollouts, and what they took."""

    worker: str
    policy_version: int
    rollouts: tuple[tuple[Rollout, ...], ...]  # per problem of the task
    sample_s: float
    judge_s: float
    wait_s: float  # that the worker had nothing to do before it

    def to_json(self) -> str:
        return json.dumps(_FINISHED.dump_python(self, mode="json"))

    @staticmethod
    def from_json(text: str) -> "Finished":
        return _FINISHED.validate_python(json.loads(text))


_FINISHED = TypeAdapter(Finished)


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """What a worker died of: the user's input, a judge that stayed lost, or anything else ("death")."""

    message: str
    kind: Literal["usage", "judge", "death"]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Failure":
        values: dict[str, Any] = json.loads(text)
        return Failure(**values)


def cut(draw: Draw, num_units: int) -> list[Draw]:
    """A draw in at most `num_units` parts of whole groups, as even as can be. One part is the draw itself."""
    num_units = min(num_units, len(draw.problems))
    bounds = [len(draw.problems) * number // num_units for number in range(num_units + 1)]
    return [
        Draw(problems=draw.problems[start:stop], epoch=draw.epoch, seed=draw.seed + unit * _UNIT_SEED)
        for unit, (start, stop) in enumerate(itertools.pairwise(bounds))
    ]
