"""The command line of glasc: exit codes, what goes where, --json, and that nothing is done twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glasc import cli, driver, whole_build
from glasc.build_errors import BuildError, CompileFailed
from glasc.zig import ContentCache

REPO = Path(__file__).resolve().parent.parent
GOOD = 'app small version "1.0"\n\ndb.n : counter\n\nrpc add(k: Int) -> Int\n  db.n += k\n  return db.n\n'
BAD = GOOD.replace("db.n += k", "db.m += k")
WARNS = (
    'app small version "1.0"\nplace hq\nplace lab\n\ndb.a : cell Int\n  @near hq\n  @together db.b\n'
    "db.b : cell Int\n  @near lab\n\nrpc get() -> Int\n  return db.a + db.b\n"
)


class Result:
    """How a command ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def data(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Result]


@pytest.fixture
def glasc(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs the command line in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GLASC_DEBUG", raising=False)

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["glasc", *arguments])
        code = cli.main()
        found = capsys.readouterr()
        return Result(code, found.out, found.err)

    return run


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "small.glas"
    path.write_text(GOOD, encoding="utf-8")
    return path


# ---------------------------------------------------------------- check


def test_check_says_nothing_about_a_good_program(glasc: Run, app: Path) -> None:
    found = glasc("check", "small.glas")
    assert (found.code, found.out, found.err) == (0, "", "")
    assert glasc("check", "small.glas", "--json").data == {"ok": True, "diagnostics": []}


def test_errors_of_the_program(glasc: Run, app: Path) -> None:
    app.write_text(BAD, encoding="utf-8")
    found = glasc("check", "small.glas")
    assert found.code == 1
    assert found.out == ""
    assert found.err.startswith("small.glas:6:3: error[E0203]: ")
    data = glasc("check", "small.glas", "--json").data
    assert data["ok"] is False
    [diagnostic] = data["diagnostics"]
    assert {key: diagnostic[key] for key in ("file", "line", "column", "code", "severity")} == {
        "file": "small.glas", "line": 6, "column": 3, "code": "E0203", "severity": "error"
    }  # fmt: skip
    assert glasc("build", "small.glas").code == 1


def test_warnings_do_not_fail(glasc: Run, app: Path) -> None:
    app.write_text(WARNS, encoding="utf-8")
    found = glasc("check", "small.glas")
    assert found.code == 0
    assert "warning[" in found.err
    data = glasc("check", "small.glas", "--json").data
    assert data["ok"] is True
    assert data["diagnostics"][0]["severity"] == "warning"


# ---------------------------------------------------------------- files


def one_line(found: Result) -> str:
    assert found.out == ""
    assert found.err.count("\n") == 1, found.err
    return found.err.strip()


def test_files_that_cannot_be_read(glasc: Run, tmp_path: Path) -> None:
    (tmp_path / "binary.glas").write_bytes(b"app \xff")
    missing = "cannot read the program: No such file or directory\nhint:"
    for name, reason in (
        ("none.glas", f"none.glas: {missing} programs there: binary.glas"),
        ("binary.gals", f"binary.gals: {missing} did you mean `binary.glas`?"),
        (".", ".: is a folder; name the program in it, as in app.glas"),
        ("binary.glas", "binary.glas: the program is not UTF-8: byte 5 is 0xff"),
    ):
        for command in ("check", "build"):
            found = glasc(command, name)
            assert found.code == 1
            assert found.err.rstrip("\n") == reason
    data = glasc("check", "none.glas", "--json").data
    assert data["ok"] is False
    assert data["error"]["code"] == 1


