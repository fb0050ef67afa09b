"""Escape file names for display: control characters and invalid bytes."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
"""The Unicode categories of control and format characters (such as ESC, or those that change the direction of
writing), surrogates for invalid bytes, private characters, and line breaks."""


def shown(text: str) -> str:
    r"""A text with hidden characters and invalid bytes escaped: `chest\xe9.dcm`, `a\x1b[31m.dcm`.

    For display to people; results.json has the exact names for programs.
    """
    return _escaped(text, _HIDDEN)


def shown_lines(text: str) -> str:
    """As `shown`, for a message of several lines: line feeds are kept."""
    return "\n".join(map(shown, text.split("\n")))


def as_text(name: str) -> str:
    """A name as valid UTF-8 text: invalid bytes are escaped as in `shown`, other characters are kept."""
    return _escaped(name, {"Cs"})


def json_escaped(text: str) -> str:
    r"""JSON with hidden characters in its strings as `\u` escapes: the same values, safe to display."""
    lines = text.split("\n")
    return "\n".join(one if one.isprintable() else "".join(map(_json_escape, one)) for one in lines)


def _escaped(text: str, categories: Collection[str]) -> str:
    if text.isprintable():
        return text
    return "".join(_escape(one) if unicodedata.category(one) in categories else one for one in text)


def _json_escape(character: str) -> str:
    return json.dumps(character)[1:-1] if unicodedata.category(character) in _HIDDEN else character


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # an invalid byte (PEP 383)
        code -= 0xDC00
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
