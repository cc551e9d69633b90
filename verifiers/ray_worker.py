"""One judging actor on a Ray cluster, seen from the driver: start it, ask it, end it. For one thread at a time.

The actor owns a local farm of one worker, so that a candidate meets the same limits, rung and rules of blame there.
"""

import os
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError

from toolchain.errors import DeadlineExceeded, InfrastructureError
from toolchain.tool import find_tool
from verifiers.connect import FarmSettings, connect
from verifiers.judgement import GroupJob, Judgement

START_S = 120.0  # until a node has a free CPU and the actor runs on it
_CLOSE_S = 5.0


class ActorLost(Exception):
    """The actor, its node or its answer is gone. What it was asked may be asked again."""


class JudgingActor:
    """What runs on the cluster."""

    def __init__(self, settings: FarmSettings) -> None:
        self._farm = connect("local", settings)

    def identity(self) -> dict[str, str]:
        """What must be the same on every node for verdicts to be."""
        tools = {name: find_tool(name).version for name in ("iverilog", "vvp")}
        return {"earl-rtl": version("earl-rtl"), "isolation": self._farm.isolation, **tools}

    def pid(self) -> int:
        """The process id of the actor on its node."""
        return os.getpid()

    def judge(self, group: GroupJob) -> list[Judgement]:
        """The judgements of a group's completions, in order."""
        return self._farm.judge_all([(group.problem, text, group.seeds) for text in group.completion_texts])

    def close(self) -> None:
        """End the farm, so that it leaves no process or folder behind."""
        self._farm.close()


class RayWorker:
    """An actor that runs. Raises InfrastructureError when the cluster cannot start one within START_S."""

    def __init__(self, settings: FarmSettings) -> None:
        # Restarts and repetitions are the driver's: Ray must not run a job a second time on its own.
        remote = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD")
        self._actor: Any = remote(JudgingActor).remote(settings)
        try:
            answers = ray.get([self._actor.identity.remote(), self._actor.pid.remote()], timeout=START_S)
        except GetTimeoutError as error:
            self.kill()
            free = ray.available_resources().get("CPU", 0.0)
            raise DeadlineExceeded(
                f"waited {START_S:g} s for a worker with one CPU on the Ray cluster, which has {free:g} free;"
                " lower verifier.num_workers or add nodes"
            ) from error
        except RayActorError as error:
            raise ActorLost(f"a worker did not come up: {_first_lines(error)}") from error
        except RayTaskError as error:
            self.kill()
            raise InfrastructureError(f"a Ray worker cannot judge: {error.cause}") from error
        self.identity: dict[str, str] = answers[0]
        self.pid: int = answers[1]

    def judge(self, group: GroupJob, *, wall_s: float) -> list[Judgement]:
        """The judgements of a group. Raises ActorLost: the actor is dead then; InfrastructureError: its farm failed."""
        try:
            return ray.get(self._actor.judge.remote(group), timeout=wall_s)
        except GetTimeoutError as error:
            self.kill()
            raise ActorLost(f"the actor gave no answer within {wall_s:g} s and was killed") from error
        except RayTaskError as error:
            raise InfrastructureError(f"a farm on the Ray cluster failed: {error.cause}") from error
        except RayError as error:
            self.kill()
            raise ActorLost(_first_lines(error)) from error

    def close(self) -> None:
        """End the actor once it has ended its farm, or after some seconds."""
        with suppress(RayError):  # it is dead already, or it hangs
            ray.get(self._actor.close.remote(), timeout=_CLOSE_S)
        self.kill()

    def kill(self) -> None:
        """End the actor at once. Idempotent, and safe while another thread is in `judge`."""
        ray.kill(self._actor, no_restart=True)


def _first_lines(error: RayError) -> str:
    return " ".join(str(error).split())[:300]
