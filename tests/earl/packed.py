"""A `TokenBatch` from plain lists, for tests of what is computed on one."""

import torch

from earl.token_class import CLASSES
from earl.types import TokenBatch


def packed_batch(lengths, **values) -> TokenBatch:
    """Responses of the given lengths; fields as lists, `token_classes` by name; the rest is 0, log-probs are -1."""
    size = sum(lengths)
    names = values.pop("token_classes", ["identifier"] * size)
    fields = {
        "group_ids": [0] * len(lengths),
        "token_ids": [0] * size,
        "logprobs": [-1.0] * size,
        "entropies": [0.0] * size,
        "advantages": [1.0] * size,
        **{name: value for name, value in values.items() if value is not None},
    }
    return TokenBatch(
        row_offsets=torch.tensor([0, *lengths]).cumsum(0),
        token_classes=torch.tensor([CLASSES.index(name) for name in names]),
        **{name: torch.tensor(value) for name, value in fields.items()},
    )
