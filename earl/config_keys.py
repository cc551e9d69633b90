"""Names of sections and keys that a config has not: each is told with the nearest that it has."""

import difflib
from typing import Any

from pydantic import BaseModel


def unknown_keys(config: type[BaseModel], values: dict[str, Any]) -> list[str]:
    """What is wrong with the names, a line each."""
    sections, problems = config.model_fields, []
    for name, table in values.items():
        if name not in sections:
            problems.append(f"unknown section [{name}]{_nearest(name, list(sections))}")
        elif not isinstance(table, dict):
            problems.append(f"{name} is a section; got the value {table!r}")
        else:
            known = list(sections[name].annotation.model_fields)
            problems += [f"unknown key {name}.{key}{_nearest(key, known)}" for key in table if key not in known]
    return problems


def known_part(config: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    """Without what `unknown_keys` names, so that the rest is checked too."""
    sections = config.model_fields
    return {
        name: {key: value for key, value in table.items() if key in sections[name].annotation.model_fields}
        for name, table in values.items()
        if name in sections and isinstance(table, dict)
    }


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(known)}"
