"""A method's own parameters: a table of the config checked against the method's pydantic model."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from toolchain.errors import UsageError


class Params(BaseModel):
    """Base of every method's parameters: strict and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoParams(Params):
    """Of a method that has none."""


P = TypeVar("P", bound=BaseModel)


def bind_params(model: type[P], values: dict[str, Any], *, section: str, owner: str) -> P:
    """The parameters of the method `owner`. UsageError that names the key in `section` and what there is."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in (section, *first["loc"]))
        known = ", ".join(model.model_fields) or "none"
        raise UsageError(f"{key}: {first['msg']}; {owner} has: {known}") from error
