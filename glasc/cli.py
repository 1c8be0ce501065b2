"""The command line of the compiler: `glasc build`, `check`, `run`, `version`.

Owns arguments, exit codes and where messages go. Does not know the IR. Everything but click is imported when
a command needs it, so that help and builds without changes are quick.

| exit code | means |
|---|---|
| 0 | all went well |
| 1 | what it was given is wrong: the program, an unknown target or pass, a missing file, the configuration |
| 2 | the command line is wrong |
| 3 | what it needs cannot be used: a folder to write to, a bundle, a store, a port |
| 4 | glasc itself failed; `GLASC_DEBUG=1` shows where |
| 5 | the mirror failed (`glasc run`) |
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import glasc
from glasc.paths import MissingFiles

if TYPE_CHECKING:
    from glasc.source import Source
    from glasc.targets import Target
    from glasc.whole_build import Built

OK, INPUT, USAGE, FILES, INTERNAL = 0, 1, 2, 3, 4

_CODES = """\b
Exit codes:
  0  all went well
  1  what it was given is wrong: the program, an unknown target or pass, a missing file, the configuration
  2  the command line is wrong
  3  what it needs cannot be used: a folder to write to, a bundle, a store, a port
  4  glasc itself failed: please report it (GLASC_DEBUG=1 shows where)
  5  the mirror failed (glasc run)
"""


class Stop(Exception):
    """Ends the command with an exit code and a message for people (and, under --json, `data` for
    programs).
    """

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        self.code = code
        self.data = {"ok": False, "error": {"code": code, "message": message}} if data is None else data
        super().__init__(message)


@click.group(epilog=_CODES, context_settings={"max_content_width": 100})
def cli() -> None:
    """Compiles glas programs into bundles that run as many mirrors of one app."""


@cli.command()
@click.argument("app", type=click.Path(path_type=Path))
@click.option(
    "--targets", help="Processors, with commas between: x86_64, aarch64.  [default: this machine's]"
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("dist"),
    show_default=True,
    help="Folder of the bundles.",
)
@click.option(
    "--dump-after", metavar="PASS", help="Prints what a pass of the compiler leaves; builds nothing."
)
@click.option("--json", "as_json", is_flag=True, help="Prints the result as JSON.")
@click.option("--no-cache", is_flag=True, help="Does everything anew.")
def build(
    app: Path, targets: str | None, out: Path, dump_after: str | None, as_json: bool, no_cache: bool
) -> None:
    """Compiles the program APP into a bundle for each target."""
    with _answering(as_json):
        chosen = _targets(targets)
        source = _read(app)
        if dump_after is not None:
            text = _dump(source, dump_after)
            if as_json:
                text = json.dumps({"ok": True, "pass": dump_after, "text": text}, indent=1) + "\n"
            click.echo(text, nl=False)
            return
        from glasc import report

        with _cache_folder(no_cache) as cache, _progress(as_json) as on_step:
            built = _build(source, chosen, out, cache, on_step)
        for text, _ in () if as_json else built.compiled.warnings:
            click.echo(text + "\n", err=True)
        if as_json:
            click.echo(json.dumps(report.as_data(built), indent=1))
        else:
            _show(built)


@cli.command()
@click.argument("app", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Prints the result as JSON.")
def check(app: Path, as_json: bool) -> None:
    """Looks for mistakes in the program APP."""
    with _answering(as_json):
        source = _read(app)
        from glasc import driver

        with _program_errors():
            warnings = driver.check(source)
        if as_json:
            click.echo(
                json.dumps({"ok": True, "diagnostics": [each.to_json() for each in warnings]}, indent=1)
            )
        for warning in () if as_json else warnings:
            click.echo(warning.render() + "\n", err=True)


@cli.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    short_help="Runs a mirror: like `glasrt run`.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(arguments: tuple[str, ...]) -> None:
    """Runs a mirror of a compiled program: CONFIG --mirror NAME, and whatever else `glasrt run` takes."""
    import glasrt.cli

    sys.argv = ["glasrt", "run", *arguments]
    raise SystemExit(glasrt.cli.main())


@cli.command()
def version() -> None:
    """Prints the version of glasc."""
    click.echo(f"glasc {glasc.__version__}")


# ---------------------------------------------------------------- parts of the commands


def _targets(text: str | None) -> tuple[Target, ...]:
    from glasc.targets import UnknownTarget, host, lookup

    try:
        if text is None:
            return (host(),)
        names = [name.strip() for name in text.split(",") if name.strip()]
        if not names:
            raise Stop(USAGE, "--targets names no processor")
        return tuple(lookup(name) for name in dict.fromkeys(names))
    except UnknownTarget as error:
        raise Stop(INPUT, str(error)) from error


def _read(path: Path) -> Source:
    from glasc.source import Source

    name = _printable(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except IsADirectoryError as error:
        inside = _printable(path / "app.glas")
        raise Stop(INPUT, f"{name}: is a folder; name the program in it, as in {inside}") from error
    except OSError as error:
        raise Stop(INPUT, f"{name}: cannot read the program: {_reason(error)}{_near(path)}") from error
    except UnicodeDecodeError as error:
        raise Stop(
            INPUT,
            f"{name}: the program is not UTF-8: byte {error.start + 1} is {error.object[error.start]:#04x}",
        ) from error
    return Source(name, text)


def _printable(path: Path) -> str:
    """The path as text; the system lets it hold bytes that are none."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _near(path: Path) -> str:
    """What else may have been meant by a path that is not there."""
    found = sorted(each.stem for each in path.parent.glob("*.glas")) if path.parent.is_dir() else []
    if path.exists() or not found:
        return ""
    import difflib

    close = difflib.get_close_matches(path.stem, found, n=1)
    if close:
        return f"\nhint: did you mean `{path.with_name(close[0])}.glas`?"
    return f"\nhint: programs there: {', '.join(f'{name}.glas' for name in found[:5])}"


