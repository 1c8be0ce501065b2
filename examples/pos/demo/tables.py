"""The tables of the demo.

Owns their columns. Does not know when they are shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from examples.pos.demo.fleet import HQ, Fleet
from examples.pos.demo.watch import Look, Watch

_WIDE = 107


def grid(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A plain table without lines; cells may have markup."""
    table = Table(title=title, title_justify="left", title_style="name", box=None, pad_edge=False)
    for name in head:
        table.add_column(name, header_style="quiet", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def kib(size: int) -> str:
    """Bytes for people."""
    return f"{size / 1024:.0f} KiB"


def mirror_table(fleet: Fleet, watch: Watch, width: int) -> Table:
    """The mirrors at their latest look, with less of it where there is little room."""
    table = Table(border_style="quiet", header_style="quiet", box=box.ROUNDED)
    for head in ("mirror", "runs", "linked to"):
        table.add_column(head, no_wrap=True)
    names = list(fleet.mirrors)
    numbers = ["tea", "revenue", "to book", "booked"]
    if width >= _WIDE:
        numbers += ["applied of " + " ".join(names), "journal"]
    for head in numbers:
        table.add_column(head, justify="right", no_wrap=True)
    for name in names:
        look = watch.latest.get(name)
        first = (f"[name]{name}[/name]", fleet.processors[name])
        if look is None:
            table.add_row(*first, "[cut]not running[/cut]")
        else:
            table.add_row(*first, *_cells(name, names, look)[: 1 + len(numbers)])
    return table


def _cells(name: str, names: Sequence[str], look: Look) -> tuple[str, ...]:
    others = [other for other in names if other != name]
    links = [f"[tick]{each}[/tick]" if each in look.linked else f"[cut]✗{each}[/cut]" for each in others]
    queue = (str(look.queued), str(look.booked)) if name == HQ else ("", "")
    frontier = [f"{look.frontier[each]:>{len(each)}}" for each in names]
    tea = str(look.stock["tea"]) if "tea" in look.stock else ""
    return " ".join(links), tea, str(look.revenue), *queue, " ".join(frontier), f"{look.journal} B"
