"""A problem as JSON-able data and back: the wire format of the farm, the service and problem files.

The keys are the fields of the dataclasses in `verifiers.types`; an oracle also has `kind`. Reading is strict: an
unknown key, a missing one and a value of the wrong type are each refused by name.
"""

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from enum import StrEnum

from toolchain.errors import UsageError
from verifiers.types import CocotbOracle, Problem, ReferenceOracle, TestbenchOracle

# kind on the wire -> type
_ORACLES = {"reference": ReferenceOracle, "testbench": TestbenchOracle, "cocotb": CocotbOracle}


def problem_to_json(problem: Problem) -> dict[str, object]:
    """The problem as dicts, lists, strings, numbers and None, with every field present."""
    return _with_lists(asdict(problem))


def problem_from_json(data: object) -> Problem:
    """The problem that `data` describes. Fields that have a default in `verifiers.types` may be left out.

    Raises `UsageError` that names the key which is unknown, missing or of the wrong type.
    """
    return _decode(Problem, data, "problem")


def _with_lists(value: object) -> typing.Any:
    if isinstance(value, dict):
        return {key: _with_lists(item) for key, item in value.items()}
    return [_with_lists(item) for item in value] if isinstance(value, list | tuple) else value


def _decode(expected: typing.Any, value: object, where: str) -> typing.Any:
    """`value` as an object of the annotated type `expected`; `where` is its path for messages."""
    if expected in _ORACLES.values():
        expected, value = _take_oracle_kind(value, where)
    if is_dataclass(expected):
        return _decode_record(expected, value, where)
    if typing.get_origin(expected) in (types.UnionType, typing.Union):
        return _decode_union(typing.get_args(expected), value, where)
    if typing.get_origin(expected) is tuple:
        if not isinstance(value, list):
            raise UsageError(f"{where} must be a list, got {type(value).__name__}")
        item_types = typing.get_args(expected)
        if item_types[-1] is Ellipsis:
            item_types = item_types[:1] * len(value)
        if len(value) != len(item_types):
            raise UsageError(f"{where} must have {len(item_types)} items, got {len(value)}")
        return tuple(
            _decode(item_type, item, f"{where}[{index}]")
            for index, (item_type, item) in enumerate(zip(item_types, value, strict=True))
        )
    if isinstance(expected, type) and issubclass(expected, StrEnum):
        if value not in list(expected):
            raise UsageError(f"{where} is {value!r:.80}; use one of {', '.join(expected)}")
        return expected(value)
    if type(value) is not expected:
        raise UsageError(f"{where} must be of type {expected.__name__}, got {value!r:.80}")
    return value


def _decode_union(members: tuple[typing.Any, ...], value: object, where: str) -> typing.Any:
    """A value that may be None, or one of the oracles (each tells its own kind)."""
    if value is None and type(None) in members:
        return None
    return _decode(next(member for member in members if member is not type(None)), value, where)


def _decode_record(record: typing.Any, value: object, where: str) -> typing.Any:
    if not isinstance(value, Mapping):
        raise UsageError(f"{where} must be an object, got {type(value).__name__}")
    known: dict[str, Field] = {field.name: field for field in fields(record) if field.name != "kind"}
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise UsageError(f"{where} has the unknown key {unknown[0]!r}; its keys are {', '.join(known)}")
    missing = [
        name
        for name, field in known.items()
        if name not in value and field.default is MISSING and field.default_factory is MISSING
    ]
    if missing:
        raise UsageError(f"{where} lacks the key {missing[0]!r}; add it")
    hints = typing.get_type_hints(record)
    return record(**{name: _decode(hints[name], item, f"{where}.{name}") for name, item in value.items()})


def _take_oracle_kind(value: object, where: str) -> tuple[type, dict[str, object]]:
    if not isinstance(value, Mapping) or "kind" not in value:
        raise UsageError(
            f"{where} must be an object with the key 'kind', one of {', '.join(_ORACLES)}; got {value!r:.80}"
        )
    if value["kind"] not in _ORACLES:
        raise UsageError(f"{where}.kind is {value['kind']!r}; use one of {', '.join(_ORACLES)}")
    return _ORACLES[value["kind"]], {key: item for key, item in value.items() if key != "kind"}
