"""The page of recipes says what their files say."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from neocog.recipes import list_recipes

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def recipe_page() -> ModuleType:
    spec = spec_from_file_location("recipe_page", ROOT / "tools" / "recipe_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tools")  # where a script finds its neighbours
        spec.loader.exec_module(module)
    return module


def test_the_page_is_what_would_be_written(recipe_page: ModuleType) -> None:
    assert recipe_page.fault() == "", "run python tools/recipe_page.py"


def test_the_page_has_every_recipe_once_in_a_table_and_once_as_a_section(recipe_page: ModuleType) -> None:
    page = recipe_page.page()
    for name in list_recipes():
        assert page.count(f"| [`{name}`](#{name}) |") == 1
        assert page.count(f"\n### {name}\n") == 1
