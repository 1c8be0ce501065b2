"""A whole build: from the text of a program to bundles for all targets, doing nothing twice.

Owns the cache of compiled programs and the wheel of the host side. Does not know arguments, exit codes or
how results are shown. Fast where nothing has changed: the compiler itself is only imported when it is needed.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import glasc
from glasc import paths
from glasc.build import BuildError, BuiltBundle, ModuleSource, build_bundle, build_pure_wheel
from glasc.source import Source
from glasc.targets import Target
from glasc.zig import ContentCache, fingerprint

HOST_REQUIRES = (
    "cffi>=1.16",
    "click>=8.1,<9",
    "uvicorn>=0.54,<0.55",  # closely: http_wire.py extends its protocols
    "httptools>=0.6,<1",
    "h11>=0.14,<1",
    "uvloop>=0.19,<1; sys_platform != 'win32' and platform_python_implementation == 'CPython'",
)
"""What the wheel of glasrt needs on a mirror."""

_AT_ONCE = 2
_KIND = "programs"
_SUFFIXES = (".py", ".j2", ".lark")


@dataclass(frozen=True)
class Compiled:
    """A compiled program: its files, its plan as data, and its warnings as text and as data."""

    module: ModuleSource
    plan: Mapping[str, Any]
    warnings: tuple[tuple[str, Mapping[str, Any]], ...]


@dataclass(frozen=True)
class Built:
    """What a build has written."""

    compiled: Compiled
    bundles: tuple[tuple[Target, BuiltBundle], ...]
    host_wheel: Path


def build(
    source: Source, targets: Sequence[Target], out_dir: Path, cache_dir: Path, on_step: Callable[[str], None]
) -> Built:
    """Writes a bundle for each target, and the wheel of the host side beside them.

    Raises CompileErrors where the program is wrong, CompileFailed where the C compiler refuses its C,
    BuildError where files cannot be written.
    """
    compiled = compile_cached(source, ContentCache(cache_dir), on_step)
    with ThreadPoolExecutor(_AT_ONCE) as pool:  # a link uses one processor for seconds
        bundles = pool.map(
            lambda target: build_bundle(compiled.module, target, out_dir, cache_dir, on_step), targets
        )
        return Built(compiled, tuple(zip(targets, bundles, strict=True)), _host_wheel(out_dir))


def compile_cached(source: Source, cache: ContentCache, on_step: Callable[[str], None]) -> Compiled:
    """The compiled program, from the cache where the same glasc has compiled the same text. Raises
    CompileErrors.
    """
    key = fingerprint([*_own_sources(), source.name, source.text])
    known = cache.get(_KIND, key)
    if known is not None:
        return _read(known)
    on_step(f"translate {source.name}")
    fresh = _compile(source)
    cache.put(_KIND, key, fresh)
    cache.trim(_KIND)
    return _read(fresh)


def _compile(source: Source) -> bytes:
    from glasc import driver

    module, warnings = driver.compile_and_warn(source)
    data = {
        "module": {
            "name": module.name,
            "version": module.version,
            "c_files": dict(module.c_files),
            "cdef": module.cdef,
            "preamble": module.preamble,
            "package_files": {path: content.decode() for path, content in module.package_files.items()},
        },
        "warnings": [[warning.render(), warning.to_json()] for warning in warnings],
    }
    return json.dumps(data).encode()


def _read(data: bytes) -> Compiled:
    content = json.loads(data)
    module = content["module"]
    module["package_files"] = {path: text.encode() for path, text in module["package_files"].items()}
    plan = json.loads(module["package_files"]["plan.json"])
    return Compiled(ModuleSource(**module), plan, tuple((text, data) for text, data in content["warnings"]))


def _own_sources() -> list[str | bytes]:
    """Everything besides the program that its translation depends on."""
    package = Path(glasc.__file__).parent
    folders = (package, paths.grammar())
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in _SUFFIXES)
    headers = sorted((paths.runtime_c() / "include").glob("*.h"))
    parts: list[str | bytes] = [glasc.__version__]
    for path in (*files, *headers):
        parts += [path.name, path.read_bytes()]
    return parts


def _host_wheel(out_dir: Path) -> Path:
    """The wheel of glasrt. Raises BuildError."""
    found = importlib.util.find_spec("glasrt")
    if found is None or not found.submodule_search_locations:
        raise BuildError("glasc is not installed completely: no package glasrt; install it again")
    import glasrt

    folder = Path(found.submodule_search_locations[0])
    scripts = {"glasrt": "glasrt.__main__:main"}
    return build_pure_wheel("glasrt", glasrt.__version__, folder, HOST_REQUIRES, out_dir, scripts)
