"""The tables of a TOML file: with what it extends, and with `section.key=value` overrides. Checks no key or value."""

import tomllib
from pathlib import Path
from typing import Any

from toolchain.errors import UsageError


def read_values(path: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """The tables of a config file with overrides applied, unchecked. UsageError as for `load_config`."""
    values = _read_toml(path)
    for override in overrides:
        _apply_override(values, override)
    return values


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the config {path}: {error.strerror}; give the path of a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no valid TOML: {error}") from error
    base = values.pop("extends", None)
    if base is None:
        return values
    return _merged(_read_toml(path.parent / str(base)), values)


def _merged(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in values.items():
        both_tables = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if both_tables else value
    return result


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or "." not in key:
        raise UsageError(f"an override is section.key=value; got {override!r}")
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    *tables, last = key.strip().split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise UsageError(f"override {override!r}: {table} is a value, not a section")
    values[last] = value
