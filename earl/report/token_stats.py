"""Which tokens a policy is uncertain about: entropy and gate by token class and by token, over logged completions.

Streams file by file: memory grows with the vocabulary, not with the run.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from earl.report.run_data import read_completions

_BIN_NATS = 0.01
_NUM_BINS = 1_600  # up to 16 nats: the entropy of a uniform choice among nine million tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """Sums over the tokens of one kind."""

    num_tokens: int
    entropy: float  # nats, summed
    num_open: int  # tokens at which the gate was open

    @property
    def mean_entropy(self) -> float:
        return self.entropy / self.num_tokens

    @property
    def open_rate(self) -> float:
        return self.num_open / self.num_tokens


@dataclass(slots=True)
class TokenStats:
    """Running sums over the completions seen so far that were trained on."""

    _names: dict[str, int] = field(default_factory=dict)  # class -> column
    _by_class: np.ndarray = field(default_factory=lambda: np.zeros((3, 0)))
    _by_token: np.ndarray = field(default_factory=lambda: np.zeros((3, 0)))
    _histogram: np.ndarray = field(default_factory=lambda: np.zeros(_NUM_BINS))

    @classmethod
    def of(cls, files: Iterable[Path]) -> "TokenStats":
        """The sums over all rows of completion files."""
        stats = cls()
        for file in files:
            for row in read_completions(file):
                if row.get("token_ids"):
                    stats.add(row)
        return stats

    def add(self, row: dict) -> None:
        """One row of a completions file, with its per-token fields."""
        entropies, gate = np.asarray(row["entropies"], float), np.asarray(row["gate"], float)
        classes = np.asarray([self._names.setdefault(name, len(self._names)) for name in row["classes"]])
        self._by_class = _added(self._by_class, classes, entropies, gate)
        self._by_token = _added(self._by_token, np.asarray(row["token_ids"]), entropies, gate)
        bins = np.clip((entropies / _BIN_NATS).astype(int), 0, _NUM_BINS - 1)
        self._histogram += np.bincount(bins, minlength=_NUM_BINS)

    @property
    def total(self) -> Tally:
        return _tally(self._by_class.sum(axis=1))

    def classes(self) -> dict[str, Tally]:
        """By class, the most uncertain first."""
        found = {name: _tally(self._by_class[:, column]) for name, column in self._names.items()}
        return dict(sorted(found.items(), key=lambda item: -item[1].mean_entropy))

    def uncertain_tokens(self, *, num_tokens: int, min_count: int) -> list[tuple[int, Tally]]:
        """The token ids of highest mean entropy among those seen at least `min_count` times."""
        counts = self._by_token[0]
        means = np.where(counts >= min_count, self._by_token[1] / np.maximum(counts, 1), -1.0)
        order = np.argsort(-means, kind="stable")[:num_tokens]
        return [(int(token), _tally(self._by_token[:, token])) for token in order if means[token] >= 0]

    def entropy_share_of_top(self, fraction: float) -> float:
        """The share of all entropy that the most uncertain `fraction` of tokens holds, to a hundredth of a nat."""
        middles = (np.arange(_NUM_BINS) + 0.5) * _BIN_NATS
        middles[0] = 0.0  # tokens that the policy is sure of
        counts, values = self._histogram[::-1], middles[::-1]
        wanted = fraction * counts.sum()
        taken = np.clip(wanted - (np.cumsum(counts) - counts), 0, counts)
        whole = float(counts @ values)
        return float(taken @ values) / whole if whole else 0.0

    def share_below(self, nats: float) -> float:
        """The share of tokens with less entropy than `nats`, a multiple of a hundredth."""
        return float(self._histogram[: round(nats / _BIN_NATS)].sum() / self._histogram.sum())


def _added(sums: np.ndarray, columns: np.ndarray, entropies: np.ndarray, gate: np.ndarray) -> np.ndarray:
    width = max(sums.shape[1], int(columns.max()) + 1)
    grown = np.zeros((3, width))
    grown[:, : sums.shape[1]] = sums
    for index, weights in enumerate((None, entropies, gate)):
        grown[index] += np.bincount(columns, weights=weights, minlength=width)
    return grown


def _tally(sums: np.ndarray) -> Tally:
    return Tally(num_tokens=int(sums[0]), entropy=float(sums[1]), num_open=int(sums[2]))
