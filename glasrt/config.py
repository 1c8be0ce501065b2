"""`glas.toml`: which mirrors an app has, where they are and what they may use.

Owns the file's keys, their checks, and that each error names its line with a caret; several errors come in
one run. Does not know what a mirror does with the values. Durations are microseconds, sizes bytes.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from glasrt.bundle import Plan
from glasrt.core import Limits, Roster, RosterMirror, Timing
from glasrt.errors import GlasError
from glasrt.toml_places import Spot, TomlPlaces

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
_SIZE = re.compile(r"(\d{1,15}) ?(B|KiB|MiB|GiB|kB|MB|GB)")
_SIZE_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 1000, "MB": 10**6, "GB": 10**9}
_DURATION = re.compile(r"(\d{1,12}) ?(us|ms|s|m|h|d)")
_DURATION_UNITS = {
    "us": 1,
    "ms": 1000,
    "s": 10**6,
    "m": 60 * 10**6,
    "h": 3600 * 10**6,
    "d": 86400 * 10**6,
}

_MAX_MIRRORS = 1000
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
        """`glas.toml:LINE:COL: message`, the line, a caret, a hint."""
        lines = [f"{self.file}:{self.spot.line}:{self.spot.column}: {self.message}"]
        if self.source:
            caret = " " * (self.spot.column - 1) + "^" * max(1, min(self.spot.width, len(self.source)))
            lines += ["  " + self.source, "  " + caret]
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
        self.lines = text.splitlines()
        self.places = TomlPlaces(text)
        self.problems: list[ConfigProblem] = []

    def error(self, path: Sequence[str], message: str, hint: str | None = None, *, key: bool = False) -> None:
        spot = self.places.key(path) if key else self.places.value(path)
        self.at(spot, message, hint)

    def at(self, spot: Spot, message: str, hint: str | None = None) -> None:
        source = self.lines[spot.line - 1].replace("\t", " ") if 0 < spot.line <= len(self.lines) else ""
        self.problems.append(ConfigProblem(self.file.name, spot, source, message, hint))

    def finish(self) -> None:
        if self.problems:
            raise ConfigError(self.problems)

    # -------------------------------------------------------------- single values

    def table(self, value: Any, path: Sequence[str], known: Sequence[str]) -> dict[str, Any]:
        """The table there, its unknown keys reported."""
        if not isinstance(value, dict):
            self.error(path, f"`{'.'.join(path)}` must be a table")
            return {}
        for key in value:
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known)}"
                self.error([*path, key], f"unknown key `{key}`", hint, key=True)
        return value

    def text(self, table: dict[str, Any], key: str, path: Sequence[str], default: str | None = None) -> str:
        """The text there, or an empty one, reported."""
        value = table.get(key, default)
        if value is None:
            where = f"[{'.'.join(path)}]" if path else "the top of the file"
            self.error(path, f"`{key}` is missing in {where}", key=True)
            return ""
        if not isinstance(value, str) or not value:
            self.error([*path, key], f"`{key}` must be a text that is not empty, found {_shown(value)}")
            return ""
        return value

    def number(
        self, table: dict[str, Any], key: str, default: int, pattern: re.Pattern[str], units: dict[str, int]
    ) -> int:
        """A size or duration with its unit, as a positive number."""
        path = ["timing" if key in _TIMING_KEYS else "limits", key]
        value = table.get(key, default)
        found = pattern.fullmatch(value) if isinstance(value, str) else None
        number = int(found[1]) * units[found[2]] if found else value
        if type(number) is not int or (units is _DURATION_UNITS and type(value) is int and key in table):
            example = '"64MiB"' if units is _SIZE_UNITS else '"30s"'
            self.error(path, f"`{key}` must be like {example}, found {_shown(value)}")
            return default
        if not 0 < number < 1 << 62:
            self.error(path, f"`{key}` must be more than 0, found {_shown(value)}")
            return default
        return number

    def address(self, table: dict[str, Any], key: str, path: Sequence[str]) -> Address | None:
        """The address there; None where there is none, or a wrong one, reported."""
        if key not in table:
            return None
        text = self.text(table, key, path)
        if not text:
            return None
        spot = [*path, key]
        address = parse_address(text)
        if address is None or (address.port == 0 and key == "link"):
            self.error(spot, f"{text!r} is not an address", 'write it like "127.0.0.1:7100"')
            return None
        if not is_loopback(address.host):
            self.error(spot, f"{key} address {text!r} is not on this machine", _LOOPBACK_HINT[key])
            return None
        return address


def parse_address(text: str) -> Address | None:
    """`host:port` or `[host]:port`; None where it is neither."""
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})", text)
    if not found or int(found[3]) > 65535:
        return None
    return Address(found[1] or found[2], int(found[3]))


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
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([_whole(path, f"cannot read the configuration: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([_whole(path, f"the configuration is not UTF-8: {error.reason}")]) from error
    check = _Checker(path, text)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        check.at(*_syntax(str(error), text))
        raise ConfigError(check.problems) from error
    except RecursionError as error:
        raise ConfigError([_whole(path, "the configuration is nested too deeply")]) from error
    config = _read(check, path, data)
    check.finish()
    return config


def _read(check: _Checker, path: Path, data: dict[str, Any]) -> Config:
    check.table(data, [], _TOP_KEYS)
    app = check.text(data, "app", [])
    if app and not app.isidentifier():
        check.error(["app"], f"{app!r} cannot be the name of an app")
    origin = check.text(data, "origin", [])
    folder = check.text(data, "data", [], "data")
    mirrors = _read_mirrors(check, data)
    names = [mirror.name for mirror in mirrors]
    if origin and names and origin not in names:
        near = difflib.get_close_matches(origin, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"the mirrors are: {', '.join(names)}"
        check.error(["origin"], f"the origin {origin!r} is not one of the mirrors", hint)
    _check_addresses(check, mirrors)
    limits = check.table(data.get("limits", {}), ["limits"], _LIMIT_KEYS)
    timing = check.table(data.get("timing", {}), ["timing"], _TIMING_KEYS)
    return Config(
        path=path,
        app=app,
        origin=origin,
        data=path.parent / folder,
        mirrors=tuple(mirrors),
        limits=_read_limits(check, limits),
        timing=_read_timing(check, timing),
        call_timeout_us=check.number(limits, "call_timeout", 30 * 10**6, _DURATION, _DURATION_UNITS),
    )


def _read_mirrors(check: _Checker, data: dict[str, Any]) -> list[MirrorConfig]:
    found = data.get("mirrors")
    if not isinstance(found, dict) or not found:
        check.error(["mirrors"], "no mirrors are named", "each mirror is a table, such as [mirrors.hq]")
        return []
    if len(found) > _MAX_MIRRORS:
        check.error(["mirrors"], f"{len(found)} mirrors, but at most {_MAX_MIRRORS} can be")
    return [_read_mirror(check, name, value, len(found) > 1) for name, value in found.items()]


def _read_mirror(check: _Checker, name: str, value: Any, linked: bool) -> MirrorConfig:
    path = ["mirrors", name]
    if not _NAME.fullmatch(name):
        check.error(path, f"{name!r} cannot name a mirror: letters, digits, `_`, `-` and `.` only", key=True)
    table = check.table(value, path, _MIRROR_KEYS)
    places: list[str] = []
    if "place" in table and "places" in table:
        check.error([*path, "places"], "either `place` or `places`, not both", key=True)
    elif "places" in table:
        given = table["places"]
        if isinstance(given, list) and given and all(isinstance(place, str) for place in given):
            places = list(given)
        else:
            check.error([*path, "places"], f"`places` must be a list of names, found {_shown(given)}")
    elif "place" in table:
        place = check.text(table, "place", path)
        places = [place] if place else []
    link, http = check.address(table, "link", path), check.address(table, "http", path)
    if linked and isinstance(value, dict) and "link" not in table:
        check.error(path, f"`link` is missing in [{'.'.join(path)}]: where other mirrors reach it", key=True)
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
                check.error(["mirrors", mirror.name, key], message)


def _read_limits(check: _Checker, table: dict[str, Any]) -> Limits:
    default = Limits()
    values = {
        field.name: check.number(table, field.name, getattr(default, field.name), _SIZE, _SIZE_UNITS)
        for field in fields(Limits)
    }
    if values["max_waiting"] >= 1 << 32:
        check.error(["limits", "max_waiting"], "`max_waiting` must be less than 4294967296")
    return Limits(**values)


def _read_timing(check: _Checker, table: dict[str, Any]) -> Timing:
    default = Timing()
    ping = check.number(table, "ping", default.ping_us, _DURATION, _DURATION_UNITS)
    silent = check.number(table, "silent", default.silent_us, _DURATION, _DURATION_UNITS)
    if silent <= ping:
        hint = "several pings should fit into the silence after which a link counts as dead"
        check.error(
            ["timing", "silent" if "silent" in table else "ping"], "`silent` must be more than `ping`", hint
        )
    return Timing(ping, silent)


def check_plan(config: Config, plan: Plan) -> None:
    """Checks what only the app can say: its places and where the origin stands. Raises ConfigError."""
    check = _Checker(config.path, config.path.read_text(encoding="utf-8"))
    if plan.app != config.app:
        check.error(["app"], f"the bundle holds the app {plan.app!r}, not {config.app!r}")
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
        check.error(["origin"], message)
    check.finish()


def _place_path(check: _Checker, mirror: MirrorConfig) -> list[str]:
    path = ["mirrors", mirror.name, "place"]
    return path if check.places.has(path) else ["mirrors", mirror.name, "places"]


def _syntax(message: str, text: str) -> tuple[Spot, str]:
    """Where tomllib says that the syntax is wrong, and what."""
    found = re.fullmatch(
        r"(.*?)\s*\((?:at line (\d+), column (\d+)|at end of document)\)", message, re.DOTALL
    )
    if not found:
        return Spot(1, 1, 1), f"not TOML: {message}"
    if found[2]:
        return Spot(int(found[2]), int(found[3]), 1), f"not TOML: {found[1]}"
    lines = text.splitlines() or [""]
    return Spot(len(lines), len(lines[-1]) + 1, 1), f"not TOML: {found[1]} at the end of the file"


def _whole(path: Path, message: str) -> ConfigProblem:
    return ConfigProblem(path.name, Spot(1, 1, 1), "", message, None)


def _shown(value: Any) -> str:
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
