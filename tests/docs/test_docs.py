"""The pages are true: their links lead somewhere, their codes are the code's, and the tutorial's commands work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from neocog import errors

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("docs/**/*.md"), ROOT / "CONTRIBUTING.md"])
FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of `language` on a page, without their indentation."""
    found = FENCED.findall(page.read_text("utf-8"))
    return [textwrap.dedent(content) for _, kind, content in found if kind == language]


def commands(page: Path) -> list[str]:
    """Return what follows the prompts of a page's console blocks, in order."""
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def syntax_error(program: str) -> str | None:
    """Return what Python says of a program that is none."""
    try:
        compile(program, "page", "exec")
    except SyntaxError as error:
        return f"{error}: {error.text}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    targets = re.findall(r"\]\(([^)#]+)", FENCED.sub("", page.read_text("utf-8")))
    local = [target for target in targets if "://" not in target]
    missing = [target for target in local if not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_on_the_pages_is_python(page: Path):
    assert [fault for program in blocks(page, "python") if (fault := syntax_error(program))] == []


def test_the_pages_of_families_are_what_the_catalog_and_the_docstrings_say(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(ROOT / "tools")  # where a script finds its neighbours
    spec = spec_from_file_location("family_pages", ROOT / "tools" / "family_pages.py")
    assert spec is not None
    assert spec.loader is not None
    family_pages = module_from_spec(spec)
    sys.modules[spec.name] = family_pages  # where dataclasses look for it
    spec.loader.exec_module(family_pages)
    assert family_pages.faults() == [], "run python tools/family_pages.py"


def test_the_page_of_exit_codes_has_those_of_the_errors():
    page = (ROOT / "docs" / "exit-codes.md").read_text("utf-8")
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.NeocogError)}
    assert codes <= listed
    assert listed >= {0, 7, 130, 143}


def test_the_tutorials_commands_work(tmp_path: Path):
    page = ROOT / "docs" / "tutorial.md"
    script = next(block for block in blocks(page, "python") if block.startswith("# make_photos.py"))
    (tmp_path / "make_photos.py").write_text(script)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    given = commands(page)
    assert len(given) >= 10
    for command in given:
        run = ["bash", "-c", command]
        done = subprocess.run(run, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True)
        assert done.returncode == 0, f"$ {command}\n{done.stdout[-1000:]}{done.stderr[-2000:]}"
    for left in ("runs/photos/report.html", "holiday.json", "predictions.csv", "lr-find.png"):
        assert (tmp_path / left).stat().st_size > 100
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 1 + 20
