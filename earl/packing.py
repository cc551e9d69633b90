"""Puts sequences of different lengths into packs of a token budget."""

from collections.abc import Sequence


def pack(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indices in packs whose lengths add up to at most `budget`, few of them: first fit, the longest first.

    Within 11/9 of the fewest possible plus one (Johnson 1973). A length above the budget has a pack of its own. Each
    pack is in rising order.
    """
    packs: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        place = next((place for place, left in enumerate(room) if left >= lengths[index]), None)
        if place is None:
            packs.append([])
            room.append(budget)
            place = len(packs) - 1
        packs[place].append(index)
        room[place] -= lengths[index]
    return [sorted(chosen) for chosen in packs]
