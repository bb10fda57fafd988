"""From plain values (TOML, command line) to objects: checked against the constructor's own signature.

The constructors are the configuration, so there is nothing to keep in step with them: an option exists because a
parameter does, its default is the parameter's, and a misspelt name is told the nearest one.
"""

import importlib
import inspect
import pkgutil
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from torch import nn

from dreamkit.names import did_you_mean
from dreamkit.schedules import Ramp, value_at

# Not `list["Plain"]`: checkers at run time cannot follow an alias into itself.
Plain = str | int | float | bool | list[Any] | dict[str, Any]
"What TOML can say; lists and tables hold the same."


QUOTES = "'\""
_WORDS = {float: "a number", int: "a whole number", str: "a text", bool: "true or false"}


class RecipeError(ValueError):
    """A recipe says something that dreamkit does not understand; the message names the place and what is known."""


@dataclass(frozen=True)
class Spec:
    """A class and the arguments to construct it with: an object that is yet to be made."""

    cls: type
    name: str
    "What `type` said; empty for a part that needs no choice."
    arguments: Mapping[str, Any]

    def build(self, **extra: Any) -> Any:
        """The object; `extra` are arguments that only the caller knows (a device, a seed).

        Raises RecipeError where the constructor refuses its arguments.
        """
        made = {key: value.build() if isinstance(value, Spec) else value for key, value in self.arguments.items()}
        return _construct(self.name or self.cls.__name__, self.cls, {**made, **extra})

    def finished(self) -> "Spec":
        """The same with every ramp at its end: an object as it stands when its run is done."""
        return replace(self, arguments={key: _finished(value) for key, value in self.arguments.items()})


def read_spec(place: str, table: Mapping[str, Plain], base: type) -> Spec:
    """Read `{type = "name", ...}`, where name is a final subclass of `base` in its package (`type_name`).

    Raises RecipeError for unknown types and options, and for values of the wrong type.
    """
    known = options(base)
    given = table.get("type")
    if not isinstance(given, str) or given not in known:
        raise RecipeError(f"{place}.type: {unknown(repr(given), list(known))}")
    cls = known[given]
    return Spec(cls, given, _arguments(place, cls, {key: value for key, value in table.items() if key != "type"}))


def read_value(place: str, value: Plain, annotation: Any) -> Any:
    """Convert a plain value to what `annotation` asks for; raises RecipeError where it cannot be."""
    choices = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    for choice in choices:
        origin = typing.get_origin(choice) or choice
        if isinstance(value, dict) and inspect.isclass(origin) and origin not in (*_WORDS, tuple, type(None)):
            return _read_object(place, value, origin)
        if origin is tuple and isinstance(value, list):
            return _read_tuple(place, value, typing.get_args(choice))
        if inspect.isclass(origin) and _fits(value, origin):
            return float(typing.cast(float, value)) if origin is float else value
    wanted = " or ".join(_named(choice) for choice in choices if choice is not type(None))
    raise RecipeError(f"{place}: expected {wanted}; got {value!r}")


def options(base: type) -> dict[str, type]:
    """What `type` may say for an abstract class: its final subclasses in the files of its package, by name."""
    package = importlib.import_module(base.__module__.rpartition(".")[0])
    modules = [importlib.import_module(f"{package.__name__}.{e.name}") for e in pkgutil.iter_modules(package.__path__)]
    found = [cls for module in modules for cls in vars(module).values() if _is_final(cls, base, module.__name__)]
    return {type_name(cls): cls for cls in sorted(found, key=lambda cls: cls.__name__)}


def plain(value: Any) -> Any:
    """The inverse of `read_value`: tables, lists and numbers that TOML can hold; None entries are left out."""
    if isinstance(value, Spec):
        filled = {key: plain(entry) for key, entry in _filled(value).items()}
        kept = {key: entry for key, entry in filled.items() if entry is not None}
        return {"type": value.name, **kept} if value.name else kept
    if is_dataclass(value) and not isinstance(value, type):
        table = {entry.name: plain(getattr(value, entry.name)) for entry in fields(value) if entry.init}
        table = {key: entry for key, entry in table.items() if entry is not None}
        return {"type": type_name(type(value)), **table} if _needs_type(value) else table
    if isinstance(value, tuple | list):
        return [plain(entry) for entry in value]
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return value


