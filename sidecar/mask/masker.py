"""One text under one key: what of it is hidden, and how it reads then. Pure.

Owns the order of judgement for a value: its key, then JSON, then text; own labels are never touched again; whatever fails hides
the whole value. It must not know messages, attributes or where a text comes from. Texts are UTF-8 bytes, results too; a result that *is* the
argument means that nothing was found.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.mask import json_text
from sidecar.mask.actions import Action, own_labels
from sidecar.mask.audit import CUT_LABEL, FAILED_LABEL, KEY_RULE, Tally
from sidecar.mask.detector import Hit
from sidecar.mask.edits import Edit, apply_in_turns
from sidecar.mask.engine import Engine, Scan
from sidecar.mask.json_text import ROOT, Harmless, Path, mask_json_in_turns, mask_text_in_turns
from sidecar.mask.keys import Generations, KeyVerdict
from sidecar.mask.policy import Policy, Scope
from sidecar.mask.turns import Turns, at_once
from sidecar.mask.windows import WorkLimit

CUT = f"[{CUT_LABEL}]".encode()
"""What stands for the end of a value that is too long to be searched."""
FAILED = f"[{FAILED_LABEL}]".encode()
"""What stands for a value whose masking failed."""
SHORT_BYTES = 16 * 1024
"""Texts of up to this many are searched at once: half a millisecond."""
CONTEXT_BYTES_MAX = 256
"""Short values are searched behind their key, as members of JSON are: a detector may want `token: ` before them."""
HARMLESS_SCOPES = 8
"""Scopes whose harmless member names are remembered, in each of two generations: 8 MiB in all."""
CUT_BYTES = 64 * 1024
"""Of a value that is too long, so much of what was searched goes too: no match (17 KB at most) and no label in its place reaches over it."""
_HALF_LABEL = re.compile(rb"\[[A-Z][A-Za-z0-9_:]{0,79}\Z")
ROUNDS_MAX = 4
"""Each finds only what an earlier one uncovered."""
_PROSE = "-told"
"""Ends the names of detectors that read a sentence before the value: with the value gone another sentence may begin there."""
_TIES = rb"[0-9A-Za-z_@+/:=%&?#~*$\x80-\xff-]"
_TIED_BEFORE = re.compile(rb"(?:" + _TIES + rb"|[0-9A-Za-z_][^\s\"']|[0-9].)\Z", re.DOTALL)
_TIED_AFTER = re.compile(_TIES + rb"|[^\s\"'][0-9A-Za-z_]|.[0-9]", re.DOTALL)
"""What may belong together with a value that is gone: what touches it, also beyond one sign, and digits beyond a space."""
_JSON_STARTS = frozenset(b'{[" \t\r\n\xef')
_JSON_VERDICTS = {"scan": json_text.KeyVerdict.SCAN, "keep": json_text.KeyVerdict.KEEP, "mask": json_text.KeyVerdict.HIDE}

_PLAIN = KeyVerdict("scan")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text stands, as far as it matters to policies and detectors."""

    scope: Scope
    key: str
    verdict: KeyVerdict
    words: bytes
    """Context words: the key, and the path below it; empty for places that are no attributes."""
    before: bytes = b""
    """What a short value is searched behind."""


