"""`glas.toml`: which mirrors an app has, where they are and what they may use.

Owns the file's keys, their checks, and that each error names its line with a caret; several errors come in
one run. Does not know what a mirror does with the values. Durations are microseconds, sizes bytes.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import date, time
from pathlib import Path
from typing import Any

from glasrt.bundle import Plan
from glasrt.core import MIRROR_NAME, Limits, Roster, RosterMirror, Timing
from glasrt.errors import GlasError
from glasrt.toml_places import Spot, TomlPlaces, excerpt, long_key, syntax_problem

_MAX_FILE = 1 << 20
_SHOWN = 40  # characters of a value or name in a message
_SIZE = re.compile(r"([0-9]{1,15}) ?(B|KiB|MiB|GiB|kB|MB|GB)")
_SIZE_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 1000, "MB": 10**6, "GB": 10**9}
_DURATION = re.compile(r"([0-9]{1,12}) ?(us|ms|s|m|h|d)")
_DURATION_UNITS = {
    "us": 1,
    "ms": 1000,
    "s": 10**6,
    "m": 60 * 10**6,
    "h": 3600 * 10**6,
    "d": 86400 * 10**6,
}

_MAX_MIRRORS = 1000
_MOST_BUFFER = ((1 << 32) - 1) // 8
_BOUNDS = {
    "max_heap": (64 << 10, 1 << 50),
    "max_text": (1, _MOST_BUFFER),
    "max_log": (1, 1 << 50),
    "max_link_buffer": (4096 + 128, _MOST_BUFFER),  # 128 for each mirror
    "max_waiting": (1, (1 << 32) - 1),
}
"""What the core takes, least and most (`config_error` of its core.c)."""

_MOST_DURATION = 36_500 * _DURATION_UNITS["d"]
_TOP_KEYS = ("app", "origin", "data", "mirrors", "limits", "timing")
_MIRROR_KEYS = ("place", "places", "link", "http")
_LIMIT_KEYS = ("max_heap", "max_text", "max_log", "max_link_buffer", "max_waiting", "call_timeout")
_TIMING_KEYS = ("ping", "silent")
_LOOPBACK_HINT = {
    "link": "links are not encrypted yet, so they stay on this machine: use 127.0.0.1, or a tunnel and --via",
    "http": "HTTP is served on this machine only for now: use 127.0.0.1 and put a TLS proxy in front",
}


@dataclass(frozen=True)
class Address:
    """A TCP address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class MirrorConfig:
    """One mirror; without `link` none can reach it, without `http` it serves no HTTP."""

    name: str
    places: tuple[str, ...]
    link: Address | None
    http: Address | None


@dataclass(frozen=True)
class Config:
    """A checked configuration; `data` is absolute or relative to the working folder."""

    path: Path
    app: str
    origin: str
    data: Path
    mirrors: tuple[MirrorConfig, ...]
    limits: Limits
    timing: Timing
    call_timeout_us: int

    def index(self, name: str) -> int:
        """The mirror's place in the roster. KeyError: no such mirror."""
        for index, mirror in enumerate(self.mirrors):
            if mirror.name == name:
                return index
        raise KeyError(name)

    def roster(self, plan: Plan) -> Roster:
        """The roster as the core wants it; the configuration was checked against the plan."""
        mirrors = tuple(RosterMirror(m.name, plan.place_bits(m.places)) for m in self.mirrors)
        return Roster(mirrors, self.index(self.origin))


@dataclass(frozen=True)
class ConfigProblem:
    """One error at a place of the file."""

    file: str
    spot: Spot
    source: str
    message: str
    hint: str | None

    def render(self) -> str:
        """`glas.toml:LINE:COL: message`, the line (or the part of it that matters), a caret, a hint."""
        lines = [f"{self.file}:{self.spot.line}:{self.spot.column}: {self.message}"]
        if self.source:
            lines += ["  " + part for part in excerpt(self.source, self.spot)]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class ConfigError(GlasError):
    """The configuration is wrong, for these reasons, in the order of the file."""

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        self.problems = sorted(problems, key=lambda p: (p.spot.line, p.spot.column))
        super().__init__("\n".join(problem.render() for problem in self.problems))


