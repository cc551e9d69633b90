"""Rollouts and updates in processes of their own, on one machine or on many that share a file system.

The trainer puts tasks into a folder and publishes its weights there; workers claim, sample, judge and put back groups.
"""
