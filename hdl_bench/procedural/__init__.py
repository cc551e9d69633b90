"""Procedural problems: seeded families of specification, golden and protocol, with held-out splits."""