def test_names_of_files_that_are_no_text(app: Path, tmp_path: Path) -> None:
    """A folder, a program and an output folder whose names are not UTF-8, in a locale that is not either."""
    folder = os.fsdecode(bytes(tmp_path) + b"/p\xff")
    Path(folder).mkdir()
    for name, text in ((b"\xff.glas", GOOD), (b"\xfe.glas", BAD)):
        Path(folder, os.fsdecode(name)).write_text(text, encoding="utf-8")

    def run(command: str, name: bytes) -> Result:
        arguments = [sys.executable.encode(), b"-m", b"glasc.cli", command.encode(), b"p\xff/" + name]
        if command == "build":
            arguments += [b"--out", b"out\xff"]
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(REPO)}
        done = subprocess.run(arguments, cwd=tmp_path, env=environment, check=False, capture_output=True)
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    for command in ("check", "build"):
        found = run(command, b"\xfe.glas")
        assert (found.code, found.err.split(" ")[0]) == (1, "p\\xff/\\xfe.glas:6:3:")
        assert run(command, b"none.glas").err.startswith("p\\xff/none.glas: cannot read")
        found = run(command, b"\xff.glas")
        assert (found.code, found.err) == (0, "")
    assert "out\\udcff/small-1.0" in found.out
    assert len(list(Path(tmp_path, os.fsdecode(b"out\xff")).glob("*.whl"))) == 2


