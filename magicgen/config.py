"""Configuration files: strict models, one reader, errors that name the place.

Files are YAML (JSON is YAML too) read with a safe loader that differs from YAML 1.1 in four ways: ``1e-5`` is a number,
only ``true`` and ``false`` are booleans (``no`` stays a word), a key given twice is an error, and aliases are refused.
"""

import difflib
import json
import os
import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from magicgen.errors import ConfigError

MAX_CONFIG_BYTES = 16 * 1024**2
Lines = Mapping[tuple[str | int, ...], int]


class StrictModel(BaseModel):
    """Base of every configuration: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Model = TypeVar("Model", bound=BaseModel)


def load_config(path: str | os.PathLike[str], model_class: type[Model], overrides: Sequence[str] = ()) -> Model:
    """Read a YAML or JSON file into a model.

    Args:
        path: the file.
        model_class: what it must hold.
        overrides: ``a.b=value`` each, applied in order after the file; the value is YAML (``lr=1e-5``, ``size=[8, 8]``,
            ``name=null``), a number in the path is a list index.

    Raises:
        ConfigError: no such file, not YAML, an unknown key or a wrong value; the message names file, line and key.
    """
    values, lines = read_yaml(path)
    if values is None:
        values = {}
    for override in overrides:
        apply_override(values, override)
    return check_config(values, model_class, source=str(path), lines=lines, overrides=overrides)


def read_yaml(path: str | os.PathLike[str]) -> tuple[Any, Lines]:
    """Plain values of a YAML or JSON file, and the line (from 1) on which every key path stands.

    Raises:
        ConfigError: the file cannot be read or is not YAML.
    """
    return parse_yaml(_read_text(Path(path)), str(path))


def parse_yaml(text: str, source: str) -> tuple[Any, Lines]:
    """As :func:`read_yaml`, from text; ``source`` is what messages call it."""
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        lines: dict[tuple[str | int, ...], int] = {}
        _collect_lines(node, (), lines)
        return loader.construct_document(node), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{source}{where}: not valid YAML ({error.problem or error.context}).") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{source}: not valid YAML ({str(error).splitlines()[0]}).") from None
    except RecursionError:
        raise ConfigError(f"{source}: nested too deeply to be a configuration.") from None
    finally:
        if loader is not None:
            loader.dispose()


def dump_yaml(values: Any) -> str:
    """Plain values as YAML that :func:`parse_yaml` (and readers of YAML 1.1) read back as the same values."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=False)


def apply_override(values: Any, override: str) -> None:
    """Set one ``a.b=value`` in nested dictionaries and lists, in place; missing dictionaries are made.

    Raises:
        ConfigError: not of this form, or the path runs through something that has no such member.
    """
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {override}: expected KEY=VALUE with a dotted key, as in --set data.frames=17.")
    value, _ = parse_yaml(text, f"--set {override}")
    holder = values
    for depth, key in enumerate(keys[:-1]):
        if isinstance(holder, dict) and holder.get(key) is None:
            holder[key] = {}
        holder = _member(holder, key, override, ".".join(keys[:depth]))
    last = keys[-1]
    if isinstance(holder, list):
        _member(holder, last, override, ".".join(keys[:-1]))
        holder[int(last)] = value
    elif isinstance(holder, dict):
        holder[last] = value
    else:
        _no_member(override, ".".join(keys[:-1]))


