"""Losses: one small file a surrogate; the dict picks it. `earl.loss.policy` puts gate, surrogate and KL together."""

from earl.loss.ppo_clip import ppo_clip

LOSSES = {"ppo_clip": ppo_clip}