class Masker:
    """One policy with its engine. Raises nothing; what it counts goes to the tally it is handed."""

    def __init__(self, policy: Policy, engine: Engine) -> None:
        self.policy = policy
        self.engine = engine
        self.digest = policy.digest
        self.labels = own_labels({*policy.labels, FAILED_LABEL, CUT_LABEL})
        self._bytes_max = policy.limits.max_value_bytes
        self._depth_max = policy.limits.max_depth
        self._harmless: Generations[Scope, Harmless] = Generations(HARMLESS_SCOPES)

    def text(self, text: bytes, place: Place, tally: Tally) -> bytes | None:
        """The text as it may leave the process; None: the attribute goes."""
        if place.verdict.what == "scan" and not place.verdict.whole and len(text) <= SHORT_BYTES and _is_plain(text):
            return self._short(text, place, tally)
        return at_once(self.in_turns(text, place, tally))

    def _short(self, text: bytes, place: Place, tally: Tally) -> bytes | None:
        """A short text without JSON and escapes."""
        tally.cost += len(text)
        try:
            value = _Value(self, place, tally)
            masked = value.replaced(text, value.plain(text))
            return masked if masked is text or not value.tied else at_once(self._settled(masked, place, tally))
        except WorkLimit as limit:
            tally.failed(limit.reason)
        except Exception:  # noqa: BLE001 - as below
            tally.failed("error")
        return FAILED

    def in_turns(self, text: bytes, place: Place, tally: Tally) -> Turns[bytes | None]:
        """The same with pauses, in long texts."""
        verdict = place.verdict
        if verdict.what == "keep" or not text:
            return text
        tally.cost += len(text)
        try:
            if verdict.what == "mask":
                return self._whole(text, place, tally)
            if len(text) > self._bytes_max:
                return (yield from self._cut(text, place, tally))
            masked = yield from self._settled(text, place, tally)
            return text if masked is text else place.scope.whole(verdict, text) if verdict.whole else masked
        except WorkLimit as limit:
            tally.failed(limit.reason)
        except Exception:  # noqa: BLE001 - whatever it is, the value must not pass; and its text may quote the value
            tally.failed("error")
        return FAILED

    def _harmless_in(self, scope: Scope) -> Harmless:
        known = self._harmless.get(scope)
        if known is None:
            known = Harmless()
            self._harmless.put(scope, known)
        return known

    def unlabelled(self, name: bytes) -> bytes:
        """A key or member name as policies and detectors see it: without own labels, whose words are not the name's."""
        return self.labels.sub(b"", name) if b"[" in name else name

    def labels_in(self, text: bytes) -> list[tuple[int, int]]:
        """Where own labels stand, in order."""
        return [match.span() for match in self.labels.finditer(text)] if b"[" in text else []

    def _cut(self, text: bytes, place: Place, tally: Tally) -> Turns[bytes | None]:
        """The beginning of a value that is too long, masked; its end is removed, with all that a match over the border could have begun in."""
        if place.verdict.whole or self._bytes_max < 2 * CUT_BYTES:
            raise WorkLimit("bytes")
        searched = text[: self._bytes_max].decode("utf-8", "ignore").encode()
        masked = yield from self._settled(searched, place, tally)
        if len(masked) < 2 * CUT_BYTES:
            raise WorkLimit("bytes")
        tally.cut()
        kept = masked[: len(masked) - CUT_BYTES].decode("utf-8", "ignore").encode()
        return _HALF_LABEL.sub(b"", kept) + CUT

    def _settled(self, text: bytes, place: Place, tally: Tally) -> Turns[bytes]:
        """The text, masked until masking again changes nothing: a label parts what stood too close together to be recognised."""
        for _ in range(ROUNDS_MAX):
            value = _Value(self, place, tally)
            masked = yield from self._scanned(text, value)
            if masked is text or not value.tied:
                return masked
            tally.cost += len(masked)
            text = masked
        raise WorkLimit("rounds")

    def _whole(self, value: bytes, place: Place, tally: Tally) -> bytes | None:
        """The value under a key that hides it."""
        hidden = place.scope.whole(place.verdict, value)
        if value in (hidden, FAILED):
            return value
        tally.hidden(KEY_RULE, place.verdict.action, place.verdict.label)
        return hidden

    def _scanned(self, text: bytes, value: _Value) -> Turns[bytes]:
        if not text:
            return text
        if text[0] in _JSON_STARTS:
            masked = yield from mask_json_in_turns(
                text, value.scan, value.rewrite, value.member, self.engine.by_word, self._harmless_in(value.place.scope), self._depth_max
            )
            if masked is not None:
                return text if masked == text else masked  # a name that hides its value hides an own label too
        if b"\\" in text:
            return (yield from mask_text_in_turns(text, value.scan, value.rewrite, self._depth_max))
        if len(text) <= SHORT_BYTES:
            return value.replaced(text, value.plain(text))
        labels = self.labels_in(text)
        hits = yield from self.engine.find_in_turns(_blotted(text, labels) if labels else text, value.place.words)
        edits = [Edit(hit.start, hit.end, text, hit, ROOT) for hit in value.chosen(text, _outside(labels, hits) if labels else hits)]
        return (yield from apply_in_turns(text, edits, value.rewrite)) if edits else text


