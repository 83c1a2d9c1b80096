"""What an agent said to Langfuse on purpose (``langfuse.*``), mended where the server would drop or misread it. Pure.

Owns those repairs. It changes how something is said, never what; ``langfuse.internal.*`` it does not touch.
The server is 4.16; what it does with each is said where it is mended.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from sidecar.enrich.edit import Edit
from sidecar.enrich.facts import Kind
from sidecar.enrich.keys import (
    ANY_METADATA,
    COMPLETION_START,
    ENVIRONMENTS,
    INPUT,
    METADATA,
    MODEL_PARAMETERS,
    MODEL_PARAMETERS_MISSPELT,
    OUTPUT,
    PROMPT_ALIASES,
    TRACE_INPUT,
    TRACE_METADATA,
    TRACE_NAME,
    TRACE_OUTPUT,
    TYPE,
    VERSION,
)
from sidecar.enrich.plain import to_json
from sidecar.enrich.times import iso_of
from sidecar.enrich.view import SpanView
from sidecar.wire.attributes import Value, find
from sidecar.wire.shallow_pb2 import Resource

TYPES = frozenset(kind.value for kind in Kind) - {Kind.INFRA.value}
MAX_TRACE_NAME = 1000
MAX_ENVIRONMENT = 40
_SDK = "langfuse-sdk"
_JAVASCRIPT = frozenset({"nodejs", "webjs"})
_METADATA_PREFIXES = (f"{METADATA}.", f"{TRACE_METADATA}.")
_TOP_LEVEL = (METADATA, TRACE_METADATA, ANY_METADATA)
_RESERVED = re.compile(r"(?:langfuse[-_]?)+")
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9_-]+")
_MAX_ENVIRONMENT_READ = 256
"""Characters of an environment's name that are looked at; 40 are shown."""


def mend_explicit(edit: Edit) -> None:
    """All repairs; none where neither an environment is said nor any key begins with ``langfuse.``."""
    view = edit.view
    if edit.traits.has_environment:
        _mend_environment(edit)
    if not edit.traits.is_explicit:
        return
    _mend_type(edit)
    _decode_metadata(edit)
    _mend_top_level_metadata(edit)
    _mend_trace(edit)
    _mend_prompt(edit)
    _mend_completion_start(edit)
    if MODEL_PARAMETERS_MISSPELT in view and MODEL_PARAMETERS not in view and (text := view.text(MODEL_PARAMETERS_MISSPELT)):
        edit.put(MODEL_PARAMETERS, text)
        edit.remove(MODEL_PARAMETERS_MISSPELT)


def resource_attributes(resource: Resource) -> dict[str, str]:
    """What each span of a resource must say itself, because the server would misread it on the resource. Worked out once a resource.

    An environment is lower-cased by the server, cut to 40 and replaced by ``default`` if it still has a character beside
    letters, digits, ``-`` and ``_``; a version that is no string drops the observation.
    """
    said: dict[str, str] = {}
    for key in ENVIRONMENTS:
        value = find(resource.attributes, key.encode())
        if value:
            plain = environment_name(value)
            if plain is not None:
                said[ENVIRONMENTS[0]] = plain
            break
    version = find(resource.attributes, b"service.version")
    if version is not None and not isinstance(version, str):
        said[VERSION] = _as_text(version)
    return said


def environment_name(value: Value) -> str | None:
    """A name that the server keeps, made of one that it would replace by ``default``; None when it would keep it, or nothing is left of it."""
    name = str(value)[:_MAX_ENVIRONMENT_READ].lower()
    shown = _RESERVED.sub("", name, count=1) if name.startswith("langfuse") else name
    shown = shown[:MAX_ENVIRONMENT]
    if isinstance(value, str) and not _NOT_IN_A_NAME.search(shown):
        return None
    return _NOT_IN_A_NAME.sub("-", shown).strip("-") or None


def _mend_environment(edit: Edit) -> None:
    view = edit.view
    for key in ENVIRONMENTS:
        value = view.get(key)
        if value:
            plain = environment_name(value)
            if plain is not None:
                edit.put(key, plain)
            return


