"""Writes Python wheels whose bytes depend on their content only.

Owns the form of a wheel: names, metadata, RECORD, the archive. Does not know what the files in it are or
where they came from. Entries are sorted, dated 1980-01-01, readable by all, and stored without compression:
the output of zlib differs between its versions and forks, and the same program must give the same bytes on
every machine.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from glasc.build_errors import BuildError, disk_error

_EPOCH = (1980, 1, 1, 0, 0, 0)
_FILE_MODE = 0o100644
_VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class WheelSpec:
    """A wheel to write: `files` maps paths inside it to content; `tag` is as in `py3-none-any`."""

    name: str
    version: str
    tag: str
    files: Mapping[str, bytes]
    requires: Sequence[str] = ()
    scripts: Mapping[str, str] = field(default_factory=dict)

    @property
    def filename(self) -> str:
        """The file name that pip expects of this wheel."""
        return f"{self._escaped_name}-{self.version}-{self.tag}.whl"

    @property
    def dist_info(self) -> str:
        """The folder of the metadata inside the wheel."""
        return f"{self._escaped_name}-{self.version}.dist-info"

    @property
    def _escaped_name(self) -> str:
        return re.sub(r"[-_.]+", "_", self.name).lower()


def wheel_bytes(spec: WheelSpec) -> bytes:
    """The whole wheel. Raises BuildError for a name or version that pip would refuse."""
    _check(spec)
    files = dict(spec.files) | _metadata(spec)
    record_path = f"{spec.dist_info}/RECORD"
    lines = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in sorted(files.items())]
    files[record_path] = "\n".join([*lines, f"{record_path},,", ""]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.create_system = 3  # Unix, wherever this runs
            entry.external_attr = _FILE_MODE << 16
            archive.writestr(entry, files[path])
    return buffer.getvalue()


def write_atomically(path: Path, data: bytes, what: str) -> None:
    """Puts `data` at `path`, wholly or not at all, making its folder. Raises BuildError that names `what`."""
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as handle:
            temporary = Path(handle.name)
            handle.write(data)
        temporary.chmod(0o644)
        os.replace(temporary, path)  # noqa: PTH105 - Path.replace is the same call, but loses the name in errors
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise disk_error(f"write {what} {path}", error) from error


def build_pure_wheel(
    name: str,
    version: str,
    package_dir: Path,
    requires: Sequence[str],
    out_dir: Path,
    scripts: Mapping[str, str] | None = None,
) -> Path:
    """Writes a py3-none-any wheel of the package in `package_dir` (its folder's name is the package's) to
    `out_dir`.

    `scripts` maps console commands to `module:function`. Raises BuildError when the folder cannot be read
    or the wheel cannot be written.
    """
    files = _package_files(package_dir)
    spec = WheelSpec(name, version, "py3-none-any", files, tuple(requires), dict(scripts or {}))
    path = out_dir / spec.filename
    write_atomically(path, wheel_bytes(spec), "the wheel")
    return path


def _package_files(package_dir: Path) -> dict[str, bytes]:
    try:
        paths = sorted(path for path in package_dir.rglob("*") if path.is_file())
        kept = [path for path in paths if "__pycache__" not in path.parts and path.suffix != ".pyc"]
        top = package_dir.parent
        files = {path.relative_to(top).as_posix(): path.read_bytes() for path in kept}
    except OSError as error:
        raise disk_error(f"read the package {package_dir}", error) from error
    if not files:
        raise BuildError(f"cannot make a wheel of {package_dir}: no files there")
    return files


def _check(spec: WheelSpec) -> None:
    if not _NAME.fullmatch(spec.name):
        raise BuildError(f"{spec.name!r} cannot name a wheel: letters, digits, '-', '_' and '.' only")
    if not _VERSION.fullmatch(spec.version):
        raise BuildError(
            f"{spec.version!r} cannot be the version of a wheel: numbers with dots, as in '1.0' or '2.1rc1'"
        )


def _metadata(spec: WheelSpec) -> dict[str, bytes]:
    lines = ["Metadata-Version: 2.1", f"Name: {spec.name}", f"Version: {spec.version}"]
    lines.append("Requires-Python: >=3.11")
    lines += [f"Requires-Dist: {requirement}" for requirement in spec.requires]
    pure = "true" if spec.tag.endswith("-any") else "false"
    wheel = f"Wheel-Version: 1.0\nGenerator: glasc\nRoot-Is-Purelib: {pure}\nTag: {spec.tag}\n"
    files = {"METADATA": "\n".join([*lines, ""]), "WHEEL": wheel}
    if spec.scripts:
        entries = [f"{command} = {function}" for command, function in sorted(spec.scripts.items())]
        files["entry_points.txt"] = "\n".join(["[console_scripts]", *entries, ""])
    return {f"{spec.dist_info}/{name}": text.encode() for name, text in files.items()}


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
