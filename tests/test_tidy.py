"""The style, held by machine: who may use whom, how long things get, words, comments at the head, whitespace.

Owns the orders and limits below and nothing else: ruff and mypy hold what they can. An exception stands in a
table with its present size and may only shrink; one that is not needed any more has to go. Every check is
seen red on a made-up source.
"""

from __future__ import annotations

import ast
import functools
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from glasc.diagnostics import CODES

REPO = Path(__file__).resolve().parent.parent
CORE = "runtime_c/core"
MAX_FUNCTION = 50
MAX_FILE = 700

ORDER = (
    # the host side
    ("glasrt", "glasrt.errors", "glasrt.toml_places", "glasrt.logs", "glasrt.wal"),
    ("glasrt.core", "glasrt.bundle"),
    ("glasrt.store", "glasrt.sim_parts", "glasrt.sim_causality", "glasrt.config"),
    ("glasrt.link", "glasrt.embedded", "glasrt.sim", "glasrt.http_wire", "glasrt.store_process"),
    ("glasrt.node", "glasrt.checks"),
    ("glasrt.asgi",),
    ("glasrt.service",),
    ("glasrt.cli",),
    ("glasrt.__main__",),
    # the compiler: how C becomes a wheel, without the language
    ("glasc", "glasc.paths"),
    ("glasc.build_errors", "glasc.targets"),
    ("glasc.wheel",),
    ("glasc.zig",),
    ("glasc.build",),
    # what everything of the language stands on
    ("glasc.source", "glasc.types", "glasc.layout"),
    ("glasc.diagnostics", "glasc.typed_json"),
    # the text of the C and of the package
    ("glasc.emit", "glasc.emit.model", "glasc.emit.names", "glasc.emit.literals"),
    ("glasc.emit.types", "glasc.emit.render"),
    ("glasc.emit.flat",),
    ("glasc.emit.python",),
    # the language
    ("glasc.syntax",),
    ("glasc.syntax_walk", "glasc.syntax_text"),
    ("glasc.build_syntax",),
    ("glasc.parse",),
    ("glasc.ir",),
    ("glasc.ir_walk", "glasc.ir_keys", "glasc.ir_text"),
    ("glasc.ir_check", "glasc.ir_owners", "glasc.interpret"),
    (
        "glasc.passes",
        "glasc.passes.resolve",
        "glasc.passes.check_declarations",
        "glasc.passes.infer_types",
        "glasc.passes.check_flow",
        "glasc.passes.lower",
        "glasc.passes.infer_effects",
        "glasc.passes.simplify",
        "glasc.passes.place",
        "glasc.passes.route",
        "glasc.passes.plan_protocol",
        "glasc.passes.to_c_body",
    ),
    ("glasc.passes.warn", "glasc.plan_json", "glasc.plan_text"),
    ("glasc.passes.to_c",),
    ("glasc.driver",),
    ("glasc.whole_build",),
    ("glasc.report",),
    ("glasc.cli",),
    ("glasc.__main__",),
)
"""Every module of ours, lowest first: one imports only from rows before its own."""

STRANGERS = (
    ("glasc.ir", ("glasc.syntax", "glasc.parse", "glasc.emit"), ()),
    ("glasc.passes", ("glasc.build", "glasc.zig", "glasc.wheel", "glasc.targets"), ()),
    ("glasc.passes", ("glasc.emit",), ("glasc.passes.to_c", "glasc.passes.to_c_body")),
    ("glasc.cli", ("glasc.ir", "glasc.passes", "glasc.emit", "glasc.syntax"), ()),
    ("glasc", ("glasrt",), ("glasc.cli", "glasc.whole_build")),  # to start a mirror, to make the host's wheel
    ("glasrt.sim", ("time", "asyncio", "socket", "threading", "os"), ()),  # everything comes from the seed
    ("glasrt.core", ("time", "asyncio", "socket", "threading", "sqlite3"), ()),
    ("glasc", ("tests", "examples", "benchmarks", "tools"), ()),
    ("glasrt", ("glasc", "tests", "examples", "benchmarks", "tools"), ()),
)
"""Who, whom it never imports although the order would let it, and who of the first may all the same."""

