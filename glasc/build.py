"""From generated C to a bundle: the wheel that a mirror installs.

Owns what a bundle contains and how it is named, and the cache of whole bundles. Does not know the language,
how the C was generated, how the compiler is run (zig.py) or how a wheel is written (wheel.py).
"""

from __future__ import annotations

import importlib.metadata
import io
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from glasc import paths
from glasc.build_errors import BuildError, CompileFailed, disk_error
from glasc.targets import Target
from glasc.wheel import WheelSpec, build_pure_wheel, wheel_bytes, write_atomically
from glasc.zig import (
    FLAGS,
    STRICT_FLAGS,
    CompileUnit,
    ContentCache,
    compiler_version,
    default_cache_dir,
    fingerprint,
    shared_object,
)

__all__ = [
    "BuildError",
    "BuiltBundle",
    "CompileFailed",
    "ModuleSource",
    "build_bundle",
    "build_pure_wheel",
    "default_cache_dir",
]

_RECIPE = "1"  # counts up when this file or wheel.py makes other bytes of the same source and flags
_REQUIRES = ("cffi>=1.16", "glasrt")
_PACKAGE_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_BINDING = "binding/_core.c"
_TOGETHER = tuple(
    f"core/{name}.c" for name in ("mem", "value", "table", "queue", "txn", "state", "call", "core")
)  # names that are static in one of these are so in no other
# The binding is cffi's text, not ours, so its warnings are not ours to mend.
_BINDING_FLAGS = ("-w", "-DNDEBUG", "-DPy_LIMITED_API=0x030b0000")


@dataclass(frozen=True)
class ModuleSource:
    """Everything of one app that goes into its bundle.

    `c_files` are the generated files (`.c` and `.h`) by name; `cdef` and `preamble` are what cffi needs to
    bind them; `package_files` are the files of the Python package by path; `defines` are given to every C
    file, as "NAME" or "NAME=1".
    """

    name: str
    version: str
    c_files: Mapping[str, str]
    cdef: str
    preamble: str
    package_files: Mapping[str, bytes]
    defines: tuple[str, ...] = ()


@dataclass(frozen=True)
class BuiltBundle:
    """A bundle on disk; `so_size` is the compiled module's part of `size`, `cached` says that nothing was
    compiled.
    """

    path: Path
    size: int
    so_size: int
    cached: bool


def build_bundle(
    source: ModuleSource,
    target: Target,
    out_dir: Path,
    cache_dir: Path,
    on_step: Callable[[str], None],
    runtime_dir: Path | None = None,
) -> BuiltBundle:
    """Writes `{name}-{version}-cp311-abi3-{platform}.whl` to `out_dir`; the same source gives the same
    bytes everywhere.

    `runtime_dir` is the C core (`include/` and `core/`), by default the one that comes with glasc.
    `on_step` hears of each compilation. Raises CompileFailed when the C compiler refuses the C, BuildError
    for a bad name or version, or when `out_dir` or `cache_dir` cannot be written.
    """
    if not _PACKAGE_NAME.fullmatch(source.name):
        raise BuildError(f"{source.name!r} cannot name a bundle: small letters, digits and '_' only")
    tree = core_files(runtime_dir or paths.runtime_c())
    cache = ContentCache(cache_dir)
    key = _bundle_key(source, target, tree)
    data = cache.get("bundles", key)
    cached = data is not None
    if data is None:
        data = _make_bundle(source, target, tree, cache, on_step)
        cache.put("bundles", key, data)
        for kind in ("bundles", "objects", "bindings"):
            cache.trim(kind)
    path = out_dir / _spec(source, target, b"").filename
    write_atomically(path, data, "the bundle")
    return BuiltBundle(path, len(data), _module_size(source, data), cached)


def _make_bundle(
    source: ModuleSource,
    target: Target,
    runtime: Mapping[str, bytes],
    cache: ContentCache,
    on_step: Callable[[str], None],
) -> bytes:
    spec = _spec(source, target, b"")
    wheel_bytes(spec)  # refuses a bad name or version before the work is done
    tree = dict(runtime) | {f"app/{name}": text.encode() for name, text in source.c_files.items()}
    tree["python_abi/Python.h"] = _python_header()
    tree[_BINDING] = _binding(source, cache).encode()
    module = shared_object(tree, _units(source, tree), target, cache, on_step)
    on_step(f"pack {spec.filename}")
    return wheel_bytes(_spec(source, target, module))


