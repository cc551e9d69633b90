"""`earl merge`: an adapter and its base as one model folder."""

from pathlib import Path

import click

from earl.cli.common import console, set_up_torch


@click.command()
@click.argument("adapter", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
def command(adapter: Path, folder: Path) -> None:
    """Write the policy of the folder ADAPTER (a checkpoint of a run with [lora]) to FOLDER as a whole model.

    The result is what save_pretrained writes, in float32: every program that loads Hugging Face folders takes it.
    """
    from earl.config import PromptConfig
    from earl.lora import has_adapters, merge_adapters
    from earl.policy import load_policy
    from toolchain.errors import UsageError

    if folder.exists():
        raise UsageError(f"{folder} exists; choose a new folder")
    set_up_torch(0)
    policy = load_policy(str(adapter), PromptConfig())
    if not has_adapters(policy.model):
        raise UsageError(f"{adapter} is a whole model already; it has no adapter_config.json")
    merge_adapters(policy.model)
    policy.save_whole(folder)
    console.print(f"policy: {folder}")
