"""The app `fake`: fake/fake_core.c as a bundle, for tests of the host that need a small, obedient core."""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import sys
import tempfile
import types
from pathlib import Path

from glasc import build, targets

REPO = Path(__file__).resolve().parent.parent
PLAN = {
    "app": "fake",
    "version": "1.0",
    "protocol_id": hashlib.sha256(b"fake").hexdigest()[:32],
    "places": [{"name": "hq", "many": False}, {"name": "shop", "many": True}],
    "states": [{"name": "db.total", "kind": "counter", "owner_rule": {"rule": "ownerless"}}],
    "methods": [{"name": "start", "kind": "start", "routes": [{"place": "hq", "how": "local"}]}],
}

HEADERS = ("glas_core.h", "glas_module.h")


def header() -> str:
    """The parts of the core's headers that cffi reads."""
    texts = [(REPO / "runtime_c" / "include" / name).read_text() for name in HEADERS]
    return "".join(text.split("/* cffi: begin */")[1].split("/* cffi: end */")[0] for text in texts)


@functools.cache
def fake_wheel() -> Path:
    """The wheel of the app for this machine, built once a session."""
    folder = Path(tempfile.mkdtemp(prefix="glas-fake-"))
    (folder / "runtime" / "include").mkdir(parents=True)
    (folder / "runtime" / "core").mkdir()
    here = Path(__file__).resolve().parent / "fake"
    for name in HEADERS:
        header_bytes = (REPO / "runtime_c" / "include" / name).read_bytes()
        (folder / "runtime" / "include" / name).write_bytes(header_bytes)
    (folder / "runtime" / "core" / "fake_core.c").write_bytes((here / "fake_core.c").read_bytes())
    more = "const glas_app *glas_module_app(void);\n"
    source = build.ModuleSource(
        name="fake",
        version="1.0",
        c_files={},
        cdef=header() + more,
        preamble='#include "glas_module.h"\n' + more,
        package_files={"__init__.py": b"from fake import _core\n", "plan.json": json.dumps(PLAN).encode()},
    )
    cache = build.default_cache_dir()
    return build.build_bundle(
        source, targets.host(), folder / "dist", cache, lambda _step: None, folder / "runtime"
    ).path


@functools.cache
def fake_module() -> types.ModuleType:
    """The imported app."""
    from glasrt.bundle import unpack

    sys.path.insert(0, str(unpack(fake_wheel(), Path(tempfile.mkdtemp(prefix="glas-cache-")))))
    return importlib.import_module("fake")
