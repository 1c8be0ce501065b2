"""examples/pos as a bundle for this machine, built once a session."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import subprocess
import sys
import tempfile
import types
from pathlib import Path

from glasc import build, driver, targets
from glasc.source import Source
from glasrt.bundle import fitting_wheel, unpack

REPO = Path(__file__).resolve().parent.parent
BUILD = "import sys; from glasc.cli import main; sys.exit(main())"


@functools.cache
def pos_wheel() -> Path:
    """The wheel."""
    out = tempfile.mkdtemp(prefix="glas-pos-")
    command = [
        sys.executable,
        "-c",
        BUILD,
        "build",
        str(REPO / "examples" / "pos" / "pos.glas"),
        "--out",
        out,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wheel = fitting_wheel("pos", Path(out))
    assert wheel is not None
    return wheel


@functools.cache
def pos_module() -> types.ModuleType:
    """The imported package `pos`."""
    sys.path.insert(0, str(unpack(pos_wheel(), Path(tempfile.mkdtemp(prefix="glas-cache-")))))
    return importlib.import_module("pos")


def pos_with_planted_bug(plant: int) -> types.ModuleType:
    """The same app under another name, with one of the bugs that runtime_c/core/core.h lists built in."""
    name = f"pos_plant_{plant}"
    text = (REPO / "examples" / "pos" / "pos.glas").read_text(encoding="utf-8")
    source = Source(f"{name}.glas", text.replace("app pos version", f"app {name} version", 1))
    module = dataclasses.replace(driver.compile_program(source), defines=(f"GLAS_PLANT={plant}",))
    folder = Path(tempfile.mkdtemp(prefix="glas-plant-"))
    bundle = build.build_bundle(module, targets.host(), folder, build.default_cache_dir(), lambda _step: None)
    sys.path.insert(0, str(unpack(bundle.path, folder)))
    return importlib.import_module(name)
