"""Who judges, as a config says."""

from pathlib import Path

from earl.config import VerifierConfig
from verifiers.connect import FarmSettings, Judge, connect


def open_judge(verifier: VerifierConfig, *, num_workers: int | None = None) -> Judge:
    """The judge of a config, with `num_workers` in place of its own number. ToolNotFound without a simulator here."""
    settings = FarmSettings(
        num_workers=num_workers or verifier.num_workers, isolation=verifier.isolation, cache=verifier.cache
    )
    return connect(verifier.address, settings, token_file=Path(verifier.token_file) if verifier.token_file else None)
