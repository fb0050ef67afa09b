"""File names as people see them: what a terminal or a reader would trip over is escaped."""

from __future__ import annotations

import unicodedata

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
"""Unicode's categories of control and format characters (such as ESC, or those that turn the direction of
writing), of bytes that are no text, and of line breaks."""


def shown(text: str) -> str:
    r"""A text with whatever is not to be seen as an escape: `chest\xe9.dcm`, `a\x1b[31m.dcm`.

    Bytes of a file name that are no text appear as the bytes that they are. For people: programs find the
    exact names in results.json.
    """
    if text.isprintable():
        return text
    return "".join(_escape(one) if unicodedata.category(one) in _HIDDEN else one for one in text)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no text (PEP 383)
        code -= 0xDC00
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
