"""Which body part and which view a free text names, in any of the languages of `terms`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache

from lungfield.radiograph.header import terms
from lungfield.radiograph.header.terms import CHEST, SPINE

LONGEST_PHRASE = 3
SHORTEST_STEM = 3
_ACCENTS = re.compile("[\u0300-\u036f]")
# Letters that Unicode does not take apart into a letter and an accent.
_PLAIN = str.maketrans({"ł": "l", "đ": "d", "ø": "o", "ı": "i", "æ": "ae", "œ": "oe"})
_WORD = re.compile(r"[^\W\d_]+|\d+")
_INITIALS = re.compile(r"\b([^\W\d_])\.(?=[^\W\d_]\b)")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def normalised(text: str) -> str:
    """The words of a text, separated by single blanks: small letters, no accents, no punctuation.

    'Thorax a.p.' gives 'thorax ap', 'ThoraxLat_2' gives 'thorax lat 2', fullwidth letters become plain ones.
    """
    text = _CAMEL.sub(" ", unicodedata.normalize("NFKC", text)).casefold()
    if not text.isascii():
        decomposed = unicodedata.normalize("NFD", text.translate(_PLAIN))
        text = unicodedata.normalize("NFC", _ACCENTS.sub("", decomposed))
    return " ".join(_WORD.findall(_INITIALS.sub(r"\1", text)))


class Terms:
    """Terms and what they mean, found in a normalised text by its words.

    Args:
        phrases: comma-separated terms by meaning, as `terms` writes them.
        unseparated: regular expressions by meaning, for scripts that do not separate words.
    """

    def __init__(self, phrases: Mapping[str, str], unseparated: Mapping[str, str] | None = None) -> None:
        self._whole: dict[str, str] = {}
        self._stems: dict[str, str] = {}
        for meaning, listed in phrases.items():
            for term in listed.split(","):
                table = self._stems if term.strip().endswith("*") else self._whole
                table.setdefault(normalised(term), meaning)
        self._unseparated = {name: re.compile(one) for name, one in (unseparated or {}).items()}

    def found(self, text: str) -> Iterator[str]:
        """What a normalised text names, in its order, those of unseparated scripts last."""
        words = text.split()
        for start, word in enumerate(words):
            for end in range(min(start + LONGEST_PHRASE, len(words)), start, -1):
                phrase = " ".join(words[start:end])
                meaning = self._whole.get(phrase) or self._stem_of(phrase, len(word))
                if meaning:
                    yield meaning
                    break
        if not text.isascii():
            yield from (name for name, one in self._unseparated.items() if one.search(text))

    def _stem_of(self, phrase: str, first: int) -> str | None:
        # A stem may be a phrase, whose last word goes on.
        shortest = min(SHORTEST_STEM, first)
        ends = range(len(phrase), shortest - 1, -1)
        return next((self._stems[phrase[:end]] for end in ends if phrase[:end] in self._stems), None)


@cache
def _parts(*, as_body_part: bool) -> Terms:
    tables = [terms.OTHER_PARTS] + [terms.ONLY_AS_BODY_PART] * as_body_part
    merged = {name: ", ".join(one[name] for one in tables if name in one) for one in tables for name in one}
    return Terms(merged, terms.OTHER_PARTS_CJK)


@cache
def _spine() -> Terms:
    return Terms({SPINE: terms.SPINE_TERMS}, {SPINE: terms.SPINE_CJK})


@cache
def _chest() -> Terms:
    return Terms({CHEST: terms.CHEST_TERMS}, {CHEST: terms.CHEST_CJK})


@cache
def _frontal() -> Terms:
    return Terms(terms.FRONTAL_TERMS, terms.FRONTAL_CJK)


@cache
def _other_views() -> Terms:
    return Terms(terms.OTHER_VIEW_TERMS, terms.OTHER_VIEW_CJK)


@cache
def _out_of_context(*phrases: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(phrases)})\b")


def part_in(text: str, *, as_body_part: bool = False) -> str:
    """The body part that a text names: 'CHEST', the name of another, or '' for none.

    The chest wins over other parts beside it, and the spine over the chest. A part that is named out of
    context ('foot of bed') does not count.

    Args:
        text: as the header has it.
        as_body_part: the text is that of BodyPartExamined or of a code's meaning, where also short words
            count that mean something else in a description.
    """
    words = normalised(text)
    part = _part_in(words, as_body_part)
    if part in ("", CHEST):
        return part
    # Seldom reached, so that phrases cost nothing elsewhere.
    return _part_in(_out_of_context(*terms.PART_OUT_OF_CONTEXT).sub(";", words), as_body_part)


def _part_in(words: str, as_body_part: bool) -> str:
    joined = words.replace(" ", "")
    if "spine" in joined or any(_spine().found(words)):
        return SPINE
    if any(stem in words for stem in terms.CHEST_STEMS) or any(_chest().found(words)):
        return CHEST
    return next(_parts(as_body_part=as_body_part).found(words), "")


def views_in(text: str) -> tuple[set[str], str]:
    """The views that a text names.

    Returns:
        frontal: 'PA', 'AP', 'frontal' (also for a decubitus, and for words that stand for several views).
        other: 'lateral' or 'oblique', or '' for none; both are told where a text names both.
    """
    words = normalised(text)
    frontal = set(_frontal().found(words))
    other = next(_other_views().found(words), "")
    if other:
        rest = _out_of_context(*terms.VIEW_OUT_OF_CONTEXT).sub(";", words)
        other = next(_other_views().found(rest), "")
    return frontal, other
