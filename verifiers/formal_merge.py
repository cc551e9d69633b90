"""Merges registers that are always equal, by induction on structure alone: no solver.

Latches that begin equal, and whose next values are one node once all supposed equalities are put in, are equal for
ever (van Eijk's register correspondence). Designs that differ in names and order end here.
"""

from collections.abc import Hashable
from dataclasses import dataclass

from verifiers.formal_aig import FALSE, Aig

Latches = tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Merged:
    """A machine of fewer latches: `variables` gives the new literal of each old variable that it still has."""

    aig: Aig
    latches: Latches
    bad: int
    variables: dict[int, int]


def merge_latches(aig: Aig, latches: Latches, bad: int, signatures: dict[int, Hashable]) -> Merged:
    """The machine with equal latches merged. All latches begin with 0.

    `signatures` tell apart latches that are known to differ, by variable; None is one that was never seen to be 1.
    """
    classes = dict(signatures)
    while True:
        merged_into = _representatives(classes)
        copy = _Copy(aig, merged_into)
        following = {variable: copy.literal(after) for variable, after in latches}
        classes = {
            variable: None if name is None and following[variable] == FALSE else (name, following[variable])
            for variable, name in classes.items()
        }
        if _representatives(classes) == merged_into:
            break
    kept = tuple(
        (copy.variables[variable], following[variable]) for variable, _ in latches if merged_into[variable] == variable
    )
    return Merged(aig=copy.graph, latches=kept, bad=copy.literal(bad), variables=copy.variables)


def _representatives(classes: dict[int, Hashable]) -> dict[int, int]:
    """By latch, the literal that stands for it: the first of its class, or false."""
    first: dict[Hashable, int] = {None: FALSE}
    return {variable: first.setdefault(name, variable) for variable, name in classes.items()}


class _Copy:
    """A graph copied with some variables replaced; what is then equal becomes one node."""

    def __init__(self, aig: Aig, merged_into: dict[int, int]) -> None:
        self.graph = Aig(max_nodes=len(aig.fanins) + 1)
        self.variables: dict[int, int] = {}
        self._new = [FALSE] * len(aig.fanins)
        land = self.graph.land
        for node, fanin in enumerate(aig.fanins):
            if fanin is not None:
                left, right = fanin
                self._new[node] = land(self._new[left >> 1] ^ left & 1, self._new[right >> 1] ^ right & 1)
            elif node:
                target = merged_into.get(2 * node, 2 * node)
                if target == 2 * node:
                    self._new[node] = self.variables[target] = self.graph.variable()
                else:
                    self._new[node] = self._new[target >> 1]

    def literal(self, old: int) -> int:
        return self._new[old >> 1] ^ (old & 1)
