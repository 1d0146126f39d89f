"""A family is one file to be read beside its paper: what holds for the text of each, read without running it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import neocog
from neocog.catalog import describe, list_models

MODELS = Path(neocog.__file__).parent / "models"
FILES = sorted(path for path in MODELS.glob("*.py") if not path.name.startswith("_"))
ENTRIES = [describe(name) for name in list_models()]


def imported(path: Path) -> set[str]:
    """Return every module that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def plain(text: str) -> str:
    """Return letters and numbers alone, so that line breaks and hyphens make no difference."""
    return " ".join(re.findall(r"\w+", text.lower()))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_family_imports_no_other_family(path: Path):
    families = {f"neocog.models.{each.stem}" for each in FILES}
    assert imported(path) & families == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_family_is_a_page_of_three_hundred_lines_at_most(path: Path):
    assert len(path.read_text("utf-8").splitlines()) <= 300


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_family_is_in_the_catalog_and_names_its_paper_and_year(path: Path):
    entries = [entry for entry in ENTRIES if entry.module == f"neocog.models.{path.stem}"]
    assert entries
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    assert any(str(entry.year) in docstring for entry in entries)
    titles = {entry.paper for entry in entries}
    assert re.search(r"arXiv:\d{4}\.\d{4,5}", docstring) or any(plain(title) in plain(docstring) for title in titles)


def test_every_module_of_the_catalog_is_a_family_file():
    assert {entry.module for entry in ENTRIES} == {f"neocog.models.{path.stem}" for path in FILES}


def test_training_knows_no_family():
    families = {f"neocog.models.{path.stem}" for path in FILES}
    rooms = [path for room in ("train", "data", "layers", "catalog") for path in (MODELS.parent / room).glob("*.py")]
    assert len(rooms) > 30
    assert [path.name for path in rooms if imported(path) & families] == []
