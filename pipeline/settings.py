"""Which settings decide what comes out of a run, and which only how the work is done.

A limit on cost, a number of connections or the address of a server changes no result, so a run that was begun with one
value is continued with another. Such fields are declared with `operational`; `run.json` records all the others.
"""

import dataclasses
import json
from typing import Any

_OPERATIONAL = "operational"
_WHERE = ("output_dir", "overwrite")


def operational(default: Any) -> Any:
    """A field of a configuration dataclass that changes no result; `default` is a value, or a function that makes one."""
    metadata = {_OPERATIONAL: True}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def result_settings(config: Any) -> dict[str, Any]:
    """What a configuration dataclass says of the result, with lists and texts where JSON has no tuples and paths."""
    settings: dict[str, Any] = json.loads(json.dumps(_without_operational(config), default=_as_text))
    return settings


def _as_text(value: Any) -> str:
    """A function by its name: its text has an address in it, another one in every process."""
    return f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else str(value)


def _without_operational(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {
            item.name: _without_operational(getattr(value, item.name))
            for item in dataclasses.fields(value)
            if not item.metadata.get(_OPERATIONAL) and item.name not in _WHERE
        }
    if isinstance(value, list | tuple):
        return [_without_operational(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_operational(item) for key, item in value.items()}
    return value
