"""Bundles of a tiny app over a tiny core: their bytes, what is in them, the caches, and that they run."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from glasc import build, targets, zig
from tools import arm64

REPO = Path(__file__).resolve().parent.parent

CORE_H = """
#ifndef CORE_H
#define CORE_H
#include <stdint.h>
typedef struct { int64_t owner; uint8_t bytes[4]; } core_unit;
int64_t core_double(int64_t value);
#endif
"""
CORE_C = """
#include "core.h"
#include "private.h"
int64_t core_double(int64_t value) { return CORE_FACTOR * value; }
"""
APP_C = """
#include "tiny.h"
#include <string.h>
#ifndef GLAS_PLANT
#define GLAS_PLANT 0
#endif
int64_t tiny_answer(int64_t half) { return core_double(half) + GLAS_PLANT; }
size_t tiny_copy(const uint8_t *from, size_t count, uint8_t *to) { memcpy(to, from, count); return count; }
core_unit tiny_unit(bool first) { core_unit unit = {first ? 1 : 2, {1, 2, 3, 4}}; return unit; }
int tiny_call(int (*twice)(int, void *), void *context) { return twice(21, context); }
double tiny_half(double value) { return value / 2; }
"""
APP_H = """
#include "core.h"
#include <stdbool.h>
#include <stddef.h>
int64_t tiny_answer(int64_t half);
size_t tiny_copy(const uint8_t *from, size_t count, uint8_t *to);
core_unit tiny_unit(bool first);
int tiny_call(int (*twice)(int, void *), void *context);
double tiny_half(double value);
enum tiny_kind { TINY_NONE, TINY_SOME = 7 };
#define TINY_LIMIT 5
"""
CDEF = """
typedef struct { int64_t owner; uint8_t bytes[4]; } core_unit;
int64_t tiny_answer(int64_t half);
size_t tiny_copy(const uint8_t *from, size_t count, uint8_t *to);
core_unit tiny_unit(bool first);
int tiny_call(int (*twice)(int, void *), void *context);
double tiny_half(double value);
enum tiny_kind { TINY_NONE, TINY_SOME, ... };
#define TINY_LIMIT ...
extern "Python" int tiny_twice(int, void *);
"""
# Exercises every kind of declaration that a binding uses, and prints what came of it.
PROBE = """
import json, tiny
from tiny._core import ffi, lib
@ffi.def_extern()
def tiny_twice(value, context):
    return 2 * value
target = ffi.new("uint8_t[4]")
lib.tiny_copy(b"glas", 4, target)
unit = lib.tiny_unit(True)
called = lib.tiny_call(lib.tiny_twice, ffi.NULL)
print(json.dumps([lib.tiny_answer(21), bytes(target).decode(), unit.owner, list(unit.bytes), called,
                  lib.tiny_half(3.0), lib.TINY_SOME, lib.TINY_LIMIT]))
try:
    lib.tiny_answer("no number")
except TypeError:
    print("refused")
"""
EXPECTED = [42, "glas", 1, [1, 2, 3, 4], 42, 1.5, 7, 5]

SOURCE = build.ModuleSource(
    name="tiny",
    version="1.0",
    c_files={"tiny.c": APP_C, "tiny.h": APP_H},
    cdef=CDEF,
    preamble='#include "tiny.h"',
    package_files={"__init__.py": b'"""tiny"""\n', "plan.json": b"{}\n"},
)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache without bundles or objects, which shares zig's slow first work with the user's own."""
    folder = tmp_path_factory.mktemp("cache")
    shared = zig.default_cache_dir() / "zig"
    try:
        shared.mkdir(parents=True, exist_ok=True)
        (folder / "zig").symlink_to(shared)
    except OSError:
        pass
    return folder