def test_an_output_folder_that_cannot_be_written(glasc: Run, app: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = glasc("build", "small.glas", "--out", "file/dist")
    assert found.code == 3
    assert "cannot write the bundle" in found.err
    assert "Traceback" not in found.err


# ---------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("build",), 2, "Missing argument 'APP'"),
        (("frob",), 2, "No such command 'frob'"),
        (("check", "x", "--frob"), 2, "No such option"),
        (("build", "small.glas", "--targets", "x86"), 1, "unknown target 'x86'"),
        (("build", "small.glas", "--targets", "amd64"), 1, "did you mean 'x86_64'?"),
        (("build", "small.glas", "--targets", ","), 2, "--targets names no processor"),
        (("build", "small.glas", "--dump-after", "frob"), 1, "no pass 'frob'; they are parse, "),
    ],
)
def test_wrong_command_lines(
    glasc: Run, app: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    found = glasc(*arguments)
    assert found.code == code
    assert message in found.err


def test_help_names_the_exit_codes(glasc: Run) -> None:
    found = glasc("--help")
    assert found.code == 0
    for line in ("0  all went well", "1  what it was given", "4  glasc itself", "5  the mirror failed"):
        assert line in found.out
    assert glasc("version").out == "glasc 0.1.0\n"


def test_run_is_the_run_of_glasrt(glasc: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('app = "pos"\norigin = 5\n')
    found = glasc("run", "bad.toml", "--mirror", "hq")
    assert found.code == 1
    assert "bad.toml:2:10: " in found.err
    assert "hint: " in found.err
    found = glasc("run", "none.toml", "--mirror", "hq")
    assert found.code == 1
    assert "none.toml" in found.err
    assert glasc("run", "none.toml").code == 2
    shown = glasc("run", "--help")
    assert shown.code == 0
    assert "--mirror" in shown.out


# ---------------------------------------------------------------- dumps and builds


def test_every_pass_can_be_printed(glasc: Run, app: Path) -> None:
    for each in driver.PASSES:
        found = glasc("build", "small.glas", "--dump-after", each.name)
        assert (found.code, found.err) == (0, "")
        assert found.out.endswith("\n")
    assert "protocol " in glasc("build", "small.glas", "--dump-after", "plan_protocol").out
    assert "small_run_add" in glasc("build", "small.glas", "--dump-after", "to_c").out


def test_build(glasc: Run, app: Path, tmp_path: Path) -> None:
    found = glasc("build", "small.glas", "--targets", "x86_64,aarch64")
    assert found.code == 0, found.err
    assert found.err == ""
    shown = ("small 1.0, protocol ", "db.n", "counter", "rpc add", "local everywhere", "x86_64", "aarch64")
    for text in shown:
        assert text in found.out
    names = sorted(path.name for path in (tmp_path / "dist").iterdir())
    assert names == [
        "glasrt-0.1.0-py3-none-any.whl",
        "small-1.0-cp311-abi3-manylinux_2_17_aarch64.whl",
        "small-1.0-cp311-abi3-manylinux_2_17_x86_64.whl",
    ]
    data = glasc("build", "small.glas", "--targets", "x86_64", "--out", "other", "--json").data
    assert list(data) == [
        "ok", "app", "version", "protocol_id", "bundles", "host_wheel", "plan", "diagnostics"
    ]  # fmt: skip
    [bundle] = data["bundles"]
    assert bundle["cached"] is True
    assert bundle["size"] == (tmp_path / "other" / names[2]).stat().st_size
    assert bundle["size"] > bundle["module_size"] > 10_000
    assert [method["title"] for method in data["plan"]["methods"]] == ["rpc add"]


def test_a_build_without_changes_is_quick(app: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "glasc.cli", "build", "small.glas"]
    for _ in range(2):
        start = time.monotonic()
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        took = time.monotonic() - start
    assert took < 2  # some 0.3 s where nothing else runs


def test_what_a_quick_build_imports(app: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv[1:] = ['build', 'small.glas']; from glasc import cli; cli.main();"
        "print([name for name in ('lark', 'jinja2', 'cffi', 'rich', 'ziglang') if name in sys.modules])"
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
        )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_changed_program_is_built_anew(glasc: Run, app: Path) -> None:
    first = glasc("build", "small.glas", "--json").data
    app.write_text(GOOD.replace("add", "plus"), encoding="utf-8")
    second = glasc("build", "small.glas", "--json").data
    assert first["protocol_id"] != second["protocol_id"]
    assert second["plan"]["methods"][0]["name"] == "plus"


def test_a_damaged_cache_does_no_harm(glasc: Run, app: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = cli._read(app)
    cache = ContentCache(tmp_path / "cache" / "glasc")
    whole_build.compile_cached(source, cache, lambda _step: None)
    [entry] = (tmp_path / "cache" / "glasc" / "programs").iterdir()
    entry.write_bytes(b"{")
    assert whole_build.compile_cached(source, cache, lambda _step: None).plan["app"] == "small"


# ---------------------------------------------------------------- faults of glasc itself


def test_internal_errors_name_the_pass(glasc: Run, app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from glasc.passes import to_c

    def broken(_self: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(to_c._Writer, "app", broken)
    found = glasc("check", "small.glas")
    assert found.code == 4
    assert "the pass to_c: RuntimeError: planted" in found.err
    assert "Please report it" in found.err
    assert "Traceback" not in found.err
    monkeypatch.setenv("GLASC_DEBUG", "1")
    with pytest.raises(RuntimeError, match="planted"):
        cli.main()


@pytest.mark.parametrize(
    ("error", "code"), [(CompileFailed(("zig", "cc"), "bad C"), 4), (BuildError("the disk is full"), 3)]
)
def test_builds_that_fail(
    glasc: Run, app: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def fail(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr(whole_build, "build_bundle", fail)
    found = glasc("build", "small.glas")
    assert found.code == code
    assert str(error) in found.err
    data = glasc("build", "small.glas", "--json").data
    assert data == {"ok": False, "error": {"code": code, "message": str(error)}}


def test_a_reader_that_has_enough(app: Path, tmp_path: Path) -> None:
    shell = (
        f"{sys.executable} -m glasc.cli build small.glas --dump-after to_c | head -1; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", shell], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""


def test_an_installation_without_its_folders(
    glasc: Run, app: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("glasc.paths._PACKAGE", tmp_path / "nowhere" / "glasc")
    found = glasc("build", "small.glas")
    assert found.code == 3
    assert "not installed completely" in one_line(found)


def test_a_terminal_gets_tables(app: Path, tmp_path: Path) -> None:
    import pty

    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "glasc.cli", "build", "small.glas"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "150"}
    with subprocess.Popen(command, stdout=terminal, stderr=terminal, cwd=tmp_path, env=environment) as run:
        os.close(terminal)
        shown = b""
        while True:
            try:
                piece = os.read(controller, 65536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        assert run.wait() == 0
    os.close(controller)
    assert b"rpc add" in shown
    assert b"\x1b[" in shown


@pytest.mark.parametrize("command", ["glasc", "glasrt"])
def test_interrupted_while_it_is_imported(command: str) -> None:
    script = (
        "import sys\n"
        "class Signal:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'click':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Signal())\n"
        f"from {command}.__main__ import main\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
