"""Finds a compiled app: a package that can be imported, or a wheel unpacked into a cache folder.

Owns which wheel fits this machine, the cache folder and what is read of `plan.json`. Does not know how apps
are compiled or run.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import platform
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from glasrt.errors import BundleError

_PROCESSORS = {"amd64": "x86_64", "arm64": "aarch64"}
_MAX_UNPACKED = 1 << 30


@dataclass(frozen=True)
class Place:
    """A role that mirrors stand at; `many`: any number of them, else exactly one."""

    name: str
    many: bool


@dataclass(frozen=True)
class State:
    """A state of the app; `ownerless`: every mirror has a replica of it."""

    name: str
    ownerless: bool


@dataclass(frozen=True)
class Plan:
    """What the host needs of a plan: who the app is, its places in the core's order, the places at one of
    which the origin must stand (empty: anywhere), its states, and how many invariants it has.
    """

    app: str
    version: str
    protocol_id: str
    places: tuple[Place, ...]
    origin_places: tuple[str, ...]
    states: tuple[State, ...]
    invariants: int

    def place_bits(self, names: Sequence[str]) -> int:
        """The bit mask of some of the places, as the core wants it. KeyError: an unknown one."""
        number = {place.name: index for index, place in enumerate(self.places)}
        bits = 0
        for name in names:
            bits |= 1 << number[name]
        return bits


def plan_of(module: ModuleType) -> Plan:
    """The plan of an imported app. Raises BundleError."""
    folder = Path(str(module.__file__)).parent
    try:
        data = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        return _read_plan(data)
    except OSError as error:
        raise BundleError(f"{folder / 'plan.json'}: cannot read the app's plan: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{folder / 'plan.json'}: not the plan of an app: {error!r}") from error


def _read_plan(data: dict[str, Any]) -> Plan:
    return Plan(
        app=str(data["app"]),
        version=str(data["version"]),
        protocol_id=str(data["protocol_id"]),
        places=tuple(Place(str(place["name"]), bool(place["many"])) for place in data["places"]),
        origin_places=_origin_places(data["methods"]),
        states=tuple(
            State(str(state["name"]), state["owner_rule"]["rule"] == "ownerless") for state in data["states"]
        ),
        invariants=sum(method["kind"] == "invariant" for method in data["methods"]),
    )


def _origin_places(methods: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Where `start` can run, by its routes; one that runs at no place in particular can run anywhere."""
    routes = [route for method in methods if method["kind"] == "start" for route in method["routes"]]
    found = tuple(str(route["place"]) for route in routes if route["how"] == "local")
    return () if "" in found else found


def load(app: str, bundle: Path | None, beside: Path) -> ModuleType:
    """Imports the app `app`.

    `bundle` is a wheel, a folder of wheels or a folder with the package; without it, `beside`/dist, `beside`
    itself and what can be imported anyway are tried in this order. Raises BundleError.
    """
    places = [bundle] if bundle is not None else [beside / "dist", beside]
    for place in places:
        folder = _importable(app, place, required=bundle is not None)
        if folder is not None:
            sys.path.insert(0, str(folder))
            break
    try:
        module = importlib.import_module(app)
        importlib.import_module(f"{app}._core")
    except ModuleNotFoundError as error:
        raise BundleError(
            f"no bundle of the app {app!r}: build it with `glasc build`, or name it with --bundle ({error})"
        ) from error
    except ImportError as error:
        raise BundleError(f"the bundle of the app {app!r} does not work on this machine: {error}") from error
    return module


def _importable(app: str, place: Path, *, required: bool) -> Path | None:
    """The folder to put on sys.path for `place`; None: there is none."""
    if place.is_file():
        return unpack(place, cache_folder())
    if not place.is_dir():
        if required:
            raise BundleError(f"{place}: no such bundle")
        return None
    wheel = fitting_wheel(app, place)
    if wheel is not None:
        return unpack(wheel, cache_folder())
    if (place / app / "plan.json").is_file():
        return place
    if required:
        raise BundleError(f"{place}: holds no bundle of the app {app!r} for {_processor()}")
    return None


def fitting_wheel(app: str, folder: Path) -> Path | None:
    """The newest wheel of `app` in `folder` that fits this processor."""
    wheels = [path for path in folder.glob(f"{app}-*.whl") if path.stem.endswith(_processor())]
    return max(wheels, key=lambda path: (path.stat().st_mtime_ns, path.name), default=None)


def _processor() -> str:
    name = platform.machine().lower()
    return _PROCESSORS.get(name, name)


def cache_folder() -> Path:
    """Where wheels are unpacked: `$XDG_CACHE_HOME/glasrt`, by default in the user's own cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "glasrt"


def unpack(wheel: Path, cache: Path) -> Path:
    """Unpacks `wheel` into a folder of `cache` named by the hash of its bytes, once. Raises BundleError."""
    try:
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()[:32]
        folder = cache / digest
        if not folder.is_dir():
            cache.mkdir(parents=True, exist_ok=True)
            _unpack_new(wheel, folder)
    except OSError as error:
        raise BundleError(f"{wheel}: cannot unpack the bundle into {cache}: {error.strerror}") from error
    except zipfile.BadZipFile as error:
        raise BundleError(f"{wheel}: the bundle is damaged: {error}") from error
    return folder


def _unpack_new(wheel: Path, folder: Path) -> None:
    """Unpacks beside `folder` and renames, so that another process sees all of it or nothing."""
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix="new-"))
    try:
        with zipfile.ZipFile(wheel) as archive:
            if sum(info.file_size for info in archive.infolist()) > _MAX_UNPACKED:
                raise BundleError(f"{wheel}: the bundle is larger than {_MAX_UNPACKED >> 20} MiB")
            archive.extractall(fresh)
        try:
            fresh.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
