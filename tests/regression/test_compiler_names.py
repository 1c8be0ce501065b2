"""Bugs of the compiler about names: programs whose names meant something to C, to Python or to each other.

Each builds a small program, for this machine, and calls it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from glasc import build, driver, targets
from glasc.diagnostics import CompileErrors
from glasc.source import Source
from glasc.whole_build import HOST_REQUIRES

REPO = Path(__file__).resolve().parent.parent.parent
Load = Callable[[str], Any]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Builds a program and imports its package, which is forgotten when the test is over."""
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded: list[str] = []

    def load(text: str) -> Any:
        module = driver.compile_program(Source("t.glas", text))
        built = build.build_bundle(
            module, targets.host(), tmp_path, build.default_cache_dir(), lambda _step: None
        )
        with zipfile.ZipFile(built.path) as archive:
            archive.extractall(tmp_path)
        importlib.invalidate_caches()
        loaded.append(module.name)
        return importlib.import_module(module.name)

    yield load
    for name in [name for name in sys.modules if name.split(".")[0] in loaded]:
        del sys.modules[name]


def errors_of(text: str) -> list[str]:
    """Codes of the errors, with the lines where they are."""
    try:
        driver.check(Source("t.glas", text))
    except CompileErrors as errors:
        return [f"{each.code} {each.span.line}" for each in errors.diagnostics]
    return []


def listed(words: Sequence[str], form: str) -> str:
    return ", ".join(form.format(word) for word in words)


# ---------------------------------------------------------------- too many fields

MANY = [f"f{number}" for number in range(65)]
HEAD = 'app t version "1"\n'


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (f'http GET "/"\n  return reply(200, json ({listed(MANY, "{}: 1")}))\n', "E0804 3"),
        (
            f"rpc f() -> Bool\n  return ({listed(MANY, '{}: 1')}) == ({listed(MANY, '{}: 2')})\n",
            "E0804 3",
        ),
        (f"type Many = ({listed(MANY, '{}: Int')})\nrpc f() -> Int\n  return 1\n", "E0804 2"),
        (f"type Many = ({' | '.join(MANY)})\ndb.x : cell Many\nrpc f() -> Int\n  return 1\n", "E0804 2"),
    ],
    ids=["json", "comparison", "named and not used", "named and used"],
)
def test_too_many_fields_anywhere(text: str, error: str) -> None:
    """Types of expressions alone and names without use were not counted: C had a constant too large."""
    assert errors_of(HEAD + text) == [error]


def test_as_many_fields_as_there_may_be(load: Load) -> None:
    fields = MANY[:64]
    app = load(
        f'app many_fields version "1"\nrpc f(x: Int) -> Text\n  return json ({listed(fields, "{}: x")})\n'
        f"rpc g(x: Int) -> Bool\n  return ({listed(fields, '{}: x')}) == ({listed(fields, '{}: 2')})\n"
    )
    with app.Mirror() as mirror:
        assert mirror.f(3).count(":3") == 64
        assert [mirror.g(2), mirror.g(3)] == [True, False]


# ---------------------------------------------------------------- names of apps

@pytest.mark.parametrize(
    "name",
    [
        *("click", "uvicorn", "h11", "httptools", "uvloop", "cffi", "pycparser", "glasrt", "glasc", "lark"),
        *("asyncio", "sys", "typing", "async", "x_", "x__y", "uP"),
    ],
)
def test_names_that_are_taken(name: str) -> None:
    """The package of an app `click` hid the one that the mirror needs; a wheel cannot end with `_`."""
    assert errors_of(f'app {name} version "1"\nrpc f() -> Int\n  return 1\n') == ["E0806 1"]


def test_packages_beside_an_app_are_taken() -> None:
    """All that a mirror and the compiler stand on, as installed here."""
    wanted = [*HOST_REQUIRES, *(importlib.metadata.requires("glasc") or ())]
    found: set[str] = set()
    while wanted:
        requirement = wanted.pop()
        name = re.split(r"[^\w-]", requirement)[0].lower().replace("-", "_")
        if name not in found and "extra ==" not in requirement:
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # of another system
                wanted += importlib.metadata.requires(name) or ()
                found.add(name)
    for top, owners in importlib.metadata.packages_distributions().items():
        if not top.startswith("_") and found & {owner.lower().replace("-", "_") for owner in owners}:
            found.add(top)
    assert {"click", "pycparser", "markupsafe", "markdown_it"} <= found
    assert {name for name in found if errors_of(f'app {name} version "1"\n') != ["E0806 1"]} == set()


@pytest.mark.parametrize("command", ["check", "build"])
def test_the_head_of_an_empty_program(command: str, tmp_path: Path) -> None:
    """Its head was not looked at where nothing followed: `check` was content, `build` blamed the files."""
    (tmp_path / "x.glas").write_text('app x version "abc"  # nothing else\n')
    done = subprocess.run(
        [sys.executable, "-m", "glasc", command, str(tmp_path / "x.glas"), "--json"],
        cwd=REPO,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert '"code": "E0807"' in done.stdout
    assert '"end_column": 20' in done.stdout
