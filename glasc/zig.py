"""Runs the C compiler and remembers what it made.

Owns the compiler's command lines, its environment and the cache of objects. Does not know what the C means,
nor what becomes of the shared object. The compiler is `zig cc` from PyPI: clang, a linker and every libc in
one wheel, so that nothing of the machine takes part. It runs in a fresh folder that holds exactly the files
it may see, and every path it is given is relative, so no path of the machine can reach its output.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from glasc.build_errors import BuildError, CompileFailed, disk_error
from glasc.targets import Target
from glasc.wheel import write_atomically

# Signed char and no fused multiply-add: the same C must compute the same on every processor. zig would switch
# assertions off with -O2; the core wants its own.
_BASE_FLAGS = (
    "-std=c11", "-O2", "-g0", "-fPIC", "-fvisibility=hidden",
    "-fsigned-char", "-ffp-contract=off", "-fno-sanitize=undefined", "-UNDEBUG",
)  # fmt: skip
STRICT_FLAGS = ("-Wall", "-Wextra", "-Werror")
_LINK_FLAGS = ("-shared", "-Wl,-s", "-Wl,--build-id=none")
FLAGS = (*_BASE_FLAGS, *STRICT_FLAGS, *_LINK_FLAGS)  # for keys of caches
_JOBS = 2
_KEPT_ENTRIES = 1000
_SEAL_SIZE = 64  # of a fingerprint


@dataclass(frozen=True)
class CompileUnit:
    """One C file: its path in the tree, the folders of the tree it may include from, and flags of its own."""

    path: str
    include: tuple[str, ...]
    flags: tuple[str, ...]


class ContentCache:
    """Files under names that are hashes of all that they depend on. Safe for several processes at once.

    A file begins with a hash of its name and content, so that a damaged one is not taken for a result.
    """

    def __init__(self, folder: Path) -> None:
        """Keeps its files below `folder`, which need not exist yet."""
        self.folder = folder

    def get(self, kind: str, key: str) -> bytes | None:
        """What was put there, or None; an unreadable or damaged entry counts as none."""
        path = self._path(kind, key)
        try:
            stored = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        data = stored[_SEAL_SIZE:]
        return data if stored[:_SEAL_SIZE] == _seal(kind, key, data) else None

    def put(self, kind: str, key: str, data: bytes) -> None:
        """Keeps `data`. Raises BuildError when the disk refuses."""
        write_atomically(self._path(kind, key), _seal(kind, key, data) + data, "to the build cache")

    def _path(self, kind: str, key: str) -> Path:
        return self.folder / kind / f"{key}.sealed"

    def trim(self, kind: str) -> None:
        """Forgets the entries that were not used for longest, beyond a fixed number."""
        try:
            entries = [(entry.stat().st_mtime_ns, entry.path) for entry in os.scandir(self.folder / kind)]
            for _, path in sorted(entries, reverse=True)[_KEPT_ENTRIES:]:
                Path(path).unlink(missing_ok=True)
        except OSError:
            return  # another build trims at the same time; it will do


def _seal(kind: str, key: str, data: bytes) -> bytes:
    return fingerprint([kind, key, data]).encode()


def default_cache_dir() -> Path:
    """`$XDG_CACHE_HOME/glasc`, or `~/.cache/glasc`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "glasc"


def compiler_version() -> str:
    """The version of the installed compiler. Raises BuildError when there is none."""
    try:
        return importlib.metadata.version("ziglang")
    except importlib.metadata.PackageNotFoundError as error:
        raise BuildError("the C compiler is missing: install glasc again, which brings ziglang") from error


def fingerprint(parts: Iterable[str | bytes]) -> str:
    """A hash of the sequence of parts; their borders count."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()


def shared_object(
    tree: Mapping[str, bytes],
    units: Sequence[CompileUnit],
    target: Target,
    cache: ContentCache,
    on_step: Callable[[str], None],
) -> bytes:
    """Compiles the units, which see the files of `tree` only, and links them in the order given.

    Raises CompileFailed when the compiler refuses, BuildError when there is no compiler or the disk refuses.
    """
    keys = [_unit_key(tree, unit, target) for unit in units]
    objects = [cache.get("objects", key) for key in keys]
    work = cache.folder / "work"
    try:
        work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=work) as folder:
            stage = _Stage(Path(folder), cache.folder, target)
            stage.fill(tree)
            stage.compile(units, objects, on_step)
            for index, key in enumerate(keys):
                if objects[index] is None:
                    cache.put("objects", key, stage.object_path(index).read_bytes())
            on_step(f"link for {target.name}")
            return stage.link(len(units))
    except OSError as error:
        raise disk_error(f"build in the cache {cache.folder}", error) from error


class _Stage:
    """The folder in which the compiler runs: the tree, and objects named by the position of their unit."""

    def __init__(self, folder: Path, cache_folder: Path, target: Target) -> None:
        self._folder = folder
        self._environment = _environment(folder, cache_folder)
        if importlib.util.find_spec("ziglang") is None:
            raise BuildError("the C compiler is missing: install glasc again, which brings ziglang")
        self._compiler = (sys.executable, "-P", "-m", "ziglang", "cc", "-target", target.zig_triple)
        self._target = target

    def object_path(self, index: int) -> Path:
        return self._folder / f"{index}.o"

    def fill(self, tree: Mapping[str, bytes]) -> None:
        for path, data in tree.items():
            place = self._folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)

    def compile(
        self, units: Sequence[CompileUnit], objects: Sequence[bytes | None], on_step: Callable[[str], None]
    ) -> None:
        with ThreadPoolExecutor(_JOBS) as pool:
            running = []
            for index, unit in enumerate(units):
                known = objects[index]
                if known is not None:
                    self.object_path(index).write_bytes(known)
                    continue
                on_step(f"compile {unit.path} for {self._target.name}")
                running.append(pool.submit(self._compile_one, index, unit))
            for job in running:
                job.result()

    def _compile_one(self, index: int, unit: CompileUnit) -> None:
        self._run((*_arguments(unit), "-c", unit.path, "-o", self.object_path(index).name))

    def link(self, count: int) -> bytes:
        names = [self.object_path(index).name for index in range(count)]
        self._run((*_LINK_FLAGS, *names, "-o", "module.so"))
        return (self._folder / "module.so").read_bytes()

    def _run(self, arguments: Sequence[str]) -> None:
        command = (*self._compiler, *arguments)
        done = subprocess.run(
            command,
            check=False,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode != 0:
            shown = ("zig", *command[4:])
            raise CompileFailed(shown, done.stderr or f"exit status {done.returncode}")


def _unit_key(tree: Mapping[str, bytes], unit: CompileUnit, target: Target) -> str:
    parts: list[str | bytes] = [compiler_version(), target.zig_triple, *_arguments(unit)]
    parts += [unit.path, tree[unit.path]]
    folders = tuple(f"{folder}/" for folder in unit.include)
    for path, data in sorted(tree.items()):
        if path.startswith(folders) and not path.endswith(".c"):
            parts += [path, data]
    return fingerprint(parts)


def _arguments(unit: CompileUnit) -> tuple[str, ...]:
    return (*_BASE_FLAGS, *unit.flags, *(f"-I{folder}" for folder in unit.include))


def _environment(stage: Path, cache_folder: Path) -> dict[str, str]:
    """Only what the compiler needs: variables such as CPATH must not reach it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    return kept | {
        "LC_ALL": "C",
        "ZIG_GLOBAL_CACHE_DIR": str(cache_folder / "zig"),
        "ZIG_LOCAL_CACHE_DIR": str(stage / ".zig"),
    }
