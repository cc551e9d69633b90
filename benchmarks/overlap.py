"""How long `earl problems overlap` takes: 10,000 procedural training problems against 156 others, or a benchmark.

python benchmarks/overlap.py [BENCHMARK:ROOT]...
"""

import sys
import time
from collections import Counter

from hdl_bench.overlap import Protected, item_of
from hdl_bench.overlap_sources import protected_items
from hdl_bench.procedural.problems import make_problems

NUM_TRAIN, NUM_PROTECTED = 10_000, 156


def main(against: list[str]) -> None:
    def draw(split: str, num_problems: int) -> list:
        levels = (1, 2, 3, 4, 5)
        return [
            item_of(problem)
            for problem in make_problems(families=None, levels=levels, split=split, num_problems=num_problems, seed=1)
        ]

    benchmarks = protected_items(against) if against else [("held-out", draw("heldout", NUM_PROTECTED))]
    train = draw("train", NUM_TRAIN)
    started = time.process_time()
    protected = Protected(benchmarks)
    indexed = time.process_time()
    found = [overlaps[0] for overlaps in map(protected.overlaps, train) if overlaps]
    ended = time.process_time()
    num_protected = sum(len(items) for _, items in benchmarks)
    print(f"{num_protected} protected problems indexed in {indexed - started:.2f} s of CPU time")
    print(f"{len(train):,} training problems compared in {ended - indexed:.2f} s: {len(found)} overlap")
    print(dict(Counter(overlap.reason.value for overlap in found)))


if __name__ == "__main__":
    main(sys.argv[1:])
