"""The documents: their programs compile, their commands exist, their links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from glasc import driver, whole_build
from glasc.build import default_cache_dir
from glasc.diagnostics import CompileErrors, render_all
from glasc.source import Source
from glasc.targets import host
from glasrt import config

REPO = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*REPO.glob("*.md"), *(REPO / "docs").glob("*.md"), *(REPO / "examples").glob("*/*.md")])
_BLOCK = re.compile(r"^```(\w+)( error)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks(document: Path, language: str) -> list[tuple[str, bool]]:
    """The fenced texts of one language, and whether the program is meant to be wrong."""
    found = _BLOCK.findall(document.read_text(encoding="utf-8"))
    return [(text, bool(error)) for name, error, text in found if name == language]


PROGRAMS = [
    pytest.param(text, id=f"{document.stem}{number}")
    for document in DOCUMENTS
    for number, (text, error) in enumerate(blocks(document, "glas"))
    if not error
]


def test_there_are_programs() -> None:
    assert len(PROGRAMS) >= 3


@pytest.mark.parametrize("text", PROGRAMS)
def test_programs_compile_without_a_warning(text: str) -> None:
    source = Source("doc.glas", text)
    assert driver.check(source) == ()
    driver.run_until(source, "to_c")


def test_the_wrong_program_gets_the_error_that_is_shown() -> None:
    document = REPO / "docs" / "language.md"
    ((text, _error),) = [each for each in blocks(document, "glas") if each[1]]
    ((shown, _),) = blocks(document, "text")
    with pytest.raises(CompileErrors) as caught:
        driver.run_until(Source("tills.glas", text), "route")
    assert render_all(caught.value.diagnostics).strip() == shown.strip()


def test_first_program_does_what_the_readme_says(tmp_path: Path) -> None:
    readme = REPO / "README.md"
    ((program, _),) = blocks(readme, "glas")
    ((script, _),) = blocks(readme, "python")
    source = Source("tally.glas", program)
    built = whole_build.build(source, (host(),), tmp_path, default_cache_dir(), lambda _step: None)
    assert built is not None
    (wheel,) = tmp_path.glob("tally-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    for _ in range(2):  # its store is kept
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", ["README.md", "docs/operations.md"])
def test_configurations_are_accepted(document: str, tmp_path: Path) -> None:
    ((text, _),) = blocks(REPO / document, "toml")
    path = tmp_path / "glas.toml"
    path.write_text(text)
    assert len(config.load(path).mirrors) == 2


def test_shown_defaults_are_the_defaults(tmp_path: Path) -> None:
    ((text, _),) = blocks(REPO / "docs" / "operations.md", "toml")
    (tmp_path / "all.toml").write_text(text)
    (tmp_path / "bare.toml").write_text(text.partition("[timing]")[0])
    shown, bare = config.load(tmp_path / "all.toml"), config.load(tmp_path / "bare.toml")
    assert (shown.limits, shown.timing, shown.call_timeout_us) == (
        bare.limits,
        bare.timing,
        bare.call_timeout_us,
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_links_lead_somewhere(document: Path) -> None:
    for target in _LINK.findall(document.read_text(encoding="utf-8")):
        path, _sign, anchor = target.partition("#")
        if path.startswith(("http:", "https:")):
            continue
        found = document.parent / path if path else document
        assert found.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [head.lower().replace(" ", "-") for head in heads], target
