"""The command line of a mirror: `glasrt run glas.toml --mirror NAME`.

Owns arguments, exit codes and the line that says "ready". Does not know how a mirror works (service.py).
Exit codes: 0 stopped cleanly, 1 configuration, 2 command line, 3 bundle, store or port, 4 glasrt itself,
5 the mirror failed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

import glasrt
from glasrt.config import ConfigError
from glasrt.errors import CoreError, GlasError
from glasrt.link import parse_via
from glasrt.service import MirrorFailed, OptionError, Options, Ready, run_mirror

EXIT_INPUT = 1
EXIT_USAGE = 2
EXIT_FILES = 3
EXIT_INTERNAL = 4
EXIT_FAILED = 5


@click.group()
@click.version_option(glasrt.__version__, prog_name="glasrt")
def cli() -> None:
    """Runs mirrors of compiled glas apps."""


@cli.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--mirror", required=True, help="Name of the mirror, as in the configuration.")
@click.option(
    "--via", multiple=True, metavar="PEER=ADDRESS", help="Reach PEER at ADDRESS (a tunnel, a proxy)."
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder of the store, instead of the file's `data`."
)
@click.option(
    "--bundle", type=click.Path(path_type=Path), help="A wheel, or a folder with it or the package."
)
@click.option("--json", "as_json", is_flag=True, help="Says that it is ready, or why not, as JSON.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--verbose", is_flag=True, help="Logs everything.")
def run(
    config: Path,
    mirror: str,
    via: tuple[str, ...],
    data: Path | None,
    bundle: Path | None,
    as_json: bool,
    log_format: str,
    verbose: bool,
) -> None:
    """Runs one mirror until SIGTERM or SIGINT."""
    try:
        peers = parse_via(via)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--via") from error
    options = Options(config, mirror, peers, data, bundle, log_format, verbose)
    try:
        run_mirror(options, lambda ready: _say_ready(ready, as_json))
    except OptionError as error:
        _fail(str(error), EXIT_USAGE, as_json)
    except ConfigError as error:
        _fail(str(error), EXIT_INPUT, as_json)
    except MirrorFailed as error:
        _fail(str(error), EXIT_FAILED, as_json)
    except (CoreError, GlasError) as error:
        _fail(str(error), EXIT_FILES, as_json)


def _say_ready(ready: Ready, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"ready": True, **vars(ready)}))
    else:
        parts = [f"{ready.mirror} of {ready.app} {ready.version} is ready"]
        parts += [f"http://{ready.http}"] if ready.http else []
        parts += [f"links at {ready.link}"] if ready.link else []
        click.echo(", ".join(parts))
    sys.stdout.flush()


def _fail(message: str, code: int, as_json: bool) -> None:
    """Tells people, in the log, and under --json also whoever waits for the mirror to be ready."""
    if as_json:
        _say_error(message, code)
    click.echo(message, err=True)
    sys.exit(code)


def _say_error(message: str, code: int) -> None:
    click.echo(json.dumps({"ready": False, "error": {"code": code, "message": message}}))


def main() -> int:
    """Runs the command line of this process and returns its exit code."""
    try:
        cli.main(prog_name="glasrt", standalone_mode=False)
    except click.ClickException as error:
        if "--json" in sys.argv:
            _say_error(error.format_message(), error.exit_code)
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else EXIT_INPUT
    except Exception as error:
        if os.environ.get("GLASRT_DEBUG") == "1":
            raise
        what = f"internal error of glasrt {glasrt.__version__}: {type(error).__name__}: {error}"
        message = f"{what}; please report it (GLASRT_DEBUG=1 shows more)"
        if "--json" in sys.argv:
            _say_error(message, EXIT_INTERNAL)
        click.echo(message, err=True)
        return EXIT_INTERNAL
    return 0