@pytest.fixture(scope="session")
def runtime_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A core of one function, in the layout of runtime_c."""
    return make_runtime(tmp_path_factory.mktemp("runtime"))


def make_runtime(folder: Path) -> Path:
    """Writes the tiny core to `folder`."""
    (folder / "include").mkdir(parents=True)
    (folder / "core").mkdir()
    (folder / "include" / "core.h").write_text(CORE_H)
    (folder / "core" / "core.c").write_text(CORE_C)
    (folder / "core" / "private.h").write_text("#define CORE_FACTOR 2\n")
    return folder


class Builder:
    """Builds in the caches of the session and records the steps."""

    def __init__(self, cache_dir: Path, runtime_dir: Path, out_dir: Path) -> None:
        self.cache_dir = cache_dir
        self.runtime_dir = runtime_dir
        self.out_dir = out_dir
        self.steps: list[str] = []

    def __call__(self, source: build.ModuleSource = SOURCE, target: str = "x86_64") -> build.BuiltBundle:
        self.steps.clear()
        return build.build_bundle(
            source, targets.lookup(target), self.out_dir, self.cache_dir, self.steps.append, self.runtime_dir
        )


@pytest.fixture
def builder(cache_dir: Path, runtime_dir: Path, tmp_path: Path) -> Builder:
    return Builder(cache_dir, runtime_dir, tmp_path / "out")


def unpack(bundle: build.BuiltBundle, folder: Path) -> Path:
    with zipfile.ZipFile(bundle.path) as archive:
        archive.extractall(folder)
    return folder


def check_probe(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    result, refused = done.stdout.splitlines()
    assert json.loads(result) == EXPECTED
    assert refused == "refused"


def test_bundle_runs_here(builder: Builder, tmp_path: Path) -> None:
    folder = unpack(builder(target=targets.host().name), tmp_path / "site")
    environment = os.environ | {"PYTHONPATH": str(folder)}
    check_probe(
        subprocess.run(
            [sys.executable, "-c", PROBE], capture_output=True, text=True, check=False, env=environment
        )
    )


def test_bundle_runs_on_arm64(builder: Builder, tmp_path: Path) -> None:
    command = arm64.arm64_command(REPO)
    if command is None:
        pytest.skip(arm64.why_not(REPO))
    folder = unpack(builder(target="aarch64"), tmp_path / "site")
    environment = arm64.arm64_environment(REPO, [folder])
    check_probe(
        subprocess.run(
            [*command, "-c", PROBE], capture_output=True, text=True, check=False, env=environment, timeout=120
        )
    )


@pytest.mark.parametrize("target", ["x86_64", "aarch64"])
def test_wheel_is_what_installers_expect(builder: Builder, target: str) -> None:
    bundle = builder(target=target)
    assert bundle.path.name == f"tiny-1.0-cp311-abi3-manylinux_2_17_{target}.whl"
    with zipfile.ZipFile(bundle.path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        infos = archive.infolist()
        metadata = archive.read("tiny-1.0.dist-info/METADATA").decode()
        record = archive.read("tiny-1.0.dist-info/RECORD").decode().splitlines()
        module = archive.read("tiny/_core.abi3.so")
    assert names == sorted(names)
    assert "tiny/plan.json" in names
    assert {(info.date_time, info.external_attr >> 16) for info in infos} == {
        ((1980, 1, 1, 0, 0, 0), 0o100644)
    }
    assert "Requires-Dist: glasrt\n" in metadata
    assert [line.split(",")[0] for line in record] == [name for name in names if "RECORD" not in name] + [
        "tiny-1.0.dist-info/RECORD"
    ]
    assert bundle.so_size == len(module)
    assert bundle.size == bundle.path.stat().st_size


def test_module_holds_no_path_of_the_machine(builder: Builder) -> None:
    with zipfile.ZipFile(builder().path) as archive:
        module = archive.read("tiny/_core.abi3.so")
    texts = re.findall(rb"[ -~]{4,}", module)
    assert not [text for text in texts if re.match(rb"/(tmp|home|root|work|usr|var)\b", text)]
    assert str(builder.cache_dir).encode() not in module


BUILD_AGAIN = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.test_build import SOURCE, make_runtime
from glasc import build, targets
here, cache = Path.cwd(), Path(sys.argv[2])
runtime = make_runtime(here / "elsewhere")
for name in ("x86_64", "aarch64"):
    build.build_bundle(SOURCE, targets.lookup(name), here / "out", cache, lambda step: None, runtime)
"""


def test_same_bytes_from_another_process_and_folder(builder: Builder, tmp_path: Path) -> None:
    expected = {path.name: path for path in (builder().path, builder(target="aarch64").path)}
    fresh = tmp_path / "fresh-cache"
    fresh.mkdir()
    if (builder.cache_dir / "zig").is_symlink():
        (fresh / "zig").symlink_to((builder.cache_dir / "zig").resolve())
    folder = tmp_path / "another folder"
    folder.mkdir()
    environment = os.environ | {"PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo", "CPATH": "/nowhere"}
    command = [sys.executable, "-c", BUILD_AGAIN, str(REPO), str(fresh)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name, path in expected.items():
        assert digest(folder / "out" / name) == digest(path)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_unchanged_source_compiles_nothing(builder: Builder) -> None:
    first = builder()
    again = builder()
    assert again.cached
    assert builder.steps == []
    assert replace(again, cached=first.cached) == first


def test_changed_app_compiles_the_app_only(builder: Builder) -> None:
    builder()
    changed = replace(SOURCE, c_files={**SOURCE.c_files, "tiny.c": APP_C + "\n/* changed */\n"})
    assert not builder(changed).cached
    assert builder.steps == [
        "compile app/tiny.c for x86_64",
        "link for x86_64",
        "pack tiny-1.0-cp311-abi3-manylinux_2_17_x86_64.whl",
    ]


def test_changed_header_compiles_all_that_sees_it(builder: Builder, tmp_path: Path) -> None:
    builder()
    builder.runtime_dir = make_runtime(tmp_path / "other")
    (builder.runtime_dir / "core" / "private.h").write_text("#define CORE_FACTOR (2)\n")
    builder()
    compiled = [step for step in builder.steps if step.startswith("compile")]
    assert compiled == [
        f"compile {path} for x86_64" for path in ("app/tiny.c", "binding/_core.c", "core/together.c")
    ]


def test_defines_reach_the_code(builder: Builder, tmp_path: Path) -> None:
    planted = builder(replace(SOURCE, defines=("GLAS_PLANT=3",)), target=targets.host().name)
    folder = unpack(planted, tmp_path / "site")
    program = "from tiny._core import lib; print(lib.tiny_answer(21))"
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment
    )
    assert done.stdout == "45\n", done.stderr


