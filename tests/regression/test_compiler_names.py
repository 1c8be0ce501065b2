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

from glasc import build, driver, paths, targets
from glasc.diagnostics import CompileErrors
from glasc.emit.names import C_WORDS
from glasc.passes.resolve import STATEMENTS
from glasc.source import Source
from glasc.whole_build import HOST_REQUIRES
from glasrt.errors import BadArgument

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


# ---------------------------------------------------------------- labels, methods and states


def test_a_label_is_not_the_number_of_a_method(load: Load) -> None:
    """A label of a type `Method` and the number of a method had one name in C, and the number won: what had
    been `buy` was found to be `sell`.
    """
    app = load(
        'app method_labels version "1.0"\n'
        "type Method = buy | sell\n"
        "db.last : cell Method\n"
        "rpc sell(m: Method) -> Text\n"
        "  db.last := buy: ()\n"
        "  match m\n"
        '    buy -> return "buy"\n'
        '    sell -> return "sell"\n'
        "rpc buy() -> Method\n"
        "  return buy: ()\n"
    )
    with app.Mirror() as mirror:
        assert [mirror.sell({label: None}) for label in ("buy", "sell")] == ["buy", "sell"]
        assert mirror.buy() == {"buy": None}


def test_a_label_is_not_the_number_of_a_state(load: Load) -> None:
    """The same for a type `State` and the states."""
    app = load(
        'app state_labels version "1.0"\n'
        "type State = other | db_x\n"
        "db.x : cell Int\n"
        "rpc f(s: State) -> Int\n"
        "  db.x := 7\n"
        "  match s\n"
        "    other -> return 0\n"
        "    db_x -> return db.x\n"
    )
    with app.Mirror() as mirror:
        assert [mirror.f({label: None}) for label in ("other", "db_x")] == [0, 7]


# ---------------------------------------------------------------- what a method's C uses


def test_what_a_method_does_not_use(load: Load) -> None:
    """Whether C used a parameter was looked up in the text of that C, literals and longer names included."""
    app = load(
        'app unused_ones version "1.0"\n'
        "rpc echo(txn_id: Int) -> Int\n  return txn_id\n"
        'rpc txn() -> Text\n  return "txn"\n'
        'rpc args() -> Text\n  return "args->"\n'
        'rpc result() -> Text\n  return "*result"\n'
        'rpc never(n: Int) -> Int\n  error "args-> {n}"\n'
        'rpc ignores(n: Int, args: Int)\n  sys.log("x")\n'
    )
    with app.Mirror() as mirror:
        assert mirror.echo(3) == 3
        assert [mirror.txn(), mirror.args(), mirror.result()] == ["txn", "args->", "*result"]
        assert mirror.ignores(1, 2) is None


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


# ---------------------------------------------------------------- words of C

OF_C = """
    auto char default double enum extern float goto int long short signed static struct typedef union void
    asm typeof inline restrict bool nullptr constexpr thread_local alignas alignof typeof_unqual static_assert
    unix linux i386 main defined offsetof
"""
OF_HEADERS = """
    errno stdin stdout stderr assert alloca int8_t uint8_t int64_t uint64_t size_t ssize_t wchar_t memset
    memcpy strlen free malloc be16toh
"""
OF_THE_CORE = """
    glas_text glas_unit glas_input glas_step glas_core glas_reply core now timeout_us out args input r
    txn arguments results result s v a b t f h tag value value_n names seen key row n p message
"""
OF_PYTHON = "self outcome error len str datetime class def lambda type case print object list dict"
WORDS = " ".join((OF_C, OF_HEADERS, OF_THE_CORE, OF_PYTHON)).split()


@pytest.mark.parametrize("words", [WORDS[:55], WORDS[55:]], ids=["first", "second"])
def test_words_of_c(load: Load, words: list[str]) -> None:
    """Parameters called `int64_t` or `glas_text` hid what the C needs; fields called `errno`, `offsetof` or
    `static_assert` are macros, or words to the parser of cffi.
    """
    name = f"words_{words[0]}"
    match = "".join(f'    {word} -> return "{word}"\n' for word in words)
    methods = "".join(
        f"rpc {word}({word}: Int) -> Int\n  return {word}\n" for word in words if word not in STATEMENTS
    )
    states = "".join(f"db.{word} : counter\n" for word in words)
    app = load(
        f'app {name} version "1"\n'
        f"type Word = ({' | '.join(words)})\n"
        f"type All = ({listed(words, '{}: Int')})\n"
        f"{states}{methods}"
        f"rpc take_all({listed(words, '{}: Int')}) -> All\n  return ({listed(words, '{0}: {0}')})\n"
        f"rpc pass_all(all: All) -> All\n  return all\n"
        f"rpc which_one(word: Word) -> Text\n  match word\n{match}"
        f"rpc same_one(word: Word) -> Word\n  return word\n"
        f"rpc texts_one({listed(words[:20], '{}: Text')}) -> ({listed(words[:20], '{}: Text')})\n"
        f"  return ({listed(words[:20], '{0}: {0}')})\n"
    )
    numbers = {word: number for number, word in enumerate(words)}
    texts = {word: word for word in words[:20]}
    with app.Mirror() as mirror:
        assert mirror.take_all(*numbers.values()) == numbers
        assert mirror.pass_all(numbers) == numbers
        assert mirror.rpc("take_all", **numbers) == numbers
        assert mirror.texts_one(*texts.values()) == texts
        for word in words:
            assert mirror.which_one({word: None}) == word
            assert mirror.same_one({word: None}) == {word: None}
            if word not in STATEMENTS:
                assert mirror.rpc(word, **{word: 3}) == 3


