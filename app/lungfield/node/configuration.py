"""Read and check the settings from a YAML file and the command line, which takes precedence."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from lungfield.batch.outputs import check_formats, check_structures
from lungfield.errors import DataError
from lungfield.node.settings import (
    OBJECTS,
    Destination,
    Poll,
    Settings,
    checked_ae_title,
    checked_name,
    parse_address,
)

_LARGEST_FILE_BYTES = 1 << 20
_GIVEN_BY_ADDRESS = ("kind", "ae_title", "host", "port", "url", "folder")


def read_settings(config: Path | None, options: Mapping[str, Any]) -> Settings:
    """Read the settings of a node.

    Args:
        config: a YAML file whose keys are the attributes of `Settings`, with '-' or '_'; None for none.
        options: of the command line, by the same names; None for an option that was not given.

    Raises:
        DataError: the file cannot be read, a key is unknown, a value is of the wrong type, or settings
            contradict each other.
    """
    given = {} if config is None else _read(config)
    given = {**given, **{name: value for name, value in options.items() if value is not None}}
    where = "the command line" if config is None else str(config)
    if "state" not in given:
        raise DataError("There is no state folder; give --state DIR, or 'state: DIR' in the YAML file.")
    settings = _made(Settings, given, where)
    return _checked(settings)


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            raise DataError(f"{path}: is too large for settings.")
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f" in line {mark.line + 1}"
        raise DataError(f"{path}: is no valid YAML{line}.") from error
    if not isinstance(content or {}, dict):
        raise DataError(f"{path}: holds no settings; write, for example, 'ae_title: LUNGFIELD'.")
    return {_key(key): value for key, value in (content or {}).items()}


def _checked(settings: Settings) -> Settings:
    """Check that the settings are consistent, and fill in the formats of the destinations."""
    formats = check_formats(settings.formats)
    if not formats:
        raise DataError(f"There are no formats to make; choose from {', '.join(OBJECTS)}.")
    objects = tuple(one for one in formats if one in OBJECTS)
    if settings.skipped_notice and "sc" not in objects:
        raise DataError(
            "'skipped_notice' makes secondary captures, but 'formats' lacks 'sc'; add 'sc', or remove it."
        )
    names: set[str] = set()
    destinations = []
    for one in settings.send_to:
        if one.name in names:
            raise DataError(f"Two destinations are named '{one.name}'; give each its own name.")
        names.add(one.name)
        if one.kind in ("dicom", "dicomweb"):
            wanted = check_formats(one.formats or objects)
            missing = [name for name in wanted if name not in objects]
            if missing:
                raise DataError(
                    f"The destination '{one.name}' has the format '{missing[0]}', which the node does not "
                    f"make; 'formats' of the node is {', '.join(formats)}."
                )
            one = replace(one, formats=wanted)
        destinations.append(one)
    for one in destinations:
        if one.fallback is not None and one.fallback not in names - {one.name}:
            raise DataError(
                f"The fallback '{one.fallback}' of '{one.name}' is not another destination"
                f"{_near(one.fallback, names)}"
            )
    if _is_circular({one.name: one.fallback for one in destinations}):
        raise DataError("Destinations are each other's fallbacks; one of them must not be a fallback.")
    if settings.poll and len({one.name for one in settings.poll}) < len(settings.poll):
        raise DataError("Two polled archives have the same name; give each its own name.")
    checked_ae_title(settings.ae_title)
    for title in settings.calling_ae_titles:
        checked_ae_title(title)
    return replace(
        settings,
        state=settings.state.expanduser().absolute(),
        formats=formats,
        structures=check_structures(settings.structures),
        send_to=tuple(destinations),
    )


def _is_circular(fallbacks: Mapping[str, str | None]) -> bool:
    for start in fallbacks:
        one, seen = fallbacks[start], {start}
        while one is not None:
            if one in seen:
                return True
            seen.add(one)
            one = fallbacks.get(one)
    return False


def _made(kind: Any, given: Any, where: str) -> Any:
    """An instance of a dataclass from a mapping of its attributes."""
    if not isinstance(given, Mapping):
        raise DataError(f"{where}: '{given}' is given instead of settings; give names and values.")
    given = {_key(key): value for key, value in given.items()}
    hints = typing.get_type_hints(kind)
    known = {one.name: one for one in fields(kind)}
    values = {}
    for key, value in given.items():
        if key not in known:
            raise DataError(f"{where}: there is no setting '{key}'{_near(key, known)}")
        values[key] = _value(hints[key], value, f"{where}: {key}")
    lacking = [
        name for name, one in known.items()
        if name not in values and one.default is MISSING and one.default_factory is MISSING
    ]  # fmt: skip
    if lacking:
        raise DataError(f"{where}: '{lacking[0]}' is missing.")
    return kind(**values)


def _value(hint: Any, value: Any, where: str) -> Any:
    """Convert a value to the type of its attribute."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _value(next(one for one in arguments if one is not type(None)), value, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise DataError(f"{where}: '{value}' is none of {', '.join(map(str, arguments))}.")
        return value
    if origin is tuple:
        several = value if isinstance(value, Sequence) and not isinstance(value, str) else _split(value)
        return tuple(_value(arguments[0], one, where) for one in several)
    if hint is Destination:
        return _destination(value, where)
    if hint is Poll and isinstance(value, str):
        value = {"url": value}
    if is_dataclass(hint):
        return _made(hint, value, where)
    return _plain(hint, value, where)


def _plain(hint: Any, value: Any, where: str) -> Any:
    if hint is Path and isinstance(value, str | Path) and str(value):
        return Path(value).expanduser()
    if hint is str and isinstance(value, str):
        return value
    if hint is bool and isinstance(value, bool):
        return value
    if hint in (int, float) and isinstance(value, int | float) and not isinstance(value, bool):
        if value < 0 or (hint is int and value != int(value)):
            raise DataError(f"{where}: {value} is no {'whole ' if hint is int else ''}number of 0 or more.")
        return hint(value)
    kinds = {Path: "a path", str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
    raise DataError(f"{where}: '{value}' is not {kinds[hint]}.")


def _split(value: Any) -> list[Any]:
    """A list of one value, or of several in a comma-separated text."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [value]


def _destination(value: Any, where: str) -> Destination:
    """A destination from its address, or from a mapping with 'address' and further attributes."""
    given = {"address": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or not isinstance(given.get("address"), str):
        raise DataError(f"{where}: a destination needs an 'address', such as AET@HOST:PORT.")
    rest = {_key(key): one for key, one in given.items() if key != "address"}
    parsed = parse_address(given["address"])
    known = {one.name for one in fields(Destination)} - {*parsed, *_GIVEN_BY_ADDRESS} | {"formats"}
    for key in rest:
        if key not in known:
            raise DataError(f"{where}: there is no setting '{key}'{_near(key, known)}")
    made: Destination = _made(Destination, {"name": _name_of(parsed), "formats": (), **parsed, **rest}, where)
    checked_name(made.name)
    return made


def _name_of(parsed: Mapping[str, Any]) -> str:
    """A default name for a destination: its AE title, or its kind with its host."""
    host = urlsplit(str(parsed.get("url", ""))).hostname or "files"
    return re.sub("[^A-Za-z0-9_]", "-", str(parsed.get("ae_title") or f"{parsed['kind']}-{host}"))[:40]


def _key(key: object) -> str:
    """The name of a setting; YAML 1.1 reads the key 'on' as True."""
    return "on" if key is True else str(key).replace("-", "_")


def _near(name: str, known: Any) -> str:
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{found[0]}'?" if found else "."