def _is_plain(text: bytes) -> bool:
    """Whether it is no JSON and holds no escapes."""
    return bool(text) and text[0] not in _JSON_STARTS and b"\\" not in text


def _blotted(text: bytes, labels: Sequence[tuple[int, int]]) -> bytes:
    """The text with signs in place of labels, as many."""
    parts: list[bytes] = []
    at = 0
    for start, end in labels:
        parts += (text[at:start], b"[" * (end - start))
        at = end
    parts.append(text[at:])
    return b"".join(parts)


def _shifted(hits: Sequence[Hit], before: int) -> list[Hit]:
    """Hits in a text that stood behind ``before`` bytes, as far as they reach into it."""
    return [Hit(max(hit.start - before, 0), hit.end - before, hit.detector) for hit in hits if hit.end > before] if before else list(hits)


class _Value:
    """The callbacks for one value."""

    __slots__ = ("_actions", "_allows", "_hidden", "_identities", "_masker", "_tally", "place", "tied")

    def __init__(self, masker: Masker, place: Place, tally: Tally) -> None:
        self._masker = masker
        self.place = place
        self._tally = tally
        self._allows = masker.policy.allows_any
        self._actions: dict[int, Action | None] = {}
        """What is done with values of a detector; None where that depends on the path."""
        self._hidden: dict[str, KeyVerdict] = {}
        """Verdicts that hide a member, by its path."""
        self._identities: dict[str, KeyVerdict] = {}
        """Those of members that name somebody."""
        self.tied = False
        """What was replaced touched something that may read differently now."""

    def labels_in(self, text: bytes) -> list[tuple[int, int]]:
        """Where own labels stand."""
        return self._masker.labels_in(text)

    def scan(self, text: bytes) -> _Scan:
        """The text as JSON searches it."""
        self._tally.cost += len(text) // 4
        labels = self._masker.labels_in(text)
        return _Scan(self, self._masker.engine.scan(_blotted(text, labels) if labels else text), labels)

    def hits(self, scan: Scan, labels: Sequence[tuple[int, int]], words: bytes | None, path: Path | None) -> Turns[list[Hit]]:
        """Disjoint hits that policy does not keep."""
        masker = self._masker
        hits = yield from scan.in_turns(masker.engine.every_word if words is None else self.place.words + b" " + masker.unlabelled(words))
        return self.chosen(scan.text, _outside(labels, hits) if labels else hits, path) if hits else hits

    def plain(self, text: bytes) -> list[Hit]:
        """Disjoint hits in a text without JSON and escapes. Own labels are blotted out: what they say is neither a value nor a context word."""
        place, masker = self.place, self._masker
        before = place.before if len(text) <= CONTEXT_BYTES_MAX else b""
        behind = before + text if before else text
        labels = masker.labels_in(behind)
        hits = masker.engine.find(_blotted(behind, labels) if labels else behind, place.words)
        return self.chosen(text, _shifted(_outside(labels, hits) if labels else hits, len(before))) if hits else hits

    def replaced(self, text: bytes, chosen: Sequence[Hit]) -> bytes:
        """The text with what policy says in place of disjoint hits."""
        if not chosen:
            return text
        parts: list[bytes] = []
        end = 0
        for hit in chosen:
            parts += (text[end : hit.start], self.rewrite(text, hit, ROOT))
            end = hit.end
        parts.append(text[end:])
        return b"".join(parts)

    def rewrite(self, text: bytes, hit: Hit | None, path: Path) -> bytes:
        """What a hit, or the text under a name that hides it, becomes; empty when it is to be removed."""
        place, tally = self.place, self._tally
        if hit is None:
            verdict = self._hidden[str(path)]
            hidden = place.scope.whole(verdict, text)
            if text in (hidden, FAILED):
                return text
            tally.hidden(KEY_RULE, verdict.action, verdict.label)
            return hidden or b""
        detector = self._masker.engine.detectors[hit.detector]
        self.tied = (
            self.tied
            or detector.name.endswith(_PROSE)
            or _TIED_BEFORE.search(text, max(0, hit.start - 2), hit.start) is not None
            or _TIED_AFTER.match(text, hit.end) is not None
        )
        identity = self._identities.get(str(path)) if self._identities else None
        if identity:  # as its attribute would be, so that both join
            tally.hidden(detector.name, identity.action, identity.label)
            return place.scope.whole(identity, text[hit.start : hit.end]) or b""
        action, value = self._action(hit.detector, path), text[hit.start : hit.end]
        tally.hidden(detector.name, action, detector.label)
        hidden = place.scope.hit(hit.detector, value, place.key, path) if self._allows else place.scope.replaced(hit.detector, value, action)
        return b"[%b]" % detector.label.encode() if hidden is None else hidden  # allowed as a whole, but no part of it is

    def member(self, name: bytes, path: Path | None) -> json_text.KeyVerdict:
        """What the name of a JSON member says about its value."""
        verdict = self.place.scope.member(path, self._masker.unlabelled(name).decode("utf-8", "replace"))
        if path is not None and (verdict.what == "mask" or verdict.whole):
            (self._identities if verdict.whole else self._hidden)[str(path)] = verdict
        if verdict == _PLAIN and not self.place.scope.has_path_rules:
            return json_text.KeyVerdict.PLAIN
        return json_text.KeyVerdict.HIDE_ALL if verdict.placed else _JSON_VERDICTS[verdict.what]

    def _action(self, detector: int, path: Path | None) -> Action:
        try:
            action = self._actions[detector]
        except KeyError:
            action = self._actions[detector] = self.place.scope.everywhere(detector, self.place.key)
        return self.place.scope.action(detector, self.place.key, path) if action is None else action

    def chosen(self, text: bytes, hits: Sequence[Hit], path: Path | None = ROOT) -> list[Hit]:
        """Of hits in order: without what own labels take up and what policy keeps; of those that overlap the strictest, then the longest, over the bytes of all."""
        chosen: list[Hit] = []
        strictness = longest = covered = 0
        for hit in hits:
            start, end, detector = hit
            action = self._action(detector, path)
            if action is Action.KEEP or (self._allows and self._masker.policy.allows(text[start:end])):
                continue
            if start >= covered:
                chosen.append(hit)
                covered, longest = end, end - start
                strictness = action.strictness
                continue
            last = chosen[-1]
            best = max((strictness, longest, -last.detector), (action.strictness, end - start, -detector))
            strictness, longest = best[:2]
            covered = max(covered, end)
            chosen[-1] = Hit(last.start, covered, -best[2])
        return chosen


