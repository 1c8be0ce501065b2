"""Generated C and Python: goldens, what compilers say about them, limits, and that what was generated runs.

`tests/cases/c/NAME.FILE.txt` is the file FILE that is generated for NAME.glas beside it (or `protocol`, the
text of its protocol); a new golden starts as an empty file, and `--rewrite` writes them anew.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from glasc import build, driver, paths, targets, wheel
from glasc.diagnostics import CompileErrors
from glasc.emit.literals import c_comment, c_int, c_string
from glasc.emit.names import Names, member
from glasc.emit.types import TypeTable
from glasc.passes import plan_protocol, to_c
from glasc.source import Source
from tests import programs

CASES = Path(__file__).parent / "cases" / "c"
REPO = Path(__file__).parent.parent
PROGRAMS = (*sorted(path.stem for path in CASES.glob("*.glas")), "pos")
GOLDENS = sorted(CASES.glob("*.txt"))
INCLUDE = paths.runtime_c() / "include"
FLAGS = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wconversion", f"-I{INCLUDE}")
ZIG = (sys.executable, "-P", "-m", "ziglang", "cc")
GCC = shutil.which("gcc")


def source_of(name: str) -> Source:
    beside = CASES / f"{name}.glas"
    path = beside if beside.exists() else REPO / "examples" / name / f"{name}.glas"
    return Source(path.name, path.read_text(encoding="utf-8"))


@cache
def compiled(name: str) -> build.ModuleSource:
    return driver.compile_program(source_of(name))


def generated(name: str, file: str) -> str:
    if file == "protocol":
        return driver.dump(source_of(name), "plan_protocol")
    module = compiled(name)
    files = dict(module.c_files) | {path: data.decode() for path, data in module.package_files.items()}
    return files[file]


# ---------------------------------------------------------------- goldens


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda path: path.stem)
def test_golden(golden: Path, rewrite: bool) -> None:
    name, _, file = golden.stem.partition(".")
    found = generated(name, file)
    if rewrite:
        golden.write_text(found, encoding="utf-8")
    assert found == golden.read_text(encoding="utf-8")


def test_same_bytes_whatever_the_hash_seed() -> None:
    code = (
        "import sys, hashlib; from tests.test_emit import compiled; m = compiled('values'), compiled('pos');"
        "print(hashlib.sha256(repr(m).encode()).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=REPO,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "77")
    }
    assert len(found) == 1


def test_no_folder_gets_into_the_output() -> None:
    text = source_of("pos").text
    one, other = (driver.compile_program(Source(name, text)) for name in ("a/pos.glas", "/b/c/pos.glas"))
    assert one == other


# ---------------------------------------------------------------- what compilers say


def run_compiler(command: tuple[str, ...], folder: Path) -> None:
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(build.default_cache_dir() / "zig")}
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def write_c(module: build.ModuleSource, folder: Path) -> list[str]:
    for name, text in module.c_files.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "preamble.c").write_text(
        module.preamble + "extern const void *used[2];\nconst void *used[2];\n"
        "void use(void);\n"
        "void use(void) { used[0] = glas_module_app(); used[1] = glas_module_allocator(); }\n"
    )
    return [*(name for name in module.c_files if name.endswith(".c")), "preamble.c"]


@pytest.mark.skipif(GCC is None, reason="no gcc here")
@pytest.mark.parametrize("name", PROGRAMS)
def test_gcc_has_nothing_to_say(name: str, tmp_path: Path) -> None:
    files = write_c(compiled(name), tmp_path)
    run_compiler(("gcc", *FLAGS, "-O2", "-c", *files), tmp_path)


@pytest.mark.parametrize("name", PROGRAMS)
def test_clang_has_nothing_to_say(name: str, tmp_path: Path) -> None:
    for file in write_c(compiled(name), tmp_path):
        run_compiler((*ZIG, *FLAGS, "-O1", "-c", file, "-o", "out.o"), tmp_path)


@pytest.mark.skipif(GCC is None, reason="no gcc here")
@pytest.mark.parametrize("seed", range(8))
def test_random_programs_compile(seed: int, tmp_path: Path) -> None:
    text = programs.app_of(random.Random(seed)).source.replace("app random ", "app some ", 1)
    module = driver.compile_program(Source("some.glas", text))
    run_compiler(("gcc", *FLAGS, "-O2", "-c", *write_c(module, tmp_path)), tmp_path)


@pytest.mark.skipif(GCC is None, reason="no gcc here")
def test_another_interface_is_refused(tmp_path: Path) -> None:
    for path in INCLUDE.glob("*.h"):
        text = path.read_text(encoding="utf-8")
        changed = text.replace("#define GLAS_APP_INTERFACE 1", "#define GLAS_APP_INTERFACE 999")
        (tmp_path / path.name).write_text(changed, encoding="utf-8")
    write_c(compiled("least"), tmp_path)
    command = ("gcc", "-fsyntax-only", "-I.", "least_app.c")
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode != 0
    assert "made for interface 1" in done.stderr


@pytest.mark.skipif(GCC is None, reason="no gcc here")
@pytest.mark.parametrize("name", PROGRAMS)
def test_glasc_knows_the_size_of_every_type(name: str, tmp_path: Path) -> None:
    program = driver.run_until(source_of(name), "route")
    writer = to_c._Writer(program, plan_protocol.plan_protocol(program))
    table: TypeTable = writer._types
    checks = [
        f'_Static_assert(sizeof({kind.name}) == {table.size(kind.name)}, "{kind.name}");'
        for kind in table.all()
    ]
    write_c(compiled(name), tmp_path)
    (tmp_path / "sizes.c").write_text("\n".join([f'#include "{name}_app.h"', *checks, ""]))
    run_compiler(("gcc", *FLAGS, "-fsyntax-only", "sizes.c"), tmp_path)


# ---------------------------------------------------------------- literals and names

TEXTS = ("", "??=", "????/", "a\\", '"', "\n\r\t\07", "é𝄞", "\u202e\u2028\x7f", "%s", "\x001\x00a", "*/")


@pytest.mark.skipif(GCC is None, reason="no gcc here")
def test_c_reads_back_what_was_written(tmp_path: Path) -> None:
    lines = ["#include <stdint.h>", "#include <inttypes.h>", "#include <stdio.h>", "int main(void) {"]
    for text in TEXTS:
        show = 'printf("%02x", (unsigned)(unsigned char)s[i])'
        lines.append(f"{{ const char s[] = {c_string(text)};")
        lines += [f"for (unsigned i = 0; i < sizeof s; i++) {show};", 'puts(""); }']
    numbers = (0, -1, 2**31, -(2**31), 2**63 - 1, -(2**63), -(2**63) + 1)
    lines += [f'printf("%" PRId64 "\\n", (int64_t){{{c_int(number)}}});' for number in numbers]
    (tmp_path / "t.c").write_text("\n".join([*lines, "return 0; }", ""]), encoding="utf-8")
    run_compiler(("gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-trigraphs", "t.c", "-o", "t"), tmp_path)
    done = subprocess.run([tmp_path / "t"], check=True, capture_output=True, text=True)
    expected = [(text.encode() + b"\0").hex() for text in TEXTS] + [str(number) for number in numbers]
    assert done.stdout.split("\n")[:-1] == expected


def test_comments_stay_comments() -> None:
    for text in ("*/ x", "/* x", "**//*", "\u202e", "x" * 500, "a\nb"):
        shown = c_comment(text)
        assert "*/" not in shown and "/*" not in shown and "\n" not in shown and shown.isprintable()
        assert len(shown) <= 110


def test_names_stay_apart() -> None:
    names = Names(("a",))
    assert [names.new("a"), names.new("a"), names.new("a_2"), names.new("b")] == ["a_2", "a_3", "a_2_2", "b"]
    words = ("int", "int_", "int__", "x", "linux")
    assert len({member(word) for word in words}) == len(words)


# ---------------------------------------------------------------- limits and shared numbers


def errors_of(text: str) -> set[str]:
    with pytest.raises(CompileErrors) as caught:
        driver.compile_program(Source("t.glas", text))
    return {diagnostic.code for diagnostic in caught.value.diagnostics}


def test_limits_are_errors_of_the_program() -> None:
    head = 'app t version "1"\n'
    method = "rpc m() -> Int\n  return 1\n"
    states = "".join(f"db.s{i} : counter\n" for i in range(257))
    places = "".join(f"place p{i} many\n" for i in range(65))
    many = "".join(f"db.s{i} : counter\n" for i in range(65))
    adds = "rpc m()\n" + "".join(f"  db.s{i} += 1\n" for i in range(65))
    fields = ", ".join(f"f{i}: Bool" for i in range(65))
    wide = ", ".join(f"f{i}: Int" for i in range(60))
    assert errors_of(f"{head}{states}{method}") == {"E0801"}
    assert errors_of(f"{head}{places}{method}") == {"E0802"}
    assert errors_of(f"{head}{many}{adds}") == {"E0803"}
    assert errors_of(f"{head}mem.x : queue of ({fields})\n{method}") == {"E0804"}
    assert errors_of(head.replace("app t", "app myApp") + method) == {"E0806"}
    assert errors_of(head.replace("app t", "app class") + method) == {"E0806"}
    assert errors_of(head.replace("app t", "app queue") + method) == {"E0806"}
    assert errors_of(head.replace('"1"', '"1 beta"') + method) == {"E0807"}
    rows = ", ".join(f"p{i}: ({wide})" for i in range(3))
    assert errors_of(f'{head}rpc m({rows})\n  sys.log("")\n') == {"E0805"}


def test_numbers_that_the_core_shares() -> None:
    app_h = (INCLUDE / "glas_app.h").read_text(encoding="utf-8")
    core_h = (paths.runtime_c() / "core" / "core.h").read_text(encoding="utf-8")

    def number(text: str, name: str) -> int:
        found = re.search(rf"#define {name} (\d+)", text)
        assert found is not None, name
        return int(found[1])

    assert wheel._VERSION.pattern == plan_protocol._VERSION.pattern
    assert build._PACKAGE_NAME.pattern == plan_protocol._PACKAGE.pattern
    assert number(core_h, "GLAS_WIRE_VERSION") == plan_protocol.CORE_WIRE
    assert number(app_h, "GLAS_APP_INTERFACE") == to_c.APP_INTERFACE
    assert number(app_h, "GLAS_MAX_STATES") == plan_protocol.MAX_STATES
    assert number(app_h, "GLAS_MAX_RESULT") == to_c.MAX_RESULT
    frames = re.search(r"FRAME_HELLO = 1,([^}]*)", core_h)
    assert frames is not None
    count = len(frames[1].split(",")) + 1
    program = driver.run_until(source_of("pos"), "route")
    messages = plan_protocol.plan_protocol(program).messages
    assert [message.number for message in messages] == list(range(1, count + 1))


# ---------------------------------------------------------------- the protocol


def protocol_id(text: str) -> bytes:
    found: bytes = driver.run_until(Source("t.glas", text), "plan_protocol").protocol.id
    return found


def test_the_protocol_id_is_of_the_wire_and_of_nothing_else() -> None:
    head = 'app t version "1"\nplace hq\ndb.n : cell Int\n  @at hq\n'
    base = f"{head}rpc m(a: Int) -> Int\n  db.n := a\n  return 1\n"
    same = (
        base.replace("return 1", "return 2"),
        base + "# a comment\n",
        base + "invariant i\n  assert db.n >= 0\n",
    )
    different = (
        base.replace('"1"', '"2"'),
        base.replace("app t", "app u"),
        base.replace("place hq", "place hq\nplace lab"),
        base.replace("  @at hq\n", ""),
        base.replace("@at hq", "@at hq\n  @mirror stale 1s"),
        base.replace("db.n", "mem.n"),
        base.replace("a: Int", "b: Int").replace(":= a", ":= b"),
        base.replace("m(a", "k(a"),
        base.replace("db.n := a", 'sys.log("")'),
        base + "rpc other()\n  db.n := 1\n",
    )
    assert {protocol_id(text) for text in same} == {protocol_id(base)}
    found = [protocol_id(text) for text in different]
    assert len({*found, protocol_id(base)}) == len(found) + 1


# ---------------------------------------------------------------- the Python package

TYPED = """
from datetime import datetime
import values
m = values.Mirror("main", store=None)
deep: values.Deep = {"shape": {"text": "x"}, "inner": {"at": datetime.now(), "flag": True}, "label": ""}
m.keep("key", deep)
found = m.lookup("key")
reveal_type(found)
reveal_type(m.numbers()["least"])
m.keep("key", {"shape": 1})  # wrong
m.keep(3, deep)  # wrong
m.flip({"other": 1}, True, datetime.now())  # wrong
"""


def test_types_of_the_package(tmp_path: Path) -> None:
    package = tmp_path / "values"
    package.mkdir()
    for name, data in compiled("values").package_files.items():
        (package / name).write_bytes(data)
    (tmp_path / "use.py").write_text(TYPED, encoding="utf-8")
    environment = {**os.environ, "MYPYPATH": str(REPO)}
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-error-summary",
        "--config-file=",
        "use.py",
        "values",
    ]
    command.append("--cache-dir=.mypy")
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True, env=environment)
    lines = TYPED.split("\n")
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    found = {
        int(line.split(":")[1])
        for line in done.stdout.splitlines()
        if ": error:" in line and "use.py" in line
    }
    assert found == wrong, done.stdout
    assert "values/__init__" not in done.stdout, done.stdout
    assert 'Revealed type is "int"' in done.stdout.replace("builtins.", "")
    assert "LookupResultSome" in done.stdout


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the bundles of the cases are unpacked, for this machine."""
    import zipfile

    folder = tmp_path_factory.mktemp("packages")
    for name in ("values", "later"):
        built = build.build_bundle(
            compiled(name), targets.host(), folder / "dist", build.default_cache_dir(), lambda _step: None
        )
        with zipfile.ZipFile(built.path) as archive:
            archive.extractall(folder)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def module_of(_packages: Path, name: str) -> ModuleType:
    return importlib.import_module(name)


AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
DEEP = {
    "shape": {"point": {"int": -(2**63), "from": 2**63 - 1}},
    "inner": {"at": AT, "flag": True},
    "label": "é𝄞\0x",
}
EAST = timezone(timedelta(hours=2))


def deep(**change: Any) -> dict[str, Any]:
    return {**DEEP, **change}


def test_values_come_back(packages: Path) -> None:
    with module_of(packages, "values").Mirror() as mirror:
        for number, value in enumerate(
            (
                DEEP,
                deep(shape={"text": ""}, inner={"at": datetime(1960, 1, 1, tzinfo=EAST), "flag": False}),
                deep(shape={"none": None}, label=""),
            )
        ):
            mirror.keep(str(number), value)
            assert mirror.lookup(str(number)) == {"some": value}
        assert mirror.lookup("?") == {"none": None}
        assert mirror.same(DEEP, deep()) is True
        assert mirror.same(DEEP, deep(label="")) is False
        assert mirror.flip({"text": "x"}, True, AT) == {"shape": {"text": "x"}, "flag": False, "at": AT}
        assert mirror.class_(1, "l", "l_", 2, 3, 4) == "1ll_9"
        assert mirror.numbers() == {"least": -(2**63), "most": 2**63 - 1, "minus": -3}
        assert mirror.texts()["b"] == '\n\t"\\\x001\x7f'
        shown = mirror.rpc("lookup", key="0")["some"]
        assert shown == deep(inner={"at": "2026-01-02T03:04:05.678901Z", "flag": True})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"more": 1}, "keep: deep must be a dict with the keys shape, inner, label, not "),
        ({"shape": {}}, "keep: deep.shape must be a dict with one of the keys point, text, none, not {}"),
        ({"shape": {"none": None, "text": ""}}, "keep: deep.shape must be a dict with one of "),
        ({"shape": {"none": 3}}, "keep: deep.shape.none must be None, not 3"),
        ({"shape": {"point": {"int": 1.5, "from": 1}}}, "keep: deep.shape.point.int must be an int, not 1.5"),
        (
            {"shape": {"point": {"int": 2**63, "from": 1}}},
            "keep: deep.shape.point.int must be an integer of 64 bits, not 9223372036854775808",
        ),
        ({"label": "\ud800"}, "keep: deep.label must be a text that UTF-8 can hold, not '\\ud800'"),
        ({"label": b"x"}, "keep: deep.label must be a str, not b'x'"),
        (
            {"inner": {"at": AT.replace(tzinfo=None), "flag": True}},
            "keep: deep.inner.at must be a datetime with",
        ),
    ],
)
def test_bad_arguments_are_named(packages: Path, change: dict[str, Any], message: str) -> None:
    from glasrt.errors import BadArgument

    with module_of(packages, "values").Mirror() as mirror:
        with pytest.raises(BadArgument) as caught:
            mirror.keep("key", deep(**change))
        assert str(caught.value).startswith(message)


def test_calls_that_wait(packages: Path) -> None:
    from glasrt.errors import TimedOut

    with module_of(packages, "later").Mirror(timeout_us=100_000) as mirror:
        mirror.want("x")
        assert mirror.wait_for_made() == {"text": "x", "n": 7}
        with pytest.raises(TimedOut):
            mirror.wait_for_made()


def test_a_closed_mirror_says_so(packages: Path) -> None:
    from glasrt.errors import GlasError

    mirror = module_of(packages, "values").Mirror()
    mirror.close()
    with pytest.raises(GlasError, match="closed"):
        mirror.numbers()


def test_a_store_keeps_what_was_done(packages: Path, tmp_path: Path) -> None:
    values = module_of(packages, "values")
    with values.Mirror(store=tmp_path / "store") as mirror:
        mirror.keep("a", DEEP)
    with values.Mirror(store=tmp_path / "store") as mirror:
        assert mirror.lookup("a") == {"some": DEEP}


def test_the_plan_is_in_package_and_core(packages: Path) -> None:
    with module_of(packages, "values").Mirror() as mirror:
        assert mirror.inspect("plan") == json.loads((packages / "values" / "plan.json").read_text())