def unknown(given: str, known: Sequence[str]) -> str:
    """Say that a name is unknown, which are known, and which of them was probably meant."""
    return f"unknown name {given}{did_you_mean(given.strip(QUOTES), known)} Known: {', '.join(known)}"


def _arguments(place: str, cls: type, table: Mapping[str, Plain]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls.__init__)
    names = [name for name in inspect.signature(cls).parameters if name not in ("self", "seed", "device")]
    for key in table:
        if key not in names:
            raise RecipeError(f"{place}: {unknown(repr(key), names) if names else f'takes no options; got {key!r}'}")
    return {key: read_value(f"{place}.{key}", value, hints[key]) for key, value in table.items()}


def _read_object(place: str, table: dict[str, Plain], cls: type) -> Any:
    # An abstract annotation means a choice; modules are made late, so that two scenes never share one.
    spec = read_spec(place, table, cls) if inspect.isabstract(cls) else Spec(cls, "", _arguments(place, cls, table))
    return spec if issubclass(spec.cls, nn.Module) else _construct(place, spec.cls, dict(spec.arguments))


def _construct(place: str, cls: type, arguments: dict[str, Any]) -> Any:
    try:
        return cls(**arguments)
    except (TypeError, OverflowError) as error:
        raise RecipeError(f"{place}: {error}") from error
    except ValueError as error:
        if type(error) is not ValueError:
            raise  # A kind of error of its own (an unknown prior, say) speaks for itself.
        raise RecipeError(f"{place}: {error}") from error


def _read_tuple(place: str, value: list[Plain], inner: tuple[Any, ...]) -> tuple[Any, ...]:
    kinds = [inner[0]] * len(value) if len(inner) == 2 and inner[1] is Ellipsis else list(inner)
    if len(kinds) != len(value):
        raise RecipeError(f"{place}: expected {len(kinds)} values; got {len(value)}: {value}")
    return tuple(read_value(f"{place}[{i}]", v, k) for i, (v, k) in enumerate(zip(value, kinds, strict=True)))


def _finished(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.finished()
    return value_at(value, 1.0) if isinstance(value, Ramp) else value


def _fits(value: Plain, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _named(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        return f"a list ({', '.join(_named(k) for k in typing.get_args(kind) if k is not Ellipsis)} ...)"
    return _WORDS.get(kind, f"a table ({kind.__name__})" if inspect.isclass(kind) else str(kind))


def _is_final(cls: Any, base: type, module: str) -> bool:
    return inspect.isclass(cls) and issubclass(cls, base) and cls.__module__ == module and not inspect.isabstract(cls)


def _filled(spec: Spec) -> dict[str, Any]:
    parameters = inspect.signature(spec.cls).parameters
    defaults = {name: p.default for name, p in parameters.items() if p.default is not inspect.Parameter.empty}
    return {
        name: spec.arguments.get(name, defaults.get(name))
        for name in parameters
        if name not in ("seed", "device") and (name in spec.arguments or name in defaults)
    }


def _needs_type(value: Any) -> bool:
    return any(inspect.isabstract(cls) for cls in type(value).__mro__[1:])


def type_name(cls: type) -> str:
    """What `type` says for a class: the name of its file where that is its own name, else its name in snake_case.

    Acronyms that papers spell in two cases stay one word: `SiD` in sid.py is "sid".
    """
    leaf = cls.__module__.rpartition(".")[2]
    return leaf if leaf.replace("_", "") == cls.__name__.lower() else snake(cls.__name__)


def snake(name: str) -> str:
    """`HashField` to `hash_field`, `SDS` to `sds`, `DreamTime` to `dream_time`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