def _units(source: ModuleSource, tree: Mapping[str, bytes]) -> list[CompileUnit]:
    """The core sees nothing of the app, so that its objects serve every app."""
    defines = tuple(f"-D{define}" for define in source.defines)
    core = ("include", "core")
    units = []
    for path in sorted(path for path in tree if path.endswith(".c")):
        if path == _BINDING:
            units.append(CompileUnit(path, ("app", *core, "python_abi"), (*_BINDING_FLAGS, *defines)))
        else:
            include = ("app", *core) if path.startswith("app/") else core
            units.append(CompileUnit(path, include, (*STRICT_FLAGS, *defines)))
    return units


def _binding(source: ModuleSource, cache: ContentCache) -> str:
    """The C that cffi writes, which is the same for every target. Raises BuildError when cffi cannot read
    the cdef.
    """
    key = fingerprint([importlib.metadata.version("cffi"), source.name, source.cdef, source.preamble])
    known = cache.get("bindings", key)
    if known is not None:
        return known.decode()
    import cffi
    from cffi.recompiler import make_c_source

    ffi = cffi.FFI()
    text = io.StringIO()
    try:
        ffi.cdef(source.cdef)
        make_c_source(ffi, f"{source.name}._core", source.preamble, text)
    except (cffi.CDefError, cffi.FFIError, cffi.VerificationError) as error:
        raise BuildError(f"internal error: cffi cannot read the cdef of {source.name}: {error}") from error
    cache.put("bindings", key, text.getvalue().encode())
    return text.getvalue()


def core_files(runtime_dir: Path) -> dict[str, bytes]:
    """The files of the core by their path below `runtime_dir`, those of every transaction's way put together
    in one unit: a tenth fewer instructions than apart, and no link-time optimization to wait for.
    """
    try:
        inside = [path for folder in ("include", "core") for path in (runtime_dir / folder).rglob("*")]
        found = [path for path in inside if path.suffix in (".c", ".h") and path.is_file()]
        tree = {path.relative_to(runtime_dir).as_posix(): path.read_bytes() for path in sorted(found)}
    except OSError as error:
        raise disk_error(f"read the C core {runtime_dir}", error) from error
    together = [path for path in _TOGETHER if path in tree]
    for path in together:
        tree[f"{path}.inc"] = tree.pop(path)
    if together:
        tree["core/together.c"] = "".join(f'#include "{Path(path).name}.inc"\n' for path in together).encode()
    return tree


def _python_header() -> bytes:
    header = paths.python_abi() / "Python.h"
    try:
        return header.read_bytes()
    except OSError as error:
        raise disk_error(f"read {header}", error) from error


def _spec(source: ModuleSource, target: Target, module: bytes) -> WheelSpec:
    files = {f"{source.name}/{path}": data for path, data in source.package_files.items()}
    files[_module_path(source)] = module
    return WheelSpec(source.name, source.version, f"cp311-abi3-{target.wheel_platform}", files, _REQUIRES)


def _module_path(source: ModuleSource) -> str:
    return f"{source.name}/_core.abi3.so"


def _module_size(source: ModuleSource, data: bytes) -> int:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.getinfo(_module_path(source)).file_size


def _bundle_key(source: ModuleSource, target: Target, runtime: Mapping[str, bytes]) -> str:
    parts: list[str | bytes] = [_RECIPE, compiler_version(), importlib.metadata.version("cffi")]
    parts += [*FLAGS, *_BINDING_FLAGS]
    parts += [target.name, target.zig_triple, target.wheel_platform, _python_header()]
    parts += [source.name, source.version, source.cdef, source.preamble, *sorted(source.defines)]
    for group in (runtime, source.c_files, source.package_files):
        parts.append(str(len(group)))
        for path in sorted(group):
            parts += [path, group[path]]
    return fingerprint(parts)