class _Checker:
    """Collects problems of one file; `path` of a value is its keys from the top."""

    def __init__(self, file: Path, text: str) -> None:
        self.file = file
        self.lines = text.split("\n")
        self.places = TomlPlaces(text)
        self.problems: list[ConfigProblem] = []

    def error(self, path: Sequence[str], message: str, hint: str | None = None, *, key: bool = False) -> None:
        spot = self.places.key(path) if key else self.places.value(path)
        self.at(spot, message, hint)

    def at(self, spot: Spot, message: str, hint: str | None = None) -> None:
        source = self.lines[spot.line - 1].rstrip("\r") if 0 < spot.line <= len(self.lines) else ""
        self.problems.append(ConfigProblem(self.file.name, spot, source, message, hint))

    def finish(self) -> None:
        if self.problems:
            raise ConfigError(self.problems)

    # -------------------------------------------------------------- single values

    def table(self, value: Any, path: Sequence[str], known: Sequence[str]) -> dict[str, Any]:
        """The table there, its unknown keys reported."""
        if not isinstance(value, dict):
            name = _short(".".join(path))
            self.error(
                path,
                f"`{name}` must be a table, found {_shown(value)}",
                f"write [{name}] on a line of its own, and its keys below",
            )
            return {}
        for key in value:
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known)}"
                self.error([*path, key], f"unknown key `{_short(key)}`", hint, key=True)
        return value

    def text(
        self, table: dict[str, Any], key: str, path: Sequence[str], example: str, default: str | None = None
    ) -> str:
        """The text there, or an empty one, reported; `example` is how the hint writes it."""
        value = table.get(key, default)
        hint = f'write it like {key} = "{example}"'
        if value is None:
            where = f"[{'.'.join(path)}]" if path else "the top of the file"
            self.error(path, f"`{key}` is missing in {where}", hint, key=True)
            return ""
        if not isinstance(value, str) or not value:
            self.error([*path, key], f"`{key}` must be a text that is not empty, found {_shown(value)}", hint)
            return ""
        if "\0" in value:
            self.error([*path, key], f"`{key}` cannot hold a NUL", hint)
            return ""
        return value

    def size(self, table: dict[str, Any], key: str, default: int) -> int:
        """A size with its unit, or a number of bytes."""
        path, value = ["limits", key], table.get(key, default)
        number = _with_unit(value, _SIZE, _SIZE_UNITS)
        if number is None:
            hint = f"a number and its unit: {' '.join(_SIZE_UNITS)}"
            self.error(path, f'`{key}` must be like "64MiB", found {_shown(value)}', hint)
            return default
        return self._bounded(path, value, number, *_BOUNDS[key], _size_text)

    def duration(self, table: dict[str, Any], path: Sequence[str], default: int) -> int:
        """A duration with its unit."""
        key = path[-1]
        if key not in table:
            return default
        value = table[key]
        number = _with_unit(value, _DURATION, _DURATION_UNITS) if isinstance(value, str) else None
        if number is None:
            hint = f"a number and its unit: {' '.join(_DURATION_UNITS)}"
            self.error(path, f'`{key}` must be like "30s", found {_shown(value)}', hint)
            return default
        return self._bounded(
            path, value, number, 1, _MOST_DURATION, lambda us: f"{us // _DURATION_UNITS['d']}d"
        )

    def count(self, table: dict[str, Any], key: str, default: int) -> int:
        """A number of things."""
        path, value = ["limits", key], table.get(key, default)
        if type(value) is not int:
            hint = f"it counts calls, as in {key} = {default}"
            self.error(path, f"`{key}` must be a whole number, found {_shown(value)}", hint)
            return default
        return self._bounded(path, value, value, *_BOUNDS[key], str)

    def _bounded(
        self, path: Sequence[str], value: Any, number: int, least: int, most: int, form: Callable[[int], str]
    ) -> int:
        """The number where it is within its bounds; else the least that it may be, reported."""
        if least <= number <= most:
            return number
        if number < least:
            bound = "more than 0" if least == 1 else f"at least {form(least)}"
        else:
            bound = f"at most {form(most)}"
        hint = "without this line the default holds"
        self.error(path, f"`{path[-1]}` must be {bound}, found {_shown(value)}", hint)
        return least

    def address(self, table: dict[str, Any], key: str, path: Sequence[str]) -> Address | None:
        """The address there; None where there is none, or a wrong one, reported."""
        if key not in table:
            return None
        text = self.text(table, key, path, "127.0.0.1:7100")
        if not text:
            return None
        spot = [*path, key]
        address = parse_address(text)
        if address is None or (address.port == 0 and key == "link"):
            self.error(spot, f"{_shown(text)} is not an address", 'write it like "127.0.0.1:7100"')
            return None
        if not is_loopback(address.host):
            self.error(spot, f"{key} address {_shown(text)} is not on this machine", _LOOPBACK_HINT[key])
            return None
        return address