CALLS_UP = {
    "log": {"glas_session_prune", "glas_wake_all"},
    "hello": {"glas_call_free", "glas_ship_again"},
    "link": {
        "glas_note_started",
        "glas_ship_pump",
        "glas_take_done",
        "glas_take_open",
        "glas_take_reply",
        "glas_take_request",
        "glas_wake_all",
    },
    "ship": {"glas_call_arrives", "glas_call_ends"},
}
"""By file of the core: functions of files above it that it calls all the same."""

LONG_FILES: dict[str, int] = {}
"""Files over the limit, with the lines that they may have."""

WORDS = {
    "TO|DO": "do it, or put it in an issue",
    "FIX|ME": "mend it, or put it in an issue",
    "XX|X": "say in words what is wrong",
    "HA|CK": "say why it has to be so",
    "mas|ter": "origin, or owner",
    "sla|ve": "mirror",
    "white|list": "what is allowed",
    "black|list": "what is refused",
    "vector clo|ck": "frontier",
    "version vec|tor": "frontier",
    "replica s|et": "mirrors",
    "sha|rd": "unit",
    "follo|wer": "mirror",
    "op|log": "log",
    "commit l|og": "log, or journal",
    "transaction l|og": "log, or journal",
    "ownership trans|fer": "grant",
    "/wo|rk/": "a path from the clone on",
    "/ro|ot/": "a path from the clone on",
    "/fa|rm/": "a path from the clone on",
    "/ho|me/": "a path from the clone on",
    "/tmp/bash_|jobs": "a path from the clone on",
}
"""What is not written here (nor in this table: `|` breaks it), and what is written instead. The vocabulary is
that of docs/consistency.md; words in capitals are meant as they stand, others in any case and number.
"""

TEXTS = {".py", ".c", ".h", ".j2", ".md", ".lark", ".glas", ".toml", ".txt", ".in", ".pyi", ""}


# ---------------------------------------------------------------- the tree


@functools.cache
def tree() -> dict[str, str]:
    """The text files of the project by path, those not committed yet among them."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True).stdout.splitlines()
    paths = [REPO / name for name in listed if Path(name).suffix in TEXTS]
    return {str(path.relative_to(REPO)): path.read_text("utf-8") for path in paths if path.is_file()}


def only(*endings: str) -> Iterator[tuple[str, str]]:
    """The files whose names end so."""
    return ((name, text) for name, text in tree().items() if name.endswith(endings))


def modules() -> dict[str, str]:
    """The Python modules of glasc and glasrt by name."""
    found = {}
    for name, text in only(".py"):
        if name.startswith(("glasc/", "glasrt/")):
            found[name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")] = text
    return found


def within(module: str, package: str) -> bool:
    """Whether a module is a package, in it, or one of its name and more, as ir_text is of ir."""
    return module == package or module.startswith((f"{package}.", f"{package}_"))


# ---------------------------------------------------------------- who uses whom in Python


def imported(module: str, text: str, known: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Line and name of each module imported anywhere in a module; others than ours as written."""
    known = set(known)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, each.name) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*module.split(".")[: -node.level], *filter(None, [base])])
            for each in node.names:
                name = f"{base}.{each.name}"
                yield node.lineno, name if name in known else base


def bad_imports(module: str, text: str, order: tuple[tuple[str, ...], ...] = ORDER) -> list[str]:
    """Imports that go up, and those between strangers."""
    rank = {name: number for number, row in enumerate(order) for name in row}
    found = []
    for line, name in imported(module, text, rank):
        if name in rank and name != module and rank[name] >= rank[module]:
            found.append(f"{module}:{line} imports {name}, which is not below it")
        for who, whom, except_for in STRANGERS:
            if within(module, who) and module not in except_for and any(within(name, each) for each in whom):
                found.append(f"{module}:{line} imports {name}: these two do not know each other")
    return found


