"""File names as people see them: what a terminal or a reader would trip over is escaped."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
"""Unicode's categories of control and format characters (such as ESC, or those that turn the direction of
writing), of bytes that are no text, and of line breaks."""


def shown(text: str) -> str:
    r"""A text with whatever is not to be seen as an escape: `chest\xe9.dcm`, `a\x1b[31m.dcm`.

    Bytes of a file name that are no text appear as the bytes that they are. For people: programs find the
    exact names in results.json.
    """
    return _escaped(text, _HIDDEN)


def shown_lines(text: str) -> str:
    """As `shown`, for a message of several lines: line feeds stay."""
    return "\n".join(map(shown, text.split("\n")))


def as_text(name: str) -> str:
    """A name that UTF-8 can hold: bytes that are no text are escaped as in `shown`, all else stays."""
    return _escaped(name, {"Cs"})


def json_escaped(text: str) -> str:
    r"""JSON with hidden characters in its strings as `\u` escapes: the same values, safe to be looked at."""
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
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no text (PEP 383)
        code -= 0xDC00
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