def _dump(source: Source, name: str) -> str:
    from glasc import driver

    known = [each.name for each in driver.PASSES]
    if name not in known:
        raise Stop(INPUT, f"no pass {name!r}; they are {', '.join(known)}")
    with _program_errors():
        return driver.dump(source, name)


def _build(
    source: Source, targets: tuple[Target, ...], out: Path, cache: Path, on_step: Callable[[str], None]
) -> Built:
    from glasc import whole_build
    from glasc.build_errors import BuildError, CompileFailed

    try:
        with _program_errors():
            return whole_build.build(source, targets, out, cache, on_step)
    except CompileFailed as error:
        raise Stop(INTERNAL, str(error)) from error
    except BuildError as error:
        raise Stop(FILES, str(error)) from error


@contextmanager
def _program_errors() -> Iterator[None]:
    """Errors in the program end the command with code 1."""
    from glasc.diagnostics import CompileErrors

    try:
        yield
    except CompileErrors as error:
        data = {"ok": False, "diagnostics": [each.to_json() for each in error.diagnostics]}
        raise Stop(INPUT, str(error), data) from error


@contextmanager
def _cache_folder(no_cache: bool) -> Iterator[Path]:
    from glasc.build import default_cache_dir

    if not no_cache:
        yield default_cache_dir()
        return
    with tempfile.TemporaryDirectory(prefix="glasc-") as folder:
        yield Path(folder)


# ---------------------------------------------------------------- output


@contextmanager
def _answering(as_json: bool) -> Iterator[None]:
    """Prints what ends a command, for people on stderr or for programs on stdout."""
    try:
        yield
    except Stop as stop:
        if as_json:
            click.echo(json.dumps(stop.data, indent=1))
        else:
            click.echo(str(stop), err=True)
        raise SystemExit(stop.code) from stop


@contextmanager
def _progress(as_json: bool) -> Iterator[Callable[[str], None]]:
    """Shows the step at hand on a terminal, and nothing elsewhere."""
    if as_json or not sys.stderr.isatty():
        yield lambda _step: None
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield status.update


def _show(built: Built) -> None:
    from glasc import report

    found = report.tables(built)
    if not sys.stdout.isatty():
        click.echo(report.heading(built))
        for table in found:
            click.echo("\n" + "\n".join(report.plain(table)))
        click.echo("\n" + report.footing(built))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    console.print(escape(report.heading(built)))
    for table in found:
        shown = Table(*table.head, title=table.title, title_justify="left", box=None, pad_edge=False)
        for row in table.rows:
            shown.add_row(*map(escape, row))
        console.print("", shown)
    console.print("", escape(report.footing(built)))


# ---------------------------------------------------------------- the process


def main() -> int:
    """Runs the command line of this process and returns its exit code; never shows a traceback unless asked
    to.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: a path may hold what is no text
    try:
        cli.main(prog_name="glasc", standalone_mode=False)
    except click.ClickException as error:
        return _failed(error.exit_code, error.format_message(), error.show)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:  # whoever read our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except MissingFiles as error:
        return _failed(FILES, str(error))
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else INPUT
    except Exception as error:
        if os.environ.get("GLASC_DEBUG") == "1":
            raise
        return _failed(INTERNAL, _internal(error))
    return OK


def _failed(code: int, message: str, show: Callable[[], None] | None = None) -> int:
    """Says what no command could say itself, in the form that was asked for; `show` is how people see it."""
    if "--json" in sys.argv:
        click.echo(json.dumps(Stop(code, message).data, indent=1))
    elif show is not None:
        show()
    else:
        click.echo(message, err=True)
    return code


def _internal(error: Exception) -> str:
    where = _where(error)
    return (
        f"internal error of glasc {glasc.__version__} in {where}: {type(error).__name__}: {error}\n"
        "Please report it with the program that caused it; GLASC_DEBUG=1 shows more."
    )


def _where(error: Exception) -> str:
    """The pass that failed, or the deepest module of glasc on the way to the error."""
    name, step = "glasc.cli", error.__traceback__
    while step is not None:
        module = str(step.tb_frame.f_globals.get("__name__", ""))
        if module.startswith("glasc."):
            name = module
        if module.startswith("glasc.passes."):
            return f"the pass {module.rpartition('.')[2]}"
        step = step.tb_next
    return name


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


if __name__ == "__main__":
    sys.exit(main())
