"""The torch side of the compiled ops. Each op is a file here: its function, its `*_ref` twin in plain torch that
defines what it means, its fake kernel and its gradient.

The twins are also a fallback, for whoever asks for it: `select("reference")`, `model.ops = "reference"` in a config.
Not here: sampling, gates, losses. First derivatives only: asking for a second one is an error.
"""

from collections.abc import Callable
from dataclasses import dataclass

from toolchain.errors import InfrastructureError

try:
    import earl._C  # noqa: F401  (importing it registers torch.ops.earl)
except ImportError as error:
    raise InfrastructureError(
        f"earl.ops: the compiled ops earl._C could not be loaded ({error}). Build them in the source folder with "
        "`pip install torch==2.13.0`, then `pip install --no-build-isolation -e .`"
    ) from error

from earl.ops.entropy_gate import entropy_gate, entropy_gate_ref
from earl.ops.gated_surrogate import SurrogateOutput, gated_surrogate, gated_surrogate_ref
from earl.ops.linear_token_logprob_entropy import linear_token_logprob_entropy, linear_token_logprob_entropy_ref
from earl.ops.linear_token_statistics import linear_token_statistics, linear_token_statistics_ref
from earl.ops.token_logprob_entropy import TokenStats, token_logprob_entropy, token_logprob_entropy_ref
from earl.ops.token_statistics import STATISTICS, token_statistics, token_statistics_ref

__all__ = [
    "OPS",
    "STATISTICS",
    "SurrogateOutput",
    "TokenStats",
    "entropy_gate",
    "entropy_gate_ref",
    "gated_surrogate",
    "gated_surrogate_ref",
    "in_force",
    "linear_token_logprob_entropy",
    "linear_token_logprob_entropy_ref",
    "linear_token_statistics",
    "linear_token_statistics_ref",
    "select",
    "token_logprob_entropy",
    "token_logprob_entropy_ref",
    "token_statistics",
    "token_statistics_ref",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ops:
    """One implementation of every op; the fields are the functions of this package of the same names."""

    token_logprob_entropy: Callable[..., TokenStats]
    linear_token_logprob_entropy: Callable[..., TokenStats]
    token_statistics: Callable[..., dict]
    linear_token_statistics: Callable[..., dict]
    entropy_gate: Callable[..., object]
    gated_surrogate: Callable[..., SurrogateOutput]


OPS = {
    "compiled": Ops(
        token_logprob_entropy=token_logprob_entropy,
        linear_token_logprob_entropy=linear_token_logprob_entropy,
        token_statistics=token_statistics,
        linear_token_statistics=linear_token_statistics,
        entropy_gate=entropy_gate,
        gated_surrogate=gated_surrogate,
    ),
    "reference": Ops(
        token_logprob_entropy=token_logprob_entropy_ref,
        linear_token_logprob_entropy=linear_token_logprob_entropy_ref,
        token_statistics=token_statistics_ref,
        linear_token_statistics=linear_token_statistics_ref,
        entropy_gate=entropy_gate_ref,
        gated_surrogate=gated_surrogate_ref,
    ),
}

_selected = "compiled"


def select(name: str) -> None:
    """Make `in_force` give the implementation `name`, a key of OPS, in this process."""
    global _selected
    if name not in OPS:
        raise ValueError(f"unknown ops {name!r}; known: {', '.join(OPS)}")
    _selected = name


def in_force() -> Ops:
    """The implementation that trainer and sampler run: the compiled one unless `select` said otherwise."""
    return OPS[_selected]
