"""What the demo shows: acts, promises with ticks, and a live table of the mirrors.

Owns looks: on a terminal the table stays at the bottom and refreshes; in a pipe plain lines come out, and the
table where the story asks for it. Does not know what any of it means.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.rule import Rule
from rich.spinner import Spinner
from rich.text import Text
from rich.theme import Theme

WIDTH = 108
_POLL = 0.05
_FONTS = "Fira Code, JetBrains Mono, Menlo, Consolas, DejaVu Sans Mono, monospace"
_THEME = Theme(
    {
        "act": "bold cyan",
        "tick": "bold green",
        "cross": "bold red",
        "name": "bold",
        "cut": "bold red",
        "number": "yellow",
        "quiet": "dim",
    }
)


class Broken(Exception):
    """A promise does not hold; it has been shown already."""


class Screen:
    """The terminal or pipe, and a second console that keeps chosen parts for a picture."""

    def __init__(self, table: Callable[[int], RenderableType] | None = None) -> None:
        """`table` gives, for a width, what to show live below everything else, once there is something."""
        self.console = Console(theme=_THEME, highlight=False, soft_wrap=False)
        if not self.console.is_terminal:
            self.console = Console(theme=_THEME, highlight=False, width=max(WIDTH, self.console.width))
        self.kept = 0
        self.table = table
        self._picture = Console(
            theme=_THEME,
            highlight=False,
            record=True,
            width=WIDTH,
            file=io.StringIO(),
            force_terminal=True,
            color_system="truecolor",
            legacy_windows=False,
        )
        self._recording = False
        self._doing = ""
        self._spinner = Spinner("dots", style="cyan")
        self._live: Live | None = None

    @contextmanager
    def live(self) -> Iterator[None]:
        """Shows the table and what is being done, on a terminal."""
        if not self.console.is_terminal:
            yield
            return
        with Live(
            get_renderable=self._below, console=self.console, refresh_per_second=10, transient=True
        ) as self._live:
            yield

    def _below(self) -> RenderableType:
        self._spinner.update(text=Text(" " + self._doing, style="cyan"))
        parts: list[RenderableType] = [Text("")]
        if self.table is not None:
            parts.append(self.table(self.console.width))
        return Group(*parts, self._spinner if self._doing else Text(""))

    # ---------------------------------------------------------------- lines

    def show(self, *what: RenderableType) -> None:
        """Prints, and keeps it for the picture while `picture` is on."""
        self.console.print(*what)
        if self._recording:
            self._picture.print(*what)

    def act(self, number: int, title: str, *lines: str) -> None:
        """The head of a part of the story."""
        self.show("")
        self.show(Rule(f"[act]{number}  {title}[/act]", align="left", style="cyan"))
        for line in lines:
            self.show(f"[quiet]{line}[/quiet]")

    def note(self, text: str) -> None:
        """A line that is no promise."""
        self.show(f"  [quiet]· {escape(text)}[/quiet]")

    def took(self, what: str, begun: float) -> None:
        """How long something took since a time of `time.monotonic`; never in the picture, which should
        not vary.
        """
        self.console.print(f"  [quiet]· {what} {time.monotonic() - begun:.1f} s[/quiet]")

    def snapshot(self) -> None:
        """The table as it is now, between the lines; a terminal has it below them anyway."""
        if self.table is None:
            return
        if not self.console.is_terminal:
            self.console.print(self.table(self.console.width))
        if self._recording:
            self._picture.print(self.table(WIDTH))

    @contextmanager
    def doing(self, text: str) -> Iterator[None]:
        """What is going on meanwhile."""
        before, self._doing = self._doing, text
        try:
            yield
        finally:
            self._doing = before

    # ---------------------------------------------------------------- promises

    def promise(self, text: str, holds: bool, found: object = "") -> None:
        """A tick, or a cross with what was found instead. Raises Broken."""
        if not holds:
            self.cross(text, found)
            raise Broken(text)
        self.kept += 1
        self.show(f"  [tick]✓[/tick] {escape(text)}")

    def cross(self, text: str, found: object) -> None:
        """What does not hold, and what is there instead."""
        self.show(f"  [cross]✗ {escape(text)}[/cross]\n    found: {escape(str(found))}")

    def eventually(
        self, text: str, found: Callable[[], object], wanted: object, within: float = 30.0
    ) -> None:
        """A promise that takes some time to come true: waits for it. Raises Broken."""
        begun = time.monotonic()
        with self.doing(f"waiting: {text}"):
            while (now := found()) != wanted:
                if time.monotonic() - begun > within:
                    self.promise(text, False, f"{now}, not {wanted}, after {within:.0f} s")
                time.sleep(_POLL)
        self.promise(text, True)

    # ---------------------------------------------------------------- the picture

    @contextmanager
    def picture(self) -> Iterator[None]:
        """Keeps what is shown meanwhile for the picture."""
        self._recording = True
        try:
            yield
        finally:
            self._recording = False

    def save_picture(self, path: Path) -> None:
        """Writes what was kept as SVG, with fonts that readers have rather than fonts from the net."""
        text = self._picture.export_svg(title="make demo", unique_id="glas")
        text = re.sub(r"\s*@font-face \{.*?\}", "", text, flags=re.DOTALL)
        text = re.sub(r"font-family: Fira Code, monospace", f"font-family: {_FONTS}", text)
        path.write_text(text, encoding="utf-8")


def panel(title: str, text: str) -> Panel:
    """The head of everything."""
    return Panel(text, title=f"[bold]{title}[/bold]", border_style="cyan", box=box.ROUNDED, padding=(1, 3))
