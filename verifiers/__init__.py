"""Judges: candidate text in, `Verdict` out.

Extract, screen, check the interface, compile, simulate, compare. Knows nothing of models. Never imports torch.
"""
