"""The C core by itself: its own tests in tests/c, under each compiler there is, and with each planted bug."""

from __future__ import annotations

import functools
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "runtime_c" / "core"
HERE = ROOT / "tests" / "c"
PROGRAMS = sorted(path.stem for path in HERE.glob("test_*.c"))
SHARED = (HERE / "driver.c", HERE / "tiny_app.c")
FLAGS = (
    "-std=c11", "-UNDEBUG", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror",
    "-I", str(ROOT / "runtime_c" / "include"), "-I", str(CORE), "-I", str(HERE),
)  # fmt: skip
SANITIZE = ("-O0", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
ZIG = (sys.executable, "-m", "ziglang", "cc")
ALLOWED_SYMBOLS = {"memcpy", "memmove", "memset", "memcmp", "bcmp", "strlen"}
ALLOWED_HEADERS = {
    "core.h", "json.h", "mem.h", "table.h", "glas_app.h", "glas_core.h",
    "stdbool.h", "stddef.h", "stdint.h", "string.h",
}  # fmt: skip


@dataclass(frozen=True)
class Compiler:
    """A compiler, with the flags of one way to use it."""

    name: str
    command: tuple[str, ...]
    flags: tuple[str, ...]


COMPILERS = {
    "zig": Compiler("zig", ZIG, ("-O2", "-fno-sanitize=undefined")),  # plain, as apps are built
    "gcc": Compiler("gcc", ("gcc",), SANITIZE),
    "clang": Compiler("clang", ("clang",), SANITIZE),
    "plain": Compiler("gcc", ("gcc",), ("-O1", "-g")),  # to run under valgrind
}
UNDER_VALGRIND = ("test_log", "test_recovery", "test_ship", "test_txn", "test_wire")
"""Programs that end soon even there."""


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def _must(command: Sequence[str]) -> None:
    done = _run(command)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def _compile(compiler: Compiler, sources: Sequence[Path], out: Path, extra: Sequence[str] = ()) -> list[Path]:
    """Objects of the sources, made two at a time."""
    out.mkdir(parents=True, exist_ok=True)
    objects = [out / f"{source.stem}.o" for source in sources]
    head = [*compiler.command, *FLAGS, *compiler.flags, *extra]
    commands = [[*head, "-c", str(a), "-o", str(b)] for a, b in zip(sources, objects, strict=True)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(_must, commands))
    return objects


def _link(compiler: Compiler, objects: Sequence[Path], program: Path) -> None:
    _must([*compiler.command, *compiler.flags, *map(str, objects), "-o", str(program)])


@functools.cache
def _works(name: str, folder: Path) -> bool:
    """Whether the compiler is here with the sanitizers' libraries."""
    compiler = COMPILERS[name]
    if name != "zig" and shutil.which(compiler.name) is None:
        return False
    source = folder / f"probe_{name}.c"
    source.write_text("int main(void) { return 0; }\n")
    command = [*compiler.command, *compiler.flags, str(source), "-o", str(source.with_suffix(""))]
    return _run(command).returncode == 0 and _run([str(source.with_suffix(""))]).returncode == 0


@functools.cache
def _core_objects(name: str, folder: Path) -> tuple[Path, ...]:
    return tuple(_compile(COMPILERS[name], sorted(CORE.glob("*.c")), folder / name / "core"))


@functools.cache
def _programs(name: str, folder: Path) -> Path:
    """The folder of all test programs, built by this compiler."""
    compiler, out = COMPILERS[name], folder / name
    sources = [*SHARED, *(HERE / f"{program}.c" for program in PROGRAMS)]
    core = _core_objects(name, folder)
    shared = _compile(compiler, sources, out)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda p: _link(compiler, [*core, *shared[:2], out / f"{p}.o"], out / p), PROGRAMS))
    return out


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("core_c")


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", ["zig", "gcc", "clang"])
def test_core(name: str, program: str, folder: Path) -> None:
    if not _works(name, folder):
        pytest.skip(f"no {name} with the address and undefined-behaviour sanitizers here")
    done = _run([str(_programs(name, folder) / program)])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("program", UNDER_VALGRIND)
