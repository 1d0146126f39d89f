from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import neocog


def test_importing_neocog_imports_no_torch() -> None:
    code = "import sys, neocog; print(neocog.__version__); print('torch' in sys.modules, 'datasets' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [neocog.__version__, "False", "False"]


def test_the_catalog_is_used_without_torch() -> None:
    code = "import sys, neocog; neocog.describe(neocog.list_models()[0]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", neocog.__all__)
def test_every_public_name_is_there_and_listed(name: str) -> None:
    assert getattr(neocog, name) is not None
    assert name in dir(neocog)


def test_type_checkers_see_the_same_names_as_python() -> None:
    tree = ast.parse(Path(neocog.__file__).read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    declared = {alias.asname for node in guarded.body for alias in node.names}  # type: ignore[attr-defined]
    assert declared | {"__version__"} == set(neocog.__all__)


def test_functions_are_not_hidden_by_rooms_of_the_same_name() -> None:
    import neocog.inference
    import neocog.jobs
    import neocog.train

    for name in ("create_model", "list_models", "describe", "load_model", "convert_state_dict", "tap"):
        assert callable(getattr(neocog, name))
    assert callable(neocog.fit)
    assert callable(neocog.evaluate)
    assert callable(neocog.predict)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="create_modle"):
        _ = neocog.create_modle  # type: ignore[attr-defined]