def check_config(
    values: Any,
    model_class: type[Model],
    *,
    source: str,
    lines: Lines | None = None,
    overrides: Sequence[str] = (),
) -> Model:
    """Plain values as a model: no text where a number belongs, no fraction where a whole number does.

    Where a field is a union told apart by a key and has a default, a mapping without that key means the default's kind.

    Raises:
        ConfigError: at most ten findings, each with file, line, dotted key, what is expected and what was given.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: expected a mapping of keys to values; got {_shown(values)}.")
    try:
        text = json.dumps(_with_kinds(values, model_class), default=_as_text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: holds a value that no configuration can have ({error}).") from None
    try:
        # Strict JSON mode: lists may become tuples and text paths, but "7" is not 7 and 7.5 is not an int.
        return model_class.model_validate_json(text, strict=True)
    except ValidationError as error:
        findings = error.errors(include_url=False)
        told = [_explain(finding, values, model_class, source, lines or {}, overrides) for finding in findings[:10]]
        if len(findings) > 10:
            told.append(f"... and {len(findings) - 10} more.")
        raise ConfigError("\n".join(told)) from None


def _with_kinds(values: Any, model_class: type[BaseModel]) -> Any:
    if not isinstance(values, dict):
        return values
    filled = dict(values)
    for name, field in model_class.model_fields.items():
        given, tag = filled.get(name), field.discriminator
        if not isinstance(given, dict):
            continue
        if isinstance(tag, str) and tag not in given and hasattr(field.default, tag):
            given = {tag: getattr(field.default, tag), **given}
        models = _models_in(field.annotation)
        if isinstance(tag, str):
            models = [model for model in models if given.get(tag) in get_args(model.model_fields[tag].annotation)]
        filled[name] = _with_kinds(given, models[0]) if len(models) == 1 else given
    return filled


def _explain(
    finding: Any, values: Any, model_class: type[BaseModel], source: str, lines: Lines, overrides: Sequence[str]
) -> str:
    path, given = _real_path(finding["loc"], values)
    dotted = ".".join(str(part) for part in path)
    by_override = [text for text in overrides if dotted.startswith(text.partition("=")[0].strip())]
    line = next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), None)
    where = f"--set {by_override[-1]}" if by_override else source + (f", line {line}" if line else "")
    head = f"{where}: {dotted}: " if dotted else f"{where}: "
    match finding["type"]:
        case "extra_forbidden":
            known = sorted(_known_keys(model_class, finding["loc"][:-1]))
            close = difflib.get_close_matches(str(path[-1]), known, n=1)
            advice = f"did you mean '{close[0]}'?" if close else f"expected one of {', '.join(known)}."
            return f"{head}unknown key; {advice}"
        case "missing":
            return f"{head}missing; this key is required."
        case _:
            message = str(finding["msg"]).removeprefix("Value error, ").rstrip(".")
            got = "" if isinstance(given, dict) else f"; got {_shown(given)}"  # all fields together say nothing
            return f"{head}{message[:1].lower()}{message[1:]}{got}."


def _real_path(location: Sequence[str | int], values: Any) -> tuple[tuple[str | int, ...], Any]:
    """pydantic's location without the names of union members, and the value that stands there."""
    path: list[str | int] = []
    current = values
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if isinstance(current, dict) and (part in current or last):
            path.append(part)
            current = current.get(part)
        elif isinstance(current, list) and isinstance(part, int) and part < len(current):
            path.append(part)
            current = current[part]
    return tuple(path), current


def _known_keys(model_class: type[BaseModel], location: Sequence[str | int]) -> set[str]:
    """The field names that a model has at a location, over all members of unions."""
    models = [model_class]
    for part in location:
        if isinstance(part, int):
            continue
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        if fields:
            models = [inner for field in fields for inner in _models_in(field.annotation)]
        else:  # the name of a union's member
            models = [model for model in models if part in _tags(model)] or models
    return {name for model in models for name in model.model_fields}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]


def _tags(model: type[BaseModel]) -> set[str]:
    kind = model.model_fields.get("kind")
    return {model.__name__, *(str(value) for value in get_args(kind.annotation if kind else None))}


def _member(holder: Any, key: str, override: str, path: str) -> Any:
    if isinstance(holder, dict):
        return holder[key]
    if isinstance(holder, list) and key.isdigit() and int(key) < len(holder):
        return holder[int(key)]
    _no_member(override, path, f" (a list of {len(holder)})" if isinstance(holder, list) else "")


def _no_member(override: str, path: str, what: str = "") -> NoReturn:
    raise ConfigError(f"--set {override}: '{path}'{what} has no such member.")


def _shown(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return f"a list of {len(value)}"
        case _:
            text = repr(value)
            return text if len(text) <= 80 else text[:77] + "..."


def _as_text(value: object) -> str:
    if isinstance(value, date):  # YAML reads 2024-05-01 as a date
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} {_shown(value)}")


def _read_text(path: Path) -> str:
    try:
        if path.is_file() and path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_CONFIG_BYTES // 1024**2} MiB; that is no configuration.")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"There is no file {path}. Check the path.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text; expected a YAML or JSON file.") from None
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path} cannot be read ({reason}).") from None


_FLOAT_TAG, _BOOL_TAG = "tag:yaml.org,2002:float", "tag:yaml.org,2002:bool"
_REPLACED_TAGS = (_FLOAT_TAG, _BOOL_TAG)
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_FLOAT = re.compile(
    r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$"
)


class _Loader(yaml.SafeLoader):
    """The safe loader with the differences that this module's docstring lists."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own form)
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED_TAGS]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not accepted", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float):
                raise yaml.constructor.ConstructorError(None, None, "keys must be plain words", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key}' is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=True)


_Loader.add_implicit_resolver(_FLOAT_TAG, _FLOAT, list("-+0123456789."))
_Loader.add_implicit_resolver(_BOOL_TAG, _BOOL, list("tTfF"))


class _Dumper(yaml.SafeDumper):
    """Quotes words that either kind of reader would take for numbers; lists of numbers stand on one line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def plain_list(self, values: Any) -> yaml.Node:
        flow = bool(values) and all(isinstance(value, int | float) for value in values)
        return self.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=flow)


_Dumper.add_implicit_resolver(_FLOAT_TAG, _FLOAT, list("-+0123456789."))
_Dumper.add_representer(list, _Dumper.plain_list)
_Dumper.add_representer(tuple, _Dumper.plain_list)


def _collect_lines(node: yaml.Node, path: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            lines[inner] = key.start_mark.line + 1
            _collect_lines(value, inner, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*path, index)] = value.start_mark.line + 1
            _collect_lines(value, (*path, index), lines)
