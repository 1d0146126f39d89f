"""Markdown, as the tools that write pages need it: tables and numbered notes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Notes:
    """The numbered notes of a page; equal ones have one number."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        """Return the mark of a note, and keep its text."""
        if text not in self.texts:
            self.texts.append(text)
        return f"<sup>{self.texts.index(text) + 1}</sup>"


def one_line(text: str) -> str:
    """Return a paragraph without its line breaks."""
    return " ".join(text.split())


def cell(text: str) -> str:
    """Return a text that a table can hold."""
    return one_line(text).replace("|", "\\|")


def table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; a heading that ends in a colon stands over numbers."""
    heading = list(heading)
    lines = ["| " + " | ".join(title.removesuffix(":") for title in heading) + " |"]
    lines.append("|" + "|".join("---:" if title.endswith(":") else "---" for title in heading) + "|")
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
