"""Advantages: rewards of one group to advantages of its rollouts. One small file a method; the dict picks it."""

from earl.advantage.dr_grpo import dr_grpo
from earl.advantage.grpo import grpo
from earl.advantage.rloo import rloo

ADVANTAGES = {"grpo": grpo, "dr_grpo": dr_grpo, "rloo": rloo}
