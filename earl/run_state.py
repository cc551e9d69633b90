"""What a run carries from step to step: it lies in every checkpoint, and a resumed run goes on from it."""

from typing import Any, Protocol

import torch

from earl import checkpoint
from earl.policy import Policy
from earl.run_folder import RunFolder


class Part(Protocol):
    """Something that a run carries on."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class RunState:
    """Policy, optimiser and named parts after `step` finished steps; `saved` is the checkpoint to go on from, if any.

    The policy is loaded from that by whoever makes it; `restore` gives the rest what the checkpoint holds.
    """

    def __init__(
        self,
        run: RunFolder,
        policy: Policy,
        optimizer: torch.optim.Optimizer,
        parts: dict[str, Part],
        *,
        identity: dict[str, Any],
        saved: checkpoint.Checkpoint | None,
    ) -> None:
        self._folder, self._policy, self._optimizer, self._parts = run.checkpoints, policy, optimizer, parts
        self._identity, self._saved = identity, saved
        self.step = saved.step if saved else 0

    def restore(self) -> None:
        """Go on from the saved checkpoint, if there is one."""
        if self._saved is None:
            return
        checkpoint.load_optimizer(self._saved, self._optimizer)
        state = checkpoint.load_state(self._saved)
        for name, part in self._parts.items():
            if name in state:  # a part that a forced change of the config brings in starts anew
                part.load_state_dict(state[name])

    def save(self) -> checkpoint.Checkpoint:
        """The checkpoint of `step`, written unless it is there. InfrastructureError when the disk refuses."""
        if self._saved is None or self._saved.step != self.step:
            state = {name: part.state_dict() for name, part in self._parts.items()} | {"identity": self._identity}
            keep = self._identity["config"]["train"]["keep_checkpoints"]
            self._saved = checkpoint.save(
                self._folder, self.step, self._policy, self._optimizer, keep=keep, state=state
            )
        return self._saved
