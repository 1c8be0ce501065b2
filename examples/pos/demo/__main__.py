"""Runs the demo: `make demo`, or `.venv/bin/python -m examples.pos.demo` in the clone.

Owns arguments, the temporary folder and the exit code: 0 every promise was kept, 1 one was broken, 2 the demo
cannot run here, 130 interrupted.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.markup import escape

from examples.pos.demo import fleet as fleets
from examples.pos.demo.mirrors import MirrorGone, NoAnswer, NotSent
from examples.pos.demo.proxy import Lines
from examples.pos.demo.screen import Broken, Screen, panel
from examples.pos.demo.story import PRICE, Story
from examples.pos.demo.tables import grid, kib, mirror_table
from examples.pos.demo.watch import Watch
from glasrt import config

KEPT, BROKEN, IMPOSSIBLE, INTERRUPTED = 0, 1, 2, 130
_BUILD_WITHIN = 10.0


def main() -> int:
    """Runs the demo and returns its exit code."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _terminated)
    screen = Screen()
    begun = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="glas-demo-") as folder, Lines() as lines:
            _run(screen, Path(folder), lines, arguments)
    except Broken:
        return BROKEN
    except fleets.Impossible as error:
        screen.console.print(f"[cross]the demo cannot run:[/cross] {escape(str(error))}", soft_wrap=True)
        return IMPOSSIBLE
    except KeyboardInterrupt:
        screen.console.print("interrupted")
        return INTERRUPTED
    taken = time.monotonic() - begun
    screen.show("")
    screen.show(f"[tick]{screen.kept} promises kept[/tick] in {taken:.0f} s.")
    if arguments.screenshot is not None:
        screen.save_picture(arguments.screenshot)
    return KEPT


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--screenshot", type=Path, metavar="FILE", help="write a picture of it as SVG")
    parser.add_argument(
        "--fetch-arm64", action="store_true", help="fetch an aarch64 Python if there is none (make arm64)"
    )
    parser.add_argument("--no-arm64", action="store_true", help="run all mirrors on this machine's processor")
    return parser.parse_args()


def _terminated(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _run(screen: Screen, folder: Path, lines: Lines, arguments: argparse.Namespace) -> None:
    screen.show(
        panel(
            "glasc",
            "One program, [name]pos.glas[/name], becomes three mirrors: a headquarters and two shops.\n"
            "They sell while lines are cut and while one of them is killed. Every ✓ was checked.",
        )
    )
    fleets.check_ports(config.load(fleets.CONFIG))
    with screen.live():
        _build(screen, folder / "dist")
        with screen.doing("looking for an aarch64 Python (fetched once, into .arm64)"):
            second = fleets.second_processor(not arguments.no_arm64, arguments.fetch_arm64)
        fleet = fleets.Fleet(folder, folder / "dist", second, lines)
        watch = Watch(fleet.mirrors, PRICE, fleets.HQ)
        try:
            _open(screen, fleet, watch, second)
            _play(Story(fleet, watch, screen))
        except (MirrorGone, NoAnswer, NotSent) as error:
            screen.cross("every mirror starts and answers", error)
            raise Broken from error
        except Broken:
            _last_words(screen, fleet)
            raise
        finally:
            watch.close()
            fleet.end(signal.SIGKILL)


def _build(screen: Screen, dist: Path) -> None:
    screen.act(1, "One program, two processors", "glasc build pos.glas --targets x86_64,aarch64")
    begun = time.monotonic()
    with screen.doing("compiling; the first time zig cc compiles the core too"):
        built = fleets.build(dist)
    plan = built["plan"]
    states = [(each["name"], each["kind"], each["owner"], each["why"]) for each in plan["states"]]
    screen.show("", grid("state", ("name", "kind", "owner", "because"), [_escaped(row) for row in states]))
    methods = [(_title(each), _routes(each)) for each in plan["methods"]]
    screen.show("", grid("methods", ("method", "runs"), [_escaped(row) for row in methods]))
    bundles = [
        (each["target"], Path(each["path"]).name, kib(each["size"]), kib(each["module_size"]))
        for each in built["bundles"]
    ]
    screen.show("", grid("bundles", ("for", "wheel", "size", "of it C"), bundles), "")
    protocols = {each["target"]: fleets.protocol_in(Path(each["path"])) for each in built["bundles"]}
    screen.promise(
        f"two wheels, one protocol: {plan['protocol_id']}",
        set(protocols.values()) == {plan["protocol_id"]} and set(protocols) == {"x86_64", "aarch64"},
        protocols,
    )
    screen.took("built in", begun)


def _escaped(row: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(escape(cell) for cell in row)


def _title(method: dict[str, str]) -> str:
    return method["title"]


def _routes(method: dict[str, list[dict[str, str]]]) -> str:
    """Where runs of a method happen, by the place where they start."""
    return ", ".join(f"{each['how']} at {each['place']}" for each in method["routes"] if each["place"])


def _open(screen: Screen, fleet: fleets.Fleet, watch: Watch, second: fleets.Second) -> None:
    screen.act(2, "Three mirrors", "Three processes on this machine, as examples/pos/glas.toml says.")
    screen.table = lambda width: mirror_table(fleet, watch, width)
    begun = time.monotonic()
    with screen.doing("starting; Python takes some seconds under qemu" if second.emulated else "starting"):
        fleet.start(list(fleet.mirrors))
    looks = {name: mirror.ask("GET", "/sys/status").json for name, mirror in fleet.mirrors.items()}
    screen.promise(
        f"three mirrors are ready; {fleets.FAR} runs the {second.processor} bundle ({second.note})",
        all(look["host"]["processor"] == fleet.processors[name] for name, look in looks.items()),
        looks,
    )
    watch.start()
    screen.eventually(
        f"`start` has run once, at {fleets.HQ}, and its price of tea is known everywhere",
        lambda: [mirror.state("db.price") for mirror in fleet.mirrors.values()],
        [[{"key": "tea", "value": PRICE, "owner": fleets.HQ}]] * 3,
    )
    screen.took("started in", begun)


def _play(story: Story) -> None:
    story.screen.eventually("each is linked to each", story.all_linked, True)
    story.open_shop()
    with story.screen.picture():
        story.cut_line()
        story.heal_line()
    story.silence()
    story.kill()
    story.snapshot()
    story.kill_hq()
    story.close()


def _last_words(screen: Screen, fleet: fleets.Fleet) -> None:
    for mirror in fleet.mirrors.values():
        screen.console.print(f"[name]{mirror.name}[/name]", escape(mirror.last_words()), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