def test_imports_point_down() -> None:
    assert [problem for name, text in modules().items() for problem in bad_imports(name, text)] == []


def test_the_order_names_every_module_once() -> None:
    named = [name for row in ORDER for name in row]
    assert sorted(named) == sorted(modules())


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("glasrt.core", "import glasc.types"),
        ("glasrt.core", "from glasrt import node"),
        ("glasrt.node", "def f():\n  from glasrt.service import run_mirror"),
        ("glasrt.sim", "import time"),
        ("glasc.emit.render", "from glasc import ir"),
        ("glasc.emit.render", "from glasc.ir_text import program_text"),
        ("glasc.emit.flat", "from glasc.passes.route import route"),
        ("glasc.emit.flat", "from ..passes import route"),
        ("glasc.passes.place", "from glasc.passes.route import route"),
        ("glasc.passes.place", "from glasc.emit.names import c_name"),
        ("glasc.passes.place", "import glasc.driver"),
        ("glasc.ir_check", "if TYPE_CHECKING:\n  from glasc.syntax import Program"),
        ("glasc.cli", "from glasc.ir import Program"),
        ("glasc.driver", "from glasrt.core import Core"),
        ("glasc.types", "import tests.programs"),
    ],
)
def test_a_wrong_import_is_seen(module: str, text: str) -> None:
    assert bad_imports(module, text)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("glasrt.node", "import asyncio\nfrom glasrt import __version__\nfrom glasrt.link import dial"),
        ("glasc.ir_text", "from glasc import ir\nfrom glasc.types import INT"),
        (
            "glasc.passes.to_c",
            "from glasc.emit import names, model\nfrom glasc.passes.plan_protocol import Protocol",
        ),
        ("glasc.cli", "def run():\n  from glasrt.cli import run"),
        ("glasc.irony", ""),
    ],
)
def test_a_right_import_is_left_alone(module: str, text: str) -> None:
    assert bad_imports(module, text) == []


# ---------------------------------------------------------------- who uses whom in the core


def plain_c(text: str) -> str:
    """C without comments and literals, its lines where they were."""
    hidden = r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"
    return re.sub(hidden, lambda found: "\n" * found[0].count("\n") or " ", text, flags=re.DOTALL)


def core_order(header: str) -> list[str]:
    """The files of the core, lowest first, as the head of core.h lists them."""
    found = re.search(r"above it here\):(.*?)\.\s", header.replace("\n *", " "))
    assert found is not None, "core.h does not begin with the order of its files"
    return found[1].replace("|", " ").split()


def calls_up(order: list[str], texts: dict[str, str]) -> dict[str, set[str]]:
    """By file, the functions that it uses and that a file above it defines."""
    plain = {name: plain_c(text) for name, text in texts.items()}
    head = re.compile(r"^(?!static\b|typedef\b)[a-z_][^;{}=()]*?\b(glas_\w+)\([^;{}]*\)\s*\{", re.MULTILINE)
    home = {found[1]: name for name, text in plain.items() for found in head.finditer(text)}
    found: dict[str, set[str]] = {}
    for name, text in plain.items():
        for word in set(re.findall(r"\bglas_\w+", text)) & set(home):
            if order.index(home[word]) > order.index(name):
                found.setdefault(name, set()).add(word)
    return found


def test_files_of_the_core_use_what_is_below() -> None:
    texts = {Path(name).stem: text for name, text in only(".c") if name.startswith(f"{CORE}/")}
    order = core_order(tree()[f"{CORE}/core.h"])
    assert sorted(order) == sorted(texts)
    assert calls_up(order, texts) == CALLS_UP
    listed = re.findall(r"^\| `(\w+)` \| [^|]+\|$", tree()["ARCHITECTURE.md"], re.MULTILINE)
    assert [name for name in listed if name in order] == order, "ARCHITECTURE.md lists them in the same order"


