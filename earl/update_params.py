"""What is trained and by which rule: the parameters of `[lora]` and `[optimizer]`, for warm start and RL alike."""

from typing import Annotated, Any

from pydantic import Field

from earl.params import Params


class LoraParams(Params):
    """Low-rank adapters (arXiv 2106.09685) by peft. There is no dropout: sampler and trainer must be one policy."""

    rank: Annotated[int, Field(ge=0)] = 0  # 0: full fine-tuning
    alpha: Annotated[float, Field(gt=0)] = 32.0  # an adapter's product is scaled by alpha / rank
    # Names of modules or the ends of names; "all-linear" is every projection but the head.
    target_modules: Annotated[tuple[str, ...], Field(min_length=1)] = ("all-linear",)


class OptimizerParams(Params):
    """How gradients become updates."""

    name: str = "adamw"  # a key of earl.optimizers.OPTIMIZERS
    params: dict[str, Any] = Field(default_factory=dict)
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0  # a longer gradient is scaled down to it; 0: never
    weight_decay: Annotated[float, Field(ge=0)] = 0.0  # decoupled; spares what is no matrix: norms and biases
    schedule: str = "constant"  # of RL, after its warm-up; a key of earl.schedules.SCHEDULES
