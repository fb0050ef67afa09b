"""Names as people see them: nothing is hidden in them."""

from __future__ import annotations

import pytest

from lungfield.names import shown


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chest.dcm", "chest.dcm"),
        ("Müller_胸部 #1.dcm", "Müller_胸部 #1.dcm"),
        (r"a\b.dcm", r"a\b.dcm"),
        (b"chest_\xe9.dcm".decode("utf-8", "surrogateescape"), r"chest_\xe9.dcm"),
        ("a\x1b[31mred.dcm", r"a\x1b[31mred.dcm"),
        ("a\nb\t.dcm", r"a\x0ab\x09.dcm"),
        ("a\u202egpj.dcm", r"a\u202egpj.dcm"),
        ("a\u2028b", r"a\u2028b"),
        ("a\U000e0001b", r"a\U000e0001b"),
    ],
)
def test_what_is_hidden_is_escaped(name, expected):
    assert shown(name) == expected
    assert shown(name).isprintable()
