"""The trainer's side: which tasks there are at which policy version, and which groups a step takes.

At version v the groups of steps up to v + 1 + max_staleness have been asked for, and no more: no worker runs further
ahead. On the fixed schedule step s is sampled from version s - 1 - max_staleness exactly (0 at the beginning) and takes
its own groups, so that nothing depends on who is quicker. On the free one a task is sampled from the newest version
there is when a worker takes it, and a step takes the groups that were finished first; those that have become too old
are dropped and sampled anew.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from earl.asynchronous import weights
from earl.asynchronous.crew import Crew
from earl.asynchronous.spool import Spool
from earl.asynchronous.task import Finished, Task, cut
from earl.config import Config
from earl.hooks import Hooks, StepInterrupted
from earl.policy import Policy
from earl.problem_stream import ProblemSource
from earl.rollout_source import Draw, Sampled, draw_seed
from toolchain.errors import DeadlineExceeded
from verifiers.types import Problem

_POLL_S = 0.01
_DEADLINE_S = 3600.0  # for the next finished task
_REST_EVERY_S = 1.0  # what needs no haste: silent claims


class WorkerRollouts:
    """`RolloutSource` over rollout workers. Its state is what has been asked for and not yet trained on."""

    def __init__(self, config: Config, run_folder: Path, policy: Policy, problems: ProblemSource, hooks: Hooks) -> None:
        self._config, self._policy, self._problems, self._hooks = config, policy, problems, hooks
        self._staleness, self._is_free = config.rollout.max_staleness, config.rollout.schedule == "free"
        self._schedule = config.rollout.model_dump(exclude={"is_local"})
        self._version = 0
        self._oldest: int | None = None  # version that this session began with
        self._last_step = 0  # that tasks have been made for
        self._asked: dict[str, Task] = {}  # by name, until a step that took them is finished
        self._results: dict[str, Finished] = {}  # of those, as far as they have been read
        self._taken: set[str] = set()  # by the step under way
        self._restored: list[Task] = []  # from a checkpoint, to be asked for at the first publication
        self._figures = _Figures()
        self._spool = Spool.create(run_folder / "rollouts")
        self._crew = Crew(self._spool, config, run_folder, hooks.warn)

    def publish(self, step: int) -> None:
        """See `RolloutSource`. Asks for the groups that may be sampled now."""
        started = time.perf_counter()
        for name in self._taken:
            self._spool.remove(name)
            del self._asked[name], self._results[name]
        self._taken, self._version = set(), step
        num_steps = self._config.train.num_steps
        if step < num_steps:
            weights.publish(self._spool.weights, step, weights.trained_tensors(self._policy.model))
            weights.prune(self._spool.weights, step - self._staleness)
        tasks, self._restored = self._restored, []
        if self._oldest is None:
            self._oldest, self._last_step = step, max(step, self._last_step)
        for number in range(self._last_step + 1, min(step + 1 + self._staleness, num_steps) + 1):
            problems, epoch = self._problems.batch(number)
            draw = Draw(problems=tuple(problems), epoch=epoch, seed=draw_seed(self._config, number))
            tasks += self._tasks(number, 0, draw, max(self._oldest, number - 1 - self._staleness))
            self._last_step = number
        self._ask(tasks)
        self._figures.publish_s = time.perf_counter() - started

    def first(self, step: int) -> Sampled:
        """See `RolloutSource`."""
        assert step == self._version + 1, (step, self._version)
        if self._is_free:
            return self._take(self._fresh)
        own = [task.name for task in self._asked.values() if (task.step, task.number) == (step, 0)]
        return self._take(lambda: self._all_of(own))

    def more(self, step: int, number: int, num: int, taken: list[Problem]) -> Sampled:
        """See `RolloutSource`. These are waited for: nobody knew of them before the step's groups were judged."""
        problems = self._problems.more(step, number, num, taken)
        if not problems:
            return Sampled(problems=[], rollouts=[], sample_s=0.0, judge_s=0.0)
        draw = Draw(
            problems=tuple(problems), epoch=self._problems.epoch(step), seed=draw_seed(self._config, step, number)
        )
        version = max((task.version or 0 for task in self._asked.values() if task.step == step), default=0)
        tasks = self._tasks(step, number, draw, version)
        self._ask(tasks)
        own = [task.name for task in tasks]
        return self._take(lambda: self._all_of(own))

    def metrics(self) -> dict[str, float]:
        """See `RolloutSource`."""
        figures, self._figures = self._figures, _Figures()
        return figures.values() | {"perf/worker_restarts": float(self._crew.num_restarts)}

    def state_dict(self) -> dict[str, Any]:
        """Tasks asked for and not trained on, and the older weights that they are sampled from."""
        tasks = [task for task in self._asked.values() if task.number == 0]
        older = {task.version for task in tasks if task.version is not None and task.version < self._version}
        return {
            "schedule": self._schedule,
            "last_step": self._last_step,
            "tasks": [task.to_json() for task in tasks],
            "weights": {version: weights.read(self._spool.weights, version) for version in sorted(older)},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `RolloutSource`. What was under way is sampled again, with the same result on the fixed schedule.

        What was asked for on another schedule is left out: the session then begins anew at the checkpoint's step.
        """
        if state.get("schedule") != self._schedule:
            return
        for version, tensors in state["weights"].items():
            weights.publish(self._spool.weights, version, tensors)
        self._last_step = state["last_step"]
        self._restored = [Task.from_json(text) for text in state["tasks"]]

    def close(self) -> None:
        """End the workers and the session."""
        self._crew.close()
        self._spool.close()

    def _tasks(self, step: int, number: int, draw: Draw, version: int) -> list[Task]:
        """The units of a draw: on the fixed schedule as many as there are workers, else one a group of any version."""
        parts = cut(draw, len(draw.problems) if self._is_free else max(1, self._config.rollout.num_workers))
        return [
            Task(step=step, number=number, unit=unit, version=None if self._is_free else version, draw=part)
            for unit, part in enumerate(parts)
        ]

    def _ask(self, tasks: list[Task]) -> None:
        for task in tasks:
            self._asked[task.name] = task
            self._spool.put(task)

    def _all_of(self, names: list[str]) -> list[str]:
        return [] if set(names) - set(self._spool.done()) else names

    def _fresh(self) -> list[str]:
        """The groups of a step, those that were finished first, once there are so many; drops what is too old."""
        fresh = []
        for name in self._spool.done():
            task = self._asked.get(name)
            if task is None or task.number or name in self._taken:
                continue
            if self._result(name).policy_version >= self._version - self._staleness:
                fresh.append(name)
                continue
            self._figures.num_dropped += len(task.draw.problems)
            del self._results[name]
            self._spool.remove(name)
            self._spool.put(task)
        num = self._config.train.num_problems
        return fresh[:num] if len(fresh) >= num else []

    def _result(self, name: str) -> Finished:
        if name not in self._results:
            self._results[name] = self._spool.read(name)
            self._crew.has_finished(self._results[name].worker)
        return self._results[name]

    def _take(self, ready: Callable[[], list[str]]) -> Sampled:
        """Wait for tasks; returns their groups in order."""
        started = time.perf_counter()
        names = self._wait(ready)
        self._figures.wait_s += time.perf_counter() - started
        self._figures.queue_depth = len(set(self._spool.done()) & (self._asked.keys() - self._taken - set(names)))
        self._taken |= set(names)
        finished = [self._result(name) for name in names]
        for item in finished:
            self._figures.took(item, self._version)
        return Sampled(
            problems=[problem for name in names for problem in self._asked[name].draw.problems],
            rollouts=[list(group) for item in finished for group in item.rollouts],
            sample_s=sum(item.sample_s for item in finished),
            judge_s=sum(item.judge_s for item in finished),
        )

    def _wait(self, ready: Callable[[], list[str]]) -> list[str]:
        moved = rested = time.monotonic()
        num_done = -1
        while not (names := ready()):
            if self._hooks.should_stop():
                raise StepInterrupted
            self._crew.check()
            now = time.monotonic()
            if now - rested > _REST_EVERY_S:
                rested = now
                for worker in self._spool.release_silent():
                    self._hooks.warn(f"the rollout worker {worker} fell silent; what it had claimed is given to others")
            if len(self._spool.done()) != num_done:
                num_done, moved = len(self._spool.done()), now
            if now - moved > _DEADLINE_S:
                raise DeadlineExceeded(
                    f"waited {_DEADLINE_S:.0f} s for a group from the rollout workers; do they run, and see"
                    f" {self._spool.folder}?"
                )
            time.sleep(_POLL_S)
        if self._hooks.should_stop():
            raise StepInterrupted
        return names


class _Figures:
    """Sums over the groups of one step."""

    def __init__(self) -> None:
        self.num_dropped, self.queue_depth = 0, 0
        self.wait_s, self.publish_s = 0.0, 0.0
        self._worker_wait_s = 0.0
        self._ages: list[int] = []

    def took(self, finished: Finished, version: int) -> None:
        """Note the groups of a task that a step took at `version`."""
        self._worker_wait_s += finished.wait_s
        self._ages += [version - finished.policy_version] * len(finished.rollouts)

    def values(self) -> dict[str, float]:
        """Staleness is in policy versions a group, queue depth in finished tasks left when the step took its own."""
        ages = self._ages or [0]
        return {
            "staleness/mean": sum(ages) / len(ages),
            "staleness/max": float(max(ages)),
            "staleness/dropped_groups": float(self.num_dropped),
            "perf/queue_depth": float(self.queue_depth),
            "perf/wait_s": self.wait_s,
            "perf/worker_wait_s": self._worker_wait_s,
            "perf/publish_s": self.publish_s,
        }