def test_a_call_up_is_seen() -> None:
    order = core_order("/* Order (a file uses only what stands above it here): mem wire\n * | core. More.")
    assert order == ["mem", "wire", "core"]
    low = "int glas_a(int a)\n{\n    return a; /* not glas_c */\n}\n"
    low += 'const char *glas_b(void) { return "glas_c()"; }\n'
    high = "void glas_c(int a,\n            int b)\n{\n    glas_a(a);\n}\nstatic int glas_d(void)\n{\n}\n"
    assert calls_up(order, {"mem": low, "core": high}) == {}
    assert calls_up(order, {"mem": high, "core": low}) == {"mem": {"glas_a"}}


# ---------------------------------------------------------------- lengths


def python_functions(text: str) -> Iterator[tuple[str, int]]:
    """Name and lines of each function, those within others too."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def c_functions(text: str) -> Iterator[tuple[str, int]]:
    """Name and lines of each function whose body ends in a `}` in the first column, as ours do."""
    shape = r"^[A-Za-z_][^;{}#]*?\b(\w+)\([^;{}]*\)\s*\{.*?^\}"
    for found in re.finditer(shape, plain_c(text), re.MULTILINE | re.DOTALL):
        yield found[1], found[0].count("\n") + 1


def long_functions() -> Iterator[str]:
    for name, text in only(".py", ".c", ".h"):
        for function, lines in python_functions(text) if name.endswith(".py") else c_functions(text):
            if lines > MAX_FUNCTION:
                yield f"{name}: {function} has {lines} lines"


def long_files(files: Iterable[tuple[str, str]]) -> dict[str, int]:
    return {name: text.count("\n") for name, text in files if text.count("\n") > MAX_FILE}


def test_functions_are_short() -> None:
    assert list(long_functions()) == []
    assert sum(len(list(c_functions(text))) for _, text in only(".c", ".h")) > 500
    assert sum(len(list(python_functions(text))) for _, text in only(".py")) > 1000


def test_files_are_short() -> None:
    found = long_files(only(".py", ".c", ".h", ".j2", ".lark", ".md"))
    assert found.keys() == LONG_FILES.keys()
    assert {name: lines for name, lines in found.items() if lines > LONG_FILES[name]} == {}


def test_long_things_are_seen() -> None:
    body = "    x = 1\n" * MAX_FUNCTION
    assert list(python_functions(f"class A:\n  async def f(a,\n    b):\n{body}")) == [("f", MAX_FUNCTION + 2)]
    c_body = "{\n" + "    if (x) {\n    }\n" * MAX_FUNCTION + "}\n"
    long_one = "static const glas_row *f(int a,\n                int b)\n"
    assert list(
        c_functions(f"struct a {{\n    int b;\n}};\nint c = 1;\n{long_one}{c_body}int g(void) {{\n}}\n")
    ) == [
        ("f", 2 * MAX_FUNCTION + 4),
        ("g", 2),
    ]
    assert long_files([("a", "\n" * MAX_FILE), ("b", "\n" * (MAX_FILE + 1))]) == {"b": MAX_FILE + 1}


# ---------------------------------------------------------------- words, comments, whitespace


@functools.cache
def banned() -> dict[str, str]:
    """WORDS, unbroken."""
    return {word.replace("|", ""): instead for word, instead in WORDS.items()}


@functools.cache
def banned_pattern() -> re.Pattern[str]:
    """One that finds all of them, in its only group."""
    shouted = "|".join(word for word in banned() if word.isupper())
    others = "|".join(rf"{word}(?=s?\b)" for word in banned() if word[0] != "/" and not word.isupper())
    paths = "|".join(word for word in banned() if word[0] == "/")
    return re.compile(rf"((?:\b(?:{shouted})\b)|\b(?i:{others})|{paths})")


def bad_words(name: str, text: str) -> Iterator[str]:
    """Banned words with their lines and what to write instead."""
    for found in banned_pattern().finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        instead = banned().get(found[1]) or banned()[found[1].lower()]
        yield f"{name}:{line}: not {found[1]!r}, but {instead}"


def test_words() -> None:
    quoted = {"pyproject.toml"}  # names the words that ruff looks for
    assert [each for name, text in only("") if name not in quoted for each in bad_words(name, text)] == []


@pytest.mark.parametrize("broken", WORDS)
def test_a_banned_word_is_seen(broken: str) -> None:
    word = broken.replace("|", "")
    assert list(bad_words("a.md", f"first line\nhere {word}, then")) == [
        f"a.md:2: not {word!r}, but {WORDS[broken]}"
    ]
    if not word.isupper() and word[0] != "/":
        assert len(list(bad_words("a.md", f"Two {word.title()}s"))) == 1
    assert list(bad_words("a.md", "first line\nanother remastered hackneyed xxx page")) == []


def public(text: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Functions, classes and methods whose names, and those of what they stand in, begin without `_`."""
    stack: list[ast.AST] = [ast.parse(text)]
    while stack:
        for node in ast.iter_child_nodes(stack.pop()):
            if (
                isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                and node.name[0] != "_"
            ):
                yield node
                if isinstance(node, ast.ClassDef):
                    stack.append(node)


