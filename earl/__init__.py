"""Learns: rollouts, rewards, advantages, gates, loss, step, checkpoints, and the command line."""