def test_refused_c_is_an_internal_error(builder: Builder) -> None:
    broken = replace(SOURCE, c_files={**SOURCE.c_files, "tiny.c": "int unused(int x) { return; }\n"})
    with pytest.raises(build.CompileFailed) as caught:
        builder(broken)
    assert "app/tiny.c:1:" in caught.value.stderr
    assert "-Werror" in caught.value.command
    assert str(caught.value).startswith("internal error: the C compiler refused what glasc wrote")
    assert str(builder.cache_dir) not in str(caught.value)


def test_unreadable_cdef_is_an_internal_error(builder: Builder) -> None:
    with pytest.raises(build.BuildError, match="internal error: cffi cannot read the cdef of tiny"):
        builder(replace(SOURCE, cdef="int f(;"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (replace(SOURCE, name="Not Good"), "'Not Good' cannot name a bundle"),
        (replace(SOURCE, version="spring"), "'spring' cannot be the version of a wheel"),
    ],
)
def test_bad_names_are_refused(builder: Builder, source: build.ModuleSource, message: str) -> None:
    with pytest.raises(build.BuildError, match=message):
        builder(source)
    assert builder.steps == []


def test_unwritable_places_are_one_message(builder: Builder, tmp_path: Path) -> None:
    builder()
    blocked = tmp_path / "file"
    blocked.write_text("")
    builder.out_dir = blocked / "out"
    with pytest.raises(build.BuildError, match=r"cannot write the bundle .*: Not a directory"):
        builder()
    builder.cache_dir = blocked / "cache"
    with pytest.raises(build.BuildError, match=r"cannot .* cache .*: Not a directory"):
        builder()


def test_pure_wheel(tmp_path: Path) -> None:
    package = tmp_path / "src" / "host_side"
    (package / "inner" / "__pycache__").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "inner" / "page.html").write_text("<p>")
    (package / "inner" / "__pycache__" / "x.pyc").write_bytes(b"")
    scripts = {"host-side": "host_side:main"}
    first = build.build_pure_wheel("host-side", "0.1.0", package, ["cffi>=1.16"], tmp_path / "a", scripts)
    again = build.build_pure_wheel("host-side", "0.1.0", package, ["cffi>=1.16"], tmp_path / "b", scripts)
    assert first.name == "host_side-0.1.0-py3-none-any.whl"
    assert digest(first) == digest(again)
    with zipfile.ZipFile(first) as archive:
        assert archive.namelist() == [
            "host_side-0.1.0.dist-info/METADATA",
            "host_side-0.1.0.dist-info/RECORD",
            "host_side-0.1.0.dist-info/WHEEL",
            "host_side-0.1.0.dist-info/entry_points.txt",
            "host_side/__init__.py",
            "host_side/inner/page.html",
        ]
        assert b"host-side = host_side:main" in archive.read("host_side-0.1.0.dist-info/entry_points.txt")


def test_pure_wheel_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(build.BuildError, match="no files there"):
        build.build_pure_wheel("x", "1.0", tmp_path / "missing", [], tmp_path)


def cut(data: bytes) -> bytes:
    return data[:-1]


def with_other_bit(data: bytes) -> bytes:
    return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


@pytest.mark.parametrize("damaged", [lambda _data: b"", lambda _data: b"no such thing", cut, with_other_bit])
def test_damaged_entries_are_made_anew(builder: Builder, damaged: Callable[[bytes], bytes]) -> None:
    """Bundles, objects and what cffi wrote: garbage among them came out as a bundle, or stopped the build."""
    expected = digest(builder().path)
    entries = [
        path for kind in ("bundles", "objects", "bindings") for path in (builder.cache_dir / kind).iterdir()
    ]
    assert len(entries) >= 5
    for path in entries:
        path.write_bytes(damaged(path.read_bytes()))
    assert not builder().cached
    assert digest(builder().path) == expected
    assert builder().cached


def test_an_entry_of_another_name_is_none(tmp_path: Path) -> None:
    cache = zig.ContentCache(tmp_path)
    cache.put("objects", "one", b"1")
    assert cache.get("objects", "one") == b"1"
    (tmp_path / "objects" / "one.sealed").rename(tmp_path / "objects" / "two.sealed")
    assert cache.get("objects", "two") is None


def test_cache_forgets_what_was_not_used_for_longest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zig, "_KEPT_ENTRIES", 2)
    cache = zig.ContentCache(tmp_path)
    for age, key in enumerate(["new", "middle", "old"]):
        cache.put("objects", key, key.encode())
        os.utime(tmp_path / "objects" / f"{key}.sealed", ns=(10**9 * (100 - age), 10**9 * (100 - age)))
    cache.trim("objects")
    assert cache.get("objects", "old") is None
    assert cache.get("objects", "new") == b"new"
