"""The project's Markdown pages as tests see them: blocks of code, the commands in these, and links."""

import posixpath
import re
import shlex
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATTERNS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**/*.md", "bundles/*/docs/README.md")

_REMARK = r"(?:^ *<!-- not run: (?P<why>[^\n]+) -->\n)?"
_FENCE = r"^(?P<indent> *)```(?P<language>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$"
_BLOCK = re.compile(_REMARK + _FENCE, re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block; `page` and `line` tell where it is, `why` what its remark 'not run' says, or None."""

    page: str
    line: int
    language: str
    text: str
    why: str | None

    def __str__(self):
        return f"{self.page}:{self.line}"

    @property
    def commands(self):
        """A list of words for each command, continued lines joined, comments left out."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [command for line in lines for command in _split(line)]


def _split(line):
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split = True
    commands = [[]]
    for word in lexer:
        if word in ("&&", "||", ";", "|", "&"):
            commands.append([])
        else:
            commands[-1].append(word)
    # What is after a redirection is no argument.
    plain = [list(takewhile(lambda word: word[:1] not in ("<", ">"), words)) for words in commands]
    return [words for words in plain if words]


def pages():
    """Page by page: its path from the repository's root, and its text."""
    files = sorted({file for pattern in PATTERNS for file in ROOT.glob(pattern)})
    return {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}


def blocks():
    """All fenced blocks of all pages."""
    return [
        Block(
            page,
            text.count("\n", 0, match.start("language")) + 1,
            match["language"],
            re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE),
            match["why"],
        )
        for page, text in pages().items()
        for match in _BLOCK.finditer(text)
    ]


def links():
    """(page, target as it is written, path of the target from the root, anchor) of every relative link."""
    for page, text in pages().items():
        for target in _LINK.findall(_BLOCK.sub("", text)):
            path, _, anchor = target.partition("#")
            place = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
            yield page, target, place, anchor


def anchors(text):
    """The anchors of a page's headings, by the rule of repositories' web pages."""
    headings = _HEADING.findall(_BLOCK.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
