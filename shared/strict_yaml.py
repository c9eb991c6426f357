"""YAML files to checked, frozen settings; an error names the file, the line and the key.

YAML is read safely and plainly: no aliases, no tags, no merges, no duplicate keys, no dates, a
limit of size and depth. Values are never coerced: ``NO`` where a string is asked is an error, not
a string, and ``012`` is text, not the ten that YAML 1.1 sees in it.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from shared.errors import ConfigError

MAX_BYTES = 1_000_000
MAX_DEPTH = 30
Location = tuple[str | int, ...]


class Settings(BaseModel):
    """Base of every settings class: frozen, strict, unknown keys refused, numbers finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    moved: ClassVar[Mapping[str, str]] = {}
    """Keys that stood here in an earlier release, and what became of each."""


SettingsT = TypeVar("SettingsT", bound=Settings)


class _PlainLoader(yaml.SafeLoader):
    """A safe loader to which only plain numbers, yes/no words and blanks are not text."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, regexp) for tag, regexp in resolvers if tag.endswith((":bool", ":null"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class _PlainDumper(yaml.SafeDumper):
    """Quotes what either reader, YAML 1.1's or ours, would not take for text."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: list(resolvers)
        for first, resolvers in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }


_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,99})$")
_FLOAT = re.compile(
    r"([-+]?(0|[1-9][0-9]*)?\.[0-9]+([eE][-+]?[0-9]+)?|[-+]?(0|[1-9][0-9]*)\.?([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
)
for _kind in (_PlainLoader, _PlainDumper):
    _kind.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def load_settings(path: Path, settings: type[SettingsT]) -> SettingsT:
    """Read a YAML file into a settings class.

    Raises:
        ConfigError: If the file is missing, too large, not plain YAML, or a key is unknown,
            missing, of the wrong type or out of range. The text names the file, line and key.
    """
    try:
        size = path.stat().st_size
        text = path.read_text(encoding="utf-8") if size <= MAX_BYTES else ""
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file. Check the path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text ({error}).") from None
    if size > MAX_BYTES:
        raise ConfigError(f"{path}: is {size:,} bytes; a settings file has at most {MAX_BYTES:,}.")
    return parse_settings(text, settings, name=str(path))


def parse_settings(text: str, settings: type[SettingsT], *, name: str) -> SettingsT:
    """Check YAML text against a settings class; `name` stands for the file in errors."""
    lines: dict[Location, int] = {}
    try:
        _refuse_what_is_not_plain(text, name)
        loader = _PlainLoader(text)
        try:
            root = loader.get_single_node()
            if not isinstance(root, yaml.MappingNode):
                raise ConfigError(f"{name}: must hold keys and values, for example 'seed: 1'.")
            _collect_lines(root, (), lines, name)
            content = loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not readable"
        raise ConfigError(f"{name}{line}: is not plain YAML ({problem}).") from None
    except ValueError as error:
        raise ConfigError(f"{name}: is not plain YAML ({error}).") from None
    try:
        return settings.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise ConfigError(_explain(error.errors(), settings, lines, name)) from None
    except TypeError as error:
        raise ConfigError(
            f"{name}: holds a value that is no text, number or list ({error})."
        ) from None


def dump_settings(settings: Settings, *, context: str | None = None) -> str:
    """The settings as YAML that `parse_settings` reads back to the same value.

    A class of settings may write something else in a `context` that it knows.
    """
    content = settings.model_dump(mode="json", context=context)
    return yaml.dump(content, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True)


def _refuse_what_is_not_plain(text: str, name: str) -> None:
    """Stop at the first alias, tag or nesting too deep, before anything is built from the text."""
    depth = 0
    for event in yaml.parse(text, Loader=_PlainLoader):
        where = f"{name} line {event.start_mark.line + 1 if event.start_mark else 1}"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ConfigError(f"{where}: anchors and aliases are not allowed; write it out.")
        if getattr(event, "tag", None):
            raise ConfigError(f"{where}: tags ('!...') are not allowed; put text in quotes.")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ConfigError(f"{where}: is nested too deeply to be a settings file.")


def _collect_lines(node: yaml.Node, at: Location, lines: dict[Location, int], name: str) -> None:
    lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            _collect_lines(child, (*at, index), lines, name)
    elif isinstance(node, yaml.MappingNode):
        for key_node, child in node.value:
            here = (*at, str(key_node.value))
            line = key_node.start_mark.line + 1
            if here in lines:
                first = lines[here]
                raise ConfigError(
                    f"{name} line {line}: '{dotted(here)}' stands twice, see {first}."
                )
            _collect_lines(child, here, lines, name)
            lines[here] = line


def dotted(location: Iterable[str | int]) -> str:
    """A key's full name as users write it: ``branches[0].training.rounds``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _explain(
    errors: list[ErrorDetails], settings: type[Settings], lines: dict[Location, int], name: str
) -> str:
    """The first few problems, one a line, each with its line number and a remedy."""
    shown = [_explain_one(error, settings, lines, name) for error in errors[:5]]
    if len(errors) > len(shown):
        shown.append(f"... and {len(errors) - len(shown)} more")
    return "\n".join(shown)


def _explain_one(
    error: ErrorDetails, settings: type[Settings], lines: dict[Location, int], name: str
) -> str:
    location = _without_tags(error["loc"], lines)
    known = next((location[:n] for n in range(len(location), -1, -1) if location[:n] in lines), ())
    where = f"{name} line {lines.get(known, 1)}"
    key = dotted(known if error["type"] == "value_error" else location)
    if error["type"] == "extra_forbidden" and key in settings.moved:
        return f"{where}: {key} {settings.moved[key]}"
    if error["type"] == "extra_forbidden":
        siblings = _keys_at(settings, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), siblings, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(siblings)}."
        return f"{where}: {key} is not a setting; {hint}"
    if error["type"] == "missing":
        return f"{where}: {key} is missing. Add it."
    message = error["msg"].removeprefix("Value error, ")
    found = "" if error["type"] == "value_error" else f", found {_short(error['input'])}"
    return f"{where}: {key or 'the file'}: {message}{found}"


def _without_tags(location: Location, lines: dict[Location, int]) -> Location:
    """Drop the name of a union's variant, which stands in the location but not in the file."""
    found: Location = ()
    for part in location[:-1]:
        found = (*found, part) if (*found, part) in lines else found
    return (*found, *location[-1:])


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _keys_at(settings: type[Settings], location: Location) -> list[str]:
    """The keys that are known at a place in the settings."""
    candidates: list[type[BaseModel]] = [settings]
    for part in location:
        found: list[type[BaseModel]] = []
        for model in candidates:
            if isinstance(part, str) and part in model.model_fields:
                found.extend(_models_in(model.model_fields[part].annotation))
        candidates = found or candidates
    return sorted({key for model in candidates for key in model.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