class _Scan:
    """A text of one value, with own labels blotted out, and where triggers fire in it."""

    __slots__ = ("_labels", "_scan", "_value", "text")

    def __init__(self, value: _Value, scan: Scan, labels: Sequence[tuple[int, int]]) -> None:
        self._value = value
        self._scan = scan
        self._labels = labels
        self.text = scan.text

    def in_turns(self, words: bytes | None, path: Path | None) -> Turns[list[Hit]]:
        return self._value.hits(self._scan, self._labels, words, path)

    @property
    def marks(self) -> Sequence[int]:
        return self._scan.marks

    def part(self, name_at: int, start: int, end: int, before: bytes) -> _Scan:
        labels = named = self._value.labels_in(before)
        if self._labels:
            shift = len(before) - start
            labels = named + [(low + shift, high + shift) for low, high in self._labels if low < end and start < high]
        return _Scan(self._value, self._scan.part(name_at, start, end, _blotted(before, named) if named else before), labels)


def _outside(labels: Sequence[tuple[int, int]], hits: Sequence[Hit]) -> list[Hit]:
    """What of the hits lies outside of own labels, which are in order and disjoint."""
    ends = [end for _, end in labels]
    rest: list[Hit] = []
    for hit in hits:
        at, start = bisect_right(ends, hit.start), hit.start
        while at < len(labels) and labels[at][0] < hit.end:
            if start < labels[at][0]:
                rest.append(Hit(start, labels[at][0], hit.detector))
            start = max(start, labels[at][1])
            at += 1
        if start < hit.end:
            rest.append(Hit(start, hit.end, hit.detector))
    return sorted(rest)
