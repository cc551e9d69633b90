"""How a process of ours sets up torch and what comes with it."""

import os


def set_up_torch(num_threads: int, implementation: str = "compiled") -> None:
    """Threads of torch, the ops in force, and quiet libraries: a progress bar of theirs would tear ours."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import logging as python_logging

    import torch
    from transformers.utils import logging

    from earl import ops

    logging.set_verbosity_error()
    # peft imports it where it is installed, and it then tells of 4-bit kernels that nothing here uses.
    python_logging.getLogger("bitsandbytes").setLevel(python_logging.ERROR)
    logging.disable_progress_bar()
    ops.select(implementation)
    if num_threads:
        torch.set_num_threads(num_threads)
