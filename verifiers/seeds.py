"""Stimulus seeds: one for all rollouts of a group, and fixed public ones for evaluation."""

import hashlib
import json

# The first 63 bits of sha256("earl-rtl evaluation seed 0") and 1: published, so that scores can be repeated.
EVAL_SEEDS = tuple(
    int.from_bytes(hashlib.sha256(f"earl-rtl evaluation seed {i}".encode()).digest()[:8], "big") >> 1 for i in range(2)
)


def group_seed(run_seed: int, problem_id: str, epoch: int) -> int:
    """The seed of every rollout of a problem in one epoch of a run, in [0, 2**63)."""
    key = json.dumps([run_seed, problem_id, epoch], separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1