def parse_address(text: str) -> Address | None:
    """`host:port` or `[host]:port`; None where it is neither."""
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})", text)
    if not found or int(found[3]) > 65535:
        return None
    if found[1] and not _is_ipv6(found[1]):
        return None
    return Address(found[1] or found[2], int(found[3]))


def _is_ipv6(host: str) -> bool:
    try:
        return bool(ipaddress.IPv6Address(host))
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether the host can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load(path: Path) -> Config:
    """Reads and checks the file, all but what the app's plan says. Raises ConfigError."""
    text = _read_text(path)
    check = _Checker(path, text)
    deep = long_key(text)
    if deep is not None:
        check.at(deep, "a key has too many parts", "no key here has more than three")
        check.finish()
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        check.at(*syntax_problem(str(error), text))
        raise ConfigError(check.problems) from error
    except RecursionError as error:
        hint = "arrays and tables within each other have no use here"
        raise ConfigError([_whole(path, "the configuration is nested too deeply", hint)]) from error
    config = _read(check, path, data)
    check.finish()
    return config


def _read_text(path: Path) -> str:
    """What the file holds, without the mark that some editors put before it."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        reason = f"cannot read the configuration: {error.strerror}"
        raise ConfigError([_whole(path, reason, _near(path))]) from error
    if len(data) > _MAX_FILE:
        hint = "is it the configuration? a thousand mirrors take a tenth of that"
        raise ConfigError([_whole(path, "the configuration is larger than 1 MiB", hint)])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before, _, _ = data[: error.start].rpartition(b"\n")
        begin = len(before) + 1 if b"\n" in data[: error.start] else 0
        line, _, _ = data[begin:].partition(b"\n")
        column = len(data[begin : error.start].decode()) + 1
        spot = Spot(data.count(b"\n", 0, error.start) + 1, column, 1)
        message = f"the configuration is not UTF-8: a byte {data[error.start]:#04x} cannot be here"
        hint = "let the editor save it as UTF-8"
        shown = line.decode(errors="replace").rstrip("\r")
        raise ConfigError([ConfigProblem(path.name, spot, shown, message, hint)]) from error


def _near(path: Path) -> str:
    """A hint for a path that cannot be read: what else may have been meant."""
    folder = path if path.is_dir() else path.parent
    try:
        found = sorted(each.name for each in folder.glob("*.toml") if each != path)
    except OSError:
        found = []
    near = difflib.get_close_matches(path.name, found, 1)
    if near:
        return f"did you mean {near[0]!r}?"
    if found:
        return f"configurations there: {', '.join(found[:5])}"
    return "name the file that says which mirrors there are, such as glas.toml"


def _read(check: _Checker, path: Path, data: dict[str, Any]) -> Config:
    check.table(data, [], _TOP_KEYS)
    app = check.text(data, "app", [], "pos")
    if app and not app.isidentifier():
        hint = "it is the name in the program's first line, `app NAME version ...`"
        check.error(["app"], f"{_shown(app)} cannot be the name of an app", hint)
    origin = check.text(data, "origin", [], "hq")
    folder = check.text(data, "data", [], "data", "data")
    mirrors = _read_mirrors(check, data)
    names = [mirror.name for mirror in mirrors]
    if origin and names and origin not in names:
        near = difflib.get_close_matches(origin, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"the mirrors are: {_listed(names)}"
        check.error(["origin"], f"the origin {_shown(origin)} is not one of the mirrors", hint)
    _check_addresses(check, mirrors)
    limits = check.table(data.get("limits", {}), ["limits"], _LIMIT_KEYS)
    timing = check.table(data.get("timing", {}), ["timing"], _TIMING_KEYS)
    return Config(
        path=path,
        app=app,
        origin=origin,
        data=path.parent / folder,
        mirrors=tuple(mirrors),
        limits=_read_limits(check, limits, len(mirrors)),
        timing=_read_timing(check, timing),
        call_timeout_us=check.duration(limits, ["limits", "call_timeout"], 30 * 10**6),
    )


def _read_mirrors(check: _Checker, data: dict[str, Any]) -> list[MirrorConfig]:
    found = data.get("mirrors")
    if not isinstance(found, dict) or not found:
        check.error(["mirrors"], "no mirrors are named", "each mirror is a table, such as [mirrors.hq]")
        return []
    if len(found) > _MAX_MIRRORS:
        hint = f"leave out {len(found) - _MAX_MIRRORS} of them"
        check.error(["mirrors"], f"{len(found)} mirrors, but at most {_MAX_MIRRORS} can be", hint)
    return [_read_mirror(check, name, value, len(found) > 1) for name, value in found.items()]


def _read_mirror(check: _Checker, name: str, value: Any, linked: bool) -> MirrorConfig:
    path = ["mirrors", name]
    if not MIRROR_NAME.fullmatch(name):
        hint = "a name has at most 63 letters, digits, `_`, `-` and `.`, none of the last two in front"
        check.error(path, f"{_shown(name)} cannot name a mirror", hint, key=True)
    table = check.table(value, path, _MIRROR_KEYS)
    places: list[str] = []
    if "place" in table and "places" in table:
        hint = "`places` alone can name several"
        check.error([*path, "places"], "either `place` or `places`, not both", hint, key=True)
    elif "places" in table:
        given = table["places"]
        if isinstance(given, list) and given and all(isinstance(place, str) for place in given):
            places = list(given)
        else:
            hint = 'write it like places = ["hq", "shop"]'
            check.error([*path, "places"], f"`places` must be a list of names, found {_shown(given)}", hint)
    elif "place" in table:
        place = check.text(table, "place", path, "hq")
        places = [place] if place else []
    link, http = check.address(table, "link", path), check.address(table, "http", path)
    if linked and isinstance(value, dict) and "link" not in table:
        hint = 'write it like link = "127.0.0.1:7100", with a port of its own'
        message = f"`link` is missing in [{_short('.'.join(path))}]: where other mirrors reach it"
        check.error(path, message, hint, key=True)
    return MirrorConfig(name, tuple(places), link, http)


def _check_addresses(check: _Checker, mirrors: Sequence[MirrorConfig]) -> None:
    seen: dict[Address, str] = {}
    for mirror in mirrors:
        for key, address in (("link", mirror.link), ("http", mirror.http)):
            if address is None or address.port == 0:
                continue
            other = seen.setdefault(address, f"{key} of mirror {mirror.name!r}")
            if other != f"{key} of mirror {mirror.name!r}":
                message = f"{key} of mirror {mirror.name!r} has the address {address}, as has {other}"
                check.error(["mirrors", mirror.name, key], message, "give each a port of its own")


def _read_limits(check: _Checker, table: dict[str, Any], mirrors: int) -> Limits:
    default = Limits()
    values = {
        field.name: (check.count if field.name == "max_waiting" else check.size)(
            table, field.name, getattr(default, field.name)
        )
        for field in fields(Limits)
    }
    least = 4096 + 128 * mirrors
    if not check.problems and values["max_link_buffer"] < least:
        message = f"`max_link_buffer` must be at least {_size_text(least)} for {mirrors} mirrors"
        hint = "without this line the default holds"
        check.error(["limits", "max_link_buffer"], message, hint)
    return Limits(**values)


def _read_timing(check: _Checker, table: dict[str, Any]) -> Timing:
    default = Timing()
    ping = check.duration(table, ["timing", "ping"], default.ping_us)
    silent = check.duration(table, ["timing", "silent"], default.silent_us)
    if silent <= ping:
        hint = "several pings should fit into the silence after which a link counts as dead"
        check.error(
            ["timing", "silent" if "silent" in table else "ping"], "`silent` must be more than `ping`", hint
        )
    return Timing(ping, silent)


def check_plan(config: Config, plan: Plan) -> None:
    """Checks what only the app can say: its places and where the origin stands. Raises ConfigError."""
    check = _Checker(config.path, _read_text(config.path))
    if plan.app != config.app:
        hint = f'write app = "{plan.app}", or name another bundle with --bundle'
        check.error(["app"], f"the bundle holds the app {plan.app!r}, not {config.app!r}", hint)
    known = [place.name for place in plan.places]
    for mirror in config.mirrors:
        if known and not mirror.places:
            header, hint = f"[mirrors.{mirror.name}]", f"the places are: {', '.join(known)}"
            check.error(["mirrors", mirror.name], f"`place` is missing in {header}", hint, key=True)
        for name in mirror.places:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"the places are: {', '.join(known)}"
                check.error(_place_path(check, mirror), f"{plan.app} has no place {name!r}", hint)
    for place in plan.places:
        holders = [mirror for mirror in config.mirrors if place.name in mirror.places]
        if place.many or len(holders) == 1:
            continue
        if not holders:
            hint = f'give one mirror `place = "{place.name}"`'
            check.error(["mirrors"], f"no mirror stands at {place.name!r}, but one must", hint, key=True)
        for mirror in holders[1:]:
            message = f"{mirror.name!r} stands at {place.name!r}, which has {holders[0].name!r} already"
            check.error(_place_path(check, mirror), message, "exactly one mirror stands there")
    origin = next(mirror for mirror in config.mirrors if mirror.name == config.origin)
    if plan.origin_places and not set(plan.origin_places) & set(origin.places):
        where = " or ".join(repr(place) for place in plan.origin_places)
        message = f"the origin {origin.name!r} does not stand at {where}, where `start` must run"
        there = [each.name for each in config.mirrors if set(plan.origin_places) & set(each.places)]
        hint = f"the mirrors there are: {_listed(there)}" if there else f"let a mirror stand at {where}"
        check.error(["origin"], message, hint)
    check.finish()


def _place_path(check: _Checker, mirror: MirrorConfig) -> list[str]:
    path = ["mirrors", mirror.name, "place"]
    return path if check.places.has(path) else ["mirrors", mirror.name, "places"]


def _whole(path: Path, message: str, hint: str | None) -> ConfigProblem:
    return ConfigProblem(path.name or str(path), Spot(1, 1, 1), "", message, hint)


def _with_unit(value: Any, pattern: re.Pattern[str], units: dict[str, int]) -> int | None:
    """The number that a text with a unit means, or that is a number already; None where it is neither."""
    found = pattern.fullmatch(value) if isinstance(value, str) else None
    if found:
        return int(found[1]) * units[found[2]]
    return value if type(value) is int else None


def _size_text(size: int) -> str:
    unit = next(unit for unit in ("GiB", "MiB", "KiB", "B") if size % _SIZE_UNITS[unit] == 0)
    return f"{size // _SIZE_UNITS[unit]}{unit}"


def _shown(value: Any) -> str:
    """A value of TOML for people, in a few words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return _short("[" + ", ".join(_shown(each) for each in value[:_SHOWN]) + "]")
    if isinstance(value, date | time):
        return value.isoformat()
    return _short(repr(value))


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more
