"""What a run leaves of each step: its numbers here and elsewhere, its completions, and warnings of what they show."""

from earl.backends import Backends
from earl.completions_log import drop_completions, write_completions
from earl.config import Config
from earl.control.signs import Signs, recheck_metrics
from earl.farm_metrics import FarmMeter
from earl.hooks import Hooks
from earl.metrics import MetricsLog
from earl.rollout import RolloutJudge
from earl.run_folder import RunFolder
from earl.step import StepResult
from verifiers.connect import Judge


class StepLog:
    """Of a run that goes on after `last_step`: what there is of later steps is removed. Use `close` at the end."""

    def __init__(
        self, config: Config, run: RunFolder, farm: Judge, judge: RolloutJudge, hooks: Hooks, *, last_step: int
    ) -> None:
        self._config, self._run, self._judge, self._warn = config.log, run, judge, hooks.warn
        self._metrics = MetricsLog(run.metrics_path, last_step=last_step)
        drop_completions(run.completions_folder, after=last_step)
        self._backends = Backends(config, run.path, last_step=last_step, warn=hooks.warn)
        self._meter = FarmMeter(farm)
        self.signs = Signs(config.log.signs)

    def write(self, step: int, result: StepResult, more: dict[str, float]) -> dict[str, float]:
        """Write a step down; returns all its metrics, `more` included."""
        metrics = result.metrics | more
        metrics |= recheck_metrics(self._judge, result, step, self._config.signs) | self._meter.metrics()
        metrics["perf/verdicts_reused"] = float(self._judge.take_reused())
        if self._config.backends:
            metrics["perf/backend_failures"] = float(self._backends.num_failures)
        self._metrics.write(step, metrics)
        self._backends.write(step, metrics)
        for advice in self.signs.update(metrics):
            self._warn(f"step {step}: {advice}")
        write_completions(self._run.completions_path(step, self._config.completions), step, result)
        return metrics

    def close(self) -> None:
        self._backends.close()
        self._metrics.close()