def _mend_type(edit: Edit) -> None:
    """A type in capitals is unknown to the server; one that is unknown in any case is left out, so that the facts decide."""
    said = edit.view.get(TYPE)
    if said is None:
        return
    lower = said.lower() if isinstance(said, str) else ""
    if lower not in TYPES:
        edit.remove(TYPE)
    elif lower != said:
        edit.put(TYPE, lower)


def _is_json_encoding_sdk(view: SpanView) -> bool:
    """Python's SDK 5 writes every metadata value as JSON, strings included; no other does."""
    if view.scope_name != _SDK:
        return False
    major = view.scope_version.partition(".")[0]
    return major.isdecimal() and len(major) <= 3 and int(major) >= 5 and view.resource("telemetry.sdk.language") not in _JAVASCRIPT


def _decode_metadata(edit: Edit) -> None:
    """A string with JSON's quotes around it is shown with them, and no filter finds it."""
    if not _is_json_encoding_sdk(edit.view):
        return
    for prefix in _METADATA_PREFIXES:
        for key, value in edit.view.items_with_prefix(prefix):
            if isinstance(value, str) and value[:1] == '"' and (text := _json_string(value)) is not None:
                edit.put(key, text)


def _json_string(text: str) -> str | None:
    try:
        return msgspec.json.decode(text, type=str)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None


def _mend_top_level_metadata(edit: Edit) -> None:
    """Metadata that is neither an object nor a list is dropped: it becomes one entry, ``value``."""
    for key in _TOP_LEVEL:
        value = edit.view.get(key)
        if value is None or isinstance(value, list | dict):
            continue
        if isinstance(value, str):
            if value.lstrip()[:1] in ("{", "[") and _is_json(value):
                continue
            text = (_json_string(value) if _is_json_encoding_sdk(edit.view) else None) or value
        else:
            text = to_json(value)
        edit.put(f"{key}.value", text)
        edit.remove(key)


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return False
    return True


def _mend_trace(edit: Edit) -> None:
    """The trace's input and output, which SDKs before 5 sent, are shown where the root's are, and nowhere else."""
    view = edit.view
    for key, own in ((TRACE_INPUT, INPUT), (TRACE_OUTPUT, OUTPUT)):
        if key not in view:
            continue
        text = view.text(key)
        if text is not None:
            if view.is_root and own not in view:
                edit.put(own, text)
            elif text != view.text(own):
                edit.put(f"{METADATA}.{key.removeprefix('langfuse.').replace('.', '_')}", text)
            edit.remove(key)
    name = view.text(TRACE_NAME)
    if name is not None and len(name) > MAX_TRACE_NAME:
        edit.put(TRACE_NAME, name[:MAX_TRACE_NAME])
    version = view.get(VERSION)
    if version is not None and not isinstance(version, str):
        edit.put(VERSION, _as_text(version))


def _mend_prompt(edit: Edit) -> None:
    """A prompt's name without a whole-number version, or the other way round, drops an observation: what is there moves to metadata."""
    view = edit.view
    for name_key, version_key in PROMPT_ALIASES:
        if name_key not in view and version_key not in view:
            continue
        name, version = view.text(name_key), view.int(version_key)
        if name is not None and version is not None and 0 <= version < 1 << 31:
            if not isinstance(view.get(version_key), int):
                edit.put_int(version_key, version)
            continue
        for key, short in ((name_key, "prompt_name"), (version_key, "prompt_version")):
            if key in view:
                edit.put(f"{METADATA}.{short}", _as_text(view.get(key)))
                edit.remove(key)


def _as_text(value: Value) -> str:
    return value if isinstance(value, str) else to_json(value)


def _mend_completion_start(edit: Edit) -> None:
    """A time that is not full ISO 8601 with an offset drops an observation. The SDKs' JSON-quoted form is read."""
    if COMPLETION_START not in edit.view:
        return
    said = edit.view.text(COMPLETION_START) or ""
    try:
        time = datetime.fromisoformat(said.strip('"'))
    except ValueError:
        edit.remove(COMPLETION_START)
        if said:
            edit.put(f"{METADATA}.completion_start_time", said)
        return
    if time.tzinfo is None:
        edit.put(COMPLETION_START, iso_of(time.replace(tzinfo=UTC)))
    elif "T" not in said:
        edit.put(COMPLETION_START, iso_of(time))