def test_core_under_valgrind(program: str, folder: Path) -> None:
    """Reads of what was never written, which the sanitizers do not see."""
    if shutil.which("valgrind") is None or not _works("plain", folder):
        pytest.skip("no valgrind, or no gcc, here")
    valgrind = ("valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full")
    done = _run([*valgrind, str(_programs("plain", folder) / program)])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("plant", range(1, 9))
def test_planted_bug_is_found(plant: int, folder: Path) -> None:
    """A suite that no bug turns red checks nothing: with each planted bug some program must fail."""
    quick = "gcc" if _works("gcc", folder) else "zig"
    compiler = COMPILERS[quick]
    built, out = _programs(quick, folder), folder / f"plant{plant}"
    mark = re.compile(rf"GLAS_PLANT\s*[!=]=\s*{plant}\b")
    planted = [path for path in sorted(CORE.glob("*.c")) if mark.search(path.read_text())]
    assert planted, f"the core has no planted bug {plant}"
    changed = _compile(compiler, planted, out, [f"-DGLAS_PLANT={plant}"])
    kept = [path for path in _core_objects(quick, folder) if path.name not in {made.name for made in changed}]
    shared = [built / f"{source.stem}.o" for source in SHARED]
    for program in ("test_cluster", "test_txn", "test_bytes", "test_frontier"):
        _link(compiler, [*changed, *kept, *shared, built / f"{program}.o"], out / program)
        if _run([str(out / program)]).returncode != 0:
            return
    pytest.fail(f"no test fails with planted bug {plant}")


def test_core_includes_only_what_it_may() -> None:
    for path in sorted(CORE.glob("*.[ch]")):
        found = set(re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', path.read_text(), re.MULTILINE))
        assert found <= ALLOWED_HEADERS, f"{path.name} includes {found - ALLOWED_HEADERS}"


def _undefined_symbols(made: bytes) -> Iterator[str]:
    """What `nm -u` shows of a 64-bit little-endian ELF object."""
    assert made[:6] == b"\x7fELF\x02\x01", "not such an object"
    table, entry_size, count = *struct.unpack_from("<Q", made, 40), *struct.unpack_from("<HH", made, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", made, table + i * entry_size) for i in range(count)]
    for _, kind, _, _, offset, size, link, _, _, _ in sections:
        if kind != 2:  # SHT_SYMTAB
            continue
        names = sections[link][4]
        for at in range(offset + 24, offset + size, 24):
            name, _, _, section = struct.unpack_from("<IBBH", made, at)
            if section == 0:  # SHN_UNDEF
                yield made[names + name : made.index(b"\0", names + name)].decode()


def test_core_calls_nothing_of_the_c_library_but_bytes(folder: Path) -> None:
    seen: set[str] = set()
    for made in _core_objects("zig", folder):
        seen |= {symbol for symbol in _undefined_symbols(made.read_bytes()) if not symbol.startswith("glas_")}
    assert seen <= ALLOWED_SYMBOLS
    assert "memcpy" in seen  # it did look


def test_fuzzer_builds(folder: Path) -> None:
    """The fuzzer's entry compiles everywhere, and links where clang has libFuzzer."""
    _compile(COMPILERS["zig"], [HERE / "fuzz_link.c"], folder / "fuzz")
    if not _works("clang", folder):
        pytest.skip("compiled; not linked, as there is no clang with its sanitizers here")
    fuzzer = Compiler("fuzz", ("clang",), ("-O1", "-g", "-fsanitize=fuzzer,address,undefined"))
    probe = folder / "fuzz" / "probe.c"
    probe.write_text("int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void) { return 0; }\n")
    if _run([*fuzzer.command, *fuzzer.flags, str(probe), "-o", str(probe.with_suffix(""))]).returncode != 0:
        pytest.skip("compiled; not linked, as this clang has no libFuzzer")
    sources = map(str, [*sorted(CORE.glob("*.c")), *SHARED, HERE / "fuzz_link.c"])
    _must([*fuzzer.command, *FLAGS, *fuzzer.flags, *sources, "-o", str(folder / "fuzz" / "fuzz_link")])
