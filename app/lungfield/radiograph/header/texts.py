"""Find body parts and views in free text, in the languages of `terms`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import chain

from lungfield.radiograph.header import terms
from lungfield.radiograph.header.terms import CHEST, SPINE

LONGEST_PHRASE = 3
SHORTEST_STEM = 3
_ACCENTS = re.compile("[\u0300-\u036f]")
# Letters that Unicode does not decompose into a letter and an accent.
_PLAIN = str.maketrans({"ł": "l", "đ": "d", "ø": "o", "ı": "i", "æ": "ae", "œ": "oe"})
_WORD = re.compile(r"[^\W\d_]+|\d+")
_INITIALS = re.compile(r"\b([^\W\d_])\.(?=[^\W\d_]\b)")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def normalised(text: str) -> str:
    """The words of a text in lower case, without accents and punctuation, separated by single blanks.

    'Thorax a.p.' gives 'thorax ap', 'ThoraxLat_2' gives 'thorax lat 2', and fullwidth letters become normal
    ones.
    """
    text = _CAMEL.sub(" ", unicodedata.normalize("NFKC", text)).casefold()
    if not text.isascii():
        decomposed = unicodedata.normalize("NFD", text.translate(_PLAIN))
        text = unicodedata.normalize("NFC", _ACCENTS.sub("", decomposed))
    return " ".join(_WORD.findall(_INITIALS.sub(r"\1", text)))


class Terms:
    """Finds terms in a normalised text, and returns their meanings.

    Args:
        unseparated: regular expressions by meaning, for scripts that do not separate words.
        phrases: comma-separated terms by meaning, in the syntax of `terms`.
    """

    def __init__(self, unseparated: Mapping[str, str], *phrases: Mapping[str, str]) -> None:
        self._phrases, self._unseparated = phrases, unseparated

    @cached_property
    def _tables(self) -> tuple[dict[str, str], dict[str, str]]:
        """The meanings of exact terms, and of terms with a `*`."""
        whole: dict[str, str] = {}
        stems: dict[str, str] = {}
        for meaning, listed in chain.from_iterable(one.items() for one in self._phrases):
            for term in listed.split(","):
                table = stems if term.strip().endswith("*") else whole
                table.setdefault(normalised(term), meaning)
        return whole, stems

    def found(self, text: str) -> Iterator[str]:
        """The meanings of the terms in a normalised text, in order; unseparated scripts come last."""
        words = text.split()
        whole, stems = self._tables
        for start, word in enumerate(words):
            for end in range(min(start + LONGEST_PHRASE, len(words)), start, -1):
                phrase = " ".join(words[start:end])
                # A term with `*` may be a phrase; its last word may be longer.
                lengths = range(len(phrase), min(SHORTEST_STEM, len(word)) - 1, -1)
                beginnings = (phrase[:length] for length in lengths)
                meaning = whole.get(phrase) or next((stems[one] for one in beginnings if one in stems), None)
                if meaning:
                    yield meaning
                    break
        if not text.isascii():
            yield from (name for name, one in self._unseparated.items() if re.search(one, text))


_SPINE = Terms({SPINE: terms.SPINE_CJK}, {SPINE: terms.SPINE_TERMS})
_CHEST = Terms({CHEST: terms.CHEST_CJK}, {CHEST: terms.CHEST_TERMS})
_OTHER_PARTS = Terms(terms.OTHER_PARTS_CJK, terms.OTHER_PARTS)
_OTHER_BODY_PARTS = Terms(terms.OTHER_PARTS_CJK, terms.OTHER_PARTS, terms.ONLY_AS_BODY_PART)
_FRONTAL = Terms(terms.FRONTAL_CJK, terms.FRONTAL_TERMS)
_OTHER_VIEWS = Terms(terms.OTHER_VIEW_CJK, terms.OTHER_VIEW_TERMS)
_PART_OUT_OF_CONTEXT = rf"\b(?:{'|'.join(terms.PART_OUT_OF_CONTEXT)})\b"
_VIEW_OUT_OF_CONTEXT = rf"\b(?:{'|'.join(terms.VIEW_OUT_OF_CONTEXT)})\b"


def part_in(text: str, *, as_body_part: bool = False) -> str:
    """The body part that a text of the header names: 'CHEST', the name of another, or '' for none.

    The chest takes precedence over other parts, and the spine over the chest. A part in another context
    ('foot of bed') is ignored. With `as_body_part`, for BodyPartExamined and a code's meaning, short words
    are used too that are ambiguous in a description.
    """
    words = normalised(text)
    part = _part_in(words, as_body_part)
    if part in ("", CHEST):
        return part
    # Only checked after a match, as it is slow.
    return _part_in(re.sub(_PART_OUT_OF_CONTEXT, ";", words), as_body_part)


def _part_in(words: str, as_body_part: bool) -> str:
    joined = words.replace(" ", "")
    if "spine" in joined or any(_SPINE.found(words)):
        return SPINE
    if any(stem in words for stem in terms.CHEST_STEMS) or any(_CHEST.found(words)):
        return CHEST
    return next((_OTHER_BODY_PARTS if as_body_part else _OTHER_PARTS).found(words), "")


def views_in(text: str) -> tuple[set[str], str]:
    """The views that a text names.

    Returns:
        frontal: 'PA', 'AP', 'frontal' (also for a decubitus, and for terms of several views).
        other: 'lateral' or 'oblique', or '' for none. A text may name both kinds.
    """
    words = normalised(text)
    frontal = set(_FRONTAL.found(words))
    other = next(_OTHER_VIEWS.found(words), "")
    if other:
        rest = re.sub(_VIEW_OUT_OF_CONTEXT, ";", words)
        other = next(_OTHER_VIEWS.found(rest), "")
    return frontal, other
