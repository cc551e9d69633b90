"""Reward functions in the forms that other trainers call. Each file names the trainer and the signature it has."""