MACROS = """
#include <Python.h>
#include "glas_app.h"
#include "glas_module.h"
"""


@pytest.mark.parametrize("target", sorted(targets.TARGETS))
def test_macros_of_the_headers_are_known(target: str, tmp_path: Path) -> None:
    """A field of that name would be replaced, but for macros with parentheses: no field has any."""
    (tmp_path / "all.c").write_text(MACROS)
    zig = (sys.executable, "-P", "-m", "ziglang", "cc", "-target", targets.lookup(target).zig_triple)
    include = (f"-I{paths.runtime_c() / 'include'}", f"-I{paths.python_abi()}")
    for standard in ("c11", "gnu17"):
        done = subprocess.run(
            [*zig, f"-std={standard}", "-DPy_LIMITED_API=0x030b0000", *include, "-dM", "-E", "all.c"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
        )
        found = {line.split()[1] for line in done.stdout.splitlines()}
        assert "errno" in found
        assert {name for name in found if name[0].islower() and "(" not in name} - C_WORDS == set()


# ---------------------------------------------------------------- names of apps

ANY_NAME = """app {name} version "1"
place hq
place shop many
type Line = (text: Text, n: Int)
db.x : cell Line
  @at hq
db.rows : dict Text of Int
  @near shop[key]

http GET "/run_x/{{n}}"
  return reply(200, n)

rpc x(run_x: Text, {name}_out_x: Int, run_f: Int) -> Line
  db.x := (text: run_x, n: {name}_out_x)
  let run_y = db.x.n + run_f
  let call_x = "{{db.x.text}}{{run_y}}"
  return (text: call_x, n: run_y)

rpc run_x(call_run_x: Text) -> Text
  db.x := (text: call_run_x, n: 1)
  return db.x.text

rpc run_rows(n: Int)
  db.rows["a"] := n

rpc f(line: Line) -> Bool
  return line == db.x
"""


@pytest.mark.parametrize(
    "name",
    [
        *("drop", "take", "put", "equal", "to", "v", "v_x", "b", "glas", "app", "needs", "effects", "path"),
        *("owner", "stdlib", "features", "core", "place", "text", "int64_t", "main"),
    ],
)
def test_any_app_name(load: Load, name: str) -> None:
    """Types of an app `drop` were called like functions of its C, those of `needs` like its tables; in an app
    `v` a local could hide a method, in an app `b` a Python local its C entry; the header of an app `stdlib`
    stood in for that of the C library.
    """
    app = load(ANY_NAME.format(name=name))
    with app.Mirror() as mirror:
        assert mirror.x("a", 3, 4) == {"text": "a7", "n": 7}
        assert mirror.f({"text": "a", "n": 3}) is True
        assert mirror.run_x("b") == "b"
        assert mirror.http("GET", "/run_x/5")[2] == b"5"


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


# ---------------------------------------------------------------- the Python package

TYPES = [
    *("KeyError", "ValueError", "TypeError", "OverflowError", "AttributeError", "Exception", "Warning"),
    *(
        "Mirror",
        "EmbeddedMirror",
        "BadArgument",
        "PROTOCOL_ID",
        "Path",
        "Final",
        "TypedDict",
        "Any",
        "Literal",
    ),
    *("None", "True", "Foo", "Foo_Bar", "FooBar"),
]
USE = """
import type_words as app
from pathlib import Path
m = app.Mirror("main", store=Path("x"))
one: app.KeyError = {"a": 1, "int": 2, "str": "x", "datetime": None, "bool": True}
reveal_type(m.f(one, one)["a"])
m.f({"a": 1}, one)  # wrong
"""


def test_types_of_the_app_and_names_of_python(load: Load, tmp_path: Path) -> None:
    """A type `KeyError` took the place of the exception where bad arguments are caught; a type
    `EmbeddedMirror` or a field `int` made the stub mean something else.
    """
    shape = "(a: Int, int: Int, str: Text, datetime: Unit, bool: Bool)"
    types = "".join(
        f"type {word} = (a: Int, x{number}: Int)\n" for number, word in enumerate(TYPES) if word != "KeyError"
    )
    methods = "".join(
        f"rpc m{number}(x: {word}) -> {word}\n  return x\n" for number, word in enumerate(TYPES)
    )
    first = "rpc f(x: KeyError, y: KeyError) -> KeyError\n  return x\n"
    app = load(f'app type_words version "1"\ntype KeyError = {shape}\n{types}{first}{methods}')
    with app.Mirror() as mirror:
        assert mirror.m1({"a": 1, "x1": 2}) == {"a": 1, "x1": 2}
        for bad in ({"a": 1}, {"a": 1, "x2": 1}, {"a": "x", "x1": 1}, {"a": 2**63, "x1": 1}, 7, None):
            with pytest.raises(BadArgument, match="m1: x"):
                mirror.m1(bad)
    assert {"KeyError", "ValueError", "EmbeddedMirror", "Path", "Foo"} <= vars(app).keys()
    (tmp_path / "use.py").write_text(USE)
    found = mypy(tmp_path, "type_words", "use.py")
    wrong = [line for line in found if ": error:" in line and not line.startswith("type_words/_arguments.py")]
    assert [line.split(" ")[0] for line in wrong] == ["use.py:7:"], found
    assert any('Revealed type is "int"' in line.replace("builtins.", "") for line in found), found


def mypy(folder: Path, *what: str) -> list[str]:
    options = ("--strict", "--no-error-summary", "--config-file=", "--cache-dir=.mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *what],
        cwd=folder,
        env={"MYPYPATH": str(REPO), "PATH": ""},
        check=False,
        capture_output=True,
        text=True,
    )
    return (done.stdout + done.stderr).splitlines()
