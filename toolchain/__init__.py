"""Talks to programs: finds a tool, builds its argv, runs it under limits, reads its log.

Knows nothing of problems, candidates or rewards. Never imports torch.
"""