def without_words(name: str, text: str) -> Iterator[str]:
    """Whether a file, and of a program every public thing in it, begins with words that say what it is."""
    if name.endswith(".py"):
        if not ast.get_docstring(ast.parse(text)):
            yield f"{name} has no docstring"
        if not name.startswith(("tests/", "setup.py")):
            bare = (node for node in public(text) if not ast.get_docstring(node))
            yield from (f"{name}:{node.lineno}: {node.name} has no docstring" for node in bare)
    elif not text.startswith(("/*", "{#", "//", "#")) or text.startswith("#include"):
        yield f"{name} does not begin with a comment"


def test_everything_says_what_it_is() -> None:
    files = only(".py", ".c", ".h", ".lark")
    assert [each for name, text in files for each in without_words(name, text)] == []


@pytest.mark.parametrize(
    ("name", "text", "problems"),
    [
        ("glasc/a.py", '"""A."""\n', 0),
        ("glasc/a.py", "import os\n", 1),
        ("tests/a.py", "def f(): pass\n", 1),
        ("glasc/a.py", '"""A."""\ndef f(): pass\ndef _g(): pass\nclass B:\n  def h(self): pass\n', 3),
        ("a.c", "/* A. */\n", 0),
        ("a.c", '#include "a.h"\n/* A. */\n', 1),
    ],
)
def test_a_file_without_words_is_seen(name: str, text: str, problems: int) -> None:
    assert len(list(without_words(name, text))) == problems


def bad_space(name: str, text: str) -> Iterator[str]:
    if text and not text.endswith("\n"):
        yield f"{name} does not end with a newline"
    for number, line in enumerate(text.split("\n"), 1):
        if line.endswith((" ", "\t", "\r")):
            yield f"{name}:{number} ends with white space"


def test_white_space() -> None:
    wanted = {"tests/cases/errors/"}  # programs with mistakes, also of this kind, and what is said of them
    assert [
        each
        for name, text in only("")
        if not name.startswith(tuple(wanted))
        for each in bad_space(name, text)
    ] == []


def test_bad_space_is_seen() -> None:
    assert list(bad_space("a", "")) == list(bad_space("a", "a\n\nb\n")) == []
    assert all(list(bad_space("a", text)) for text in ("a", "a \n", "a\n\t\n", "a\r\n"))


# ---------------------------------------------------------------- diagnostics


def unseen(codes: Iterable[str]) -> set[str]:
    """Codes that no golden shows and no test asks for; test_cases.py asks for goldens where it can."""
    texts = [text for name, text in only(".txt", ".py") if name.startswith("tests/")]
    shown = re.compile(r"(?:error|warning)\[([EW]\d+)\]|\"([EW]\d{4})\"")
    return set(codes) - {code for text in texts for pair in shown.findall(text) for code in pair}


def test_every_diagnostic_is_seen_red() -> None:
    assert unseen(CODES) == set()
    assert unseen(["E" + "7999"]) == {"E" + "7999"}
