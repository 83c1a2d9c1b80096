"""Names of agents as they are met, made fit to group by: without ids, times and counters, and few enough to be labels. Pure.

Owns what in a name is an id and not a name. It must not know rules, models or spans.
"""

from __future__ import annotations

import re

MAX_READ = 256
"""Characters of a name that are looked at."""
MAX_NAME = 128
"""Characters of a name that is given back."""
TRACKED_NAMES = 256
OTHER = "other"
"""The label that all names share which came after the first 256."""
_MAX_OVERFLOW = 4096

_GLUE = r"[\s_\-:/.#@|,;=~]"
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_HEX = r"(?:0[xX])?(?=[a-fA-F]*[0-9])[0-9a-fA-F]{8,}"
_ULID = r"[0-7][0-9A-HJKMNP-TV-Z]{25}"
_DATE = r"(?:19|20)\d\d(?P<sep>[-./_]?)(?:0[1-9]|1[0-2])(?P=sep)(?:0[1-9]|[12]\d|3[01])"
_TIME = r"[T\s_-]\d\d[:.-]?\d\d(?:[:.-]?\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?"
_ONE = rf"(?<![^\W_])(?:{_UUID}|{_DATE}(?:{_TIME})?|{_HEX}|{_ULID})(?![^\W_])"
_BRACKETED = rf"(?P<open>[(\[{{<])?{_ONE}(?(open)[)\]}}>])"
# An id takes along what joins it to the name before it; at the front or the end of the text, what is left of it there.
# The possessive runs start only where a run starts, so that a text of nothing but dashes costs one pass.
_FRONT = re.compile(rf"^{_GLUE}*+{_BRACKETED}{_GLUE}*+")
_ID = re.compile(rf"(?<!{_GLUE}){_GLUE}*+{_BRACKETED}(?:{_GLUE}*+$)?")
_COUNTER_BACKWARDS = re.compile(rf"{_GLUE}*+(?P<close>[)\]}}>])?\d++(?(close)[(\[{{<])(?!\.\d){_GLUE}++")
"""Read from the end of the name. Not ``.1`` of ``4.1``, which is a version, and nothing without a joint, as in ``r2d2``."""
_NUMBERED = re.compile(
    r"(?<![^\W\d_])"
    r"(?:v|ver|version|release|tier|level|layer|gpt|claude|opus|sonnet|haiku|gemini|gemma|llama|mistral|grok|qwen|phi|glm|kimi|nova|deepseek)"
    r"(?:[-_ .]\d{1,2}(?!\d))+",
    re.IGNORECASE,
)
"""Words whose small number tells one thing from another: ``gpt-4`` is not a fourth ``gpt``."""
_MAX_PASSES = 5

_PROVIDER_ID = re.compile(r"asst_.+|arn:.+|(?=(?:[A-Z]*\d){2})(?=\d*[A-Z])[A-Z0-9]{10}|\d+")
"""OpenAI's and Azure's assistants (``asst_``), resource names of AWS, agents of Bedrock (ten capitals and digits)."""
_RANDOM = re.compile(
    r"(?:[A-Za-z]{1,12}[_-])?"
    r"(?:(?=[A-Za-z]*\d)(?=[a-z0-9]*[A-Z])(?=[A-Z0-9]*[a-z])[A-Za-z0-9]{16,}|(?=(?:[a-z]*\d){3})[a-z0-9]{20,})"
)
"""One word of 16 or more small letters, capitals and digits, or of 20 or more small letters with three digits; behind a prefix or not."""
_NOBODY = frozenset({"agent", "assistant", "asst", "id", "instance", "node", "run", "session", "task", "thread"})
"""What is left of ``agent-<uuid>`` names nobody."""


def tidy(text: str, limit: int = MAX_NAME) -> str:
    """The text on one line without what can't be printed (controls, lone surrogates), trimmed, at most ``limit`` characters; may be empty."""
    text = text[:MAX_READ]
    if not text.isprintable():
        text = "".join([each if each.isprintable() else " " for each in text])
    return text.strip()[:limit].rstrip()


def normal_name(name: str) -> str:
    """The name without uuids, hex ids (8 or more digits), dates and times, and without counters at its end; at most 128 characters.

    ``worker-17``, ``Worker #3`` and ``worker_3f2a9b1c`` are ``worker`` in their own letters; ``agent-v2``, ``r2d2``, ``gpt-4o-agent`` and
    ``layer-7-analyst`` stay. Where nothing is left, the trimmed name itself; ``agent`` for one without a printable character.
    Idempotent. Only the first 256 characters are read, so that the cost is bounded whatever comes.
    """
    whole = tidy(name, MAX_READ)
    plain = _without_ids(whole)
    cut = (plain or whole)[:MAX_NAME].strip()
    # The cut may have made a new end.
    return _without_ids(cut) or cut or "agent"


def looks_generated(agent_id: str) -> bool:
    """Whether an id was made by a machine (uuid, hex, ULID, ``asst_...``, random letters), so that it is no name."""
    text = tidy(agent_id, MAX_READ)
    if _PROVIDER_ID.fullmatch(text) or _RANDOM.fullmatch(text):
        return True
    plain = _without_ids(text)
    return not plain or (plain != text and plain.lower() in _NOBODY)


class TrackedNames:
    """The first 256 names, to be labels of metrics. Memory, at most: 256 names of 128 characters and 4,096 hashes, 0.6 MB."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._overflow: set[int] = set()

    @property
    def overflow(self) -> int:
        """How many different names came after the first 256; counted up to 4,096."""
        return len(self._overflow)

    def tracked(self, name: str) -> str:
        """The name, or ``other`` for one that came too late."""
        if name in self._names:
            return name
        name = tidy(name) or "agent"
        if name in self._names or len(self._names) < TRACKED_NAMES:
            self._names.add(name)
            return name
        if len(self._overflow) < _MAX_OVERFLOW:
            self._overflow.add(hash(name))
        return OTHER


def _without_ids(text: str) -> str:
    """Until nothing more is found: what an id leaves behind can be one. A text of ids inside ids, which no program makes, stays."""
    before = text
    for _ in range(_MAX_PASSES):
        shorter = _without_counters(_ID.sub("", _FRONT.sub("", before)).strip())
        if shorter == before:
            return shorter
        before = shorter
    return text


def _without_counters(text: str) -> str:
    backwards, size, at = text[::-1], len(text), 0
    if _COUNTER_BACKWARDS.match(backwards) is None:
        return text
    keep = max((found.end() for found in _NUMBERED.finditer(text)), default=0)
    while (found := _COUNTER_BACKWARDS.match(backwards, at)) is not None and size - found.end() >= keep:
        at = found.end()
    return text[: size - at]
