"""Fetches an aarch64 Python and an emulator into the folder `.arm64` of the clone; `make arm64` runs it.

Owns where the parts come from: Debian's packages through apt-get with a configuration and a state of its
own (so no root is needed and nothing of the machine changes), Python's packages through pip. The layout
that it fills is arm64.py's. Exits with 0 when the aarch64 Python runs, 3 with one line when it cannot be
had.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))

from tools import arm64  # noqa: E402 - the path to it is set above

# What the host side and a bundle import; uvloop is left out: asyncio's own loop is the safer one under qemu.
SITE_PACKAGES = ("cffi", "uvicorn", "h11", "click", "httptools", "rich")
QEMU_PACKAGE = "qemu-user-static"
PROBE = (
    "import asyncio, cffi, ctypes, hashlib, httptools, json, platform, sqlite3, ssl, uuid, uvicorn, zlib;"
    "asyncio.run(asyncio.sleep(0)); sqlite3.connect(':memory:').execute('select 1');"
    "print(platform.machine(), platform.python_version())"
)
SHORT_PROBE = (
    "import platform; print(platform.machine(), platform.python_version())"  # imports are slow there
)
UNAVAILABLE = 3


class Unavailable(Exception):
    """The aarch64 Python cannot be had here; the text is one line that says why."""


def main() -> int:
    """Fetches what is missing and checks that it runs."""
    if platform.machine() in ("aarch64", "arm64"):
        print("this machine is aarch64 itself: nothing to fetch")
        return 0
    stamp = arm64.stamp(REPO)
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest() + "\n"
    try:
        if stamp.exists() and stamp.read_text() == recipe and arm64.arm64_command(REPO) is not None:
            print(f"ready: {probe(SHORT_PROBE)}")
            return 0
        shutil.rmtree(arm64.folder(REPO), ignore_errors=True)
        arm64.folder(REPO).mkdir(parents=True)
        fetch_debian()
        fetch_site()
        stamp.write_text(recipe)
        print(f"ready: {probe(PROBE)}")
    except Unavailable as error:
        stamp.unlink(missing_ok=True)
        print(f"no aarch64 Python: {error}", file=sys.stderr)
        return UNAVAILABLE
    except OSError as error:
        stamp.unlink(missing_ok=True)
        print(f"no aarch64 Python: {error.filename or 'disk'}: {error.strerror or error}", file=sys.stderr)
        return UNAVAILABLE
    return 0


def fetch_debian() -> None:
    """Fills `root`, and `bin` unless the machine has the emulator. Raises Unavailable."""
    for tool in ("apt-get", "dpkg-deb", "dpkg"):
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} is missing, and the emulator comes from Debian's packages")
    host = run(["dpkg", "--print-architecture"], "ask dpkg for the architecture").strip()
    with tempfile.TemporaryDirectory(dir=arm64.folder(REPO), prefix="apt-") as name:
        apt = Apt(Path(name), host)
        print("reading Debian's lists of packages", flush=True)
        apt.update()
        print("fetching the aarch64 Python", flush=True)
        for archive in apt.download(apt.closure("python3")):
            run(["dpkg-deb", "-x", str(archive), str(arm64.root(REPO))], f"unpack {archive.name}")
        merge_usr()
        if arm64.qemu(REPO) is None:
            print("fetching the emulator", flush=True)
            (archive,) = apt.download([QEMU_PACKAGE])
            unpack_emulator(archive)


class Apt:
    """apt-get with its own state, over the machine's sources and keys, for the host's packages and
    aarch64's.
    """

    def __init__(self, folder: Path, host: str) -> None:
        """Keeps everything in `folder`; `host` is what dpkg calls the machine's architecture."""
        self._folder = folder
        for part in ("state/lists/partial", "cache/archives/partial", "debs"):
            (folder / part).mkdir(parents=True)
        (folder / "state/status").touch()
        settings = [
            f'Dir::State "{folder}/state";',
            f'Dir::State::status "{folder}/state/status";',
            f'Dir::Cache "{folder}/cache";',
            f'APT::Architecture "{host}";',
            "#clear APT::Architectures;",
            f'APT::Architectures {{ "{host}"; "arm64"; }};',
            'Acquire::Languages "none";',
            'Acquire::Retries "2";',
            'APT::Sandbox::User "";',
        ]
        self._configuration = folder / "apt.conf"
        self._configuration.write_text("\n".join([*settings, ""]))

    def update(self) -> None:
        """Reads the lists. Raises Unavailable."""
        self._run(["update", "-qq"], "read Debian's lists of packages")

    def closure(self, package: str) -> list[str]:
        """The aarch64 packages that `package` needs, itself among them. Raises Unavailable."""
        wanted = f"{package}:arm64"
        arguments = ["install", "-y", "-qq", "--no-install-recommends", "--print-uris", wanted]
        output = self._run(arguments, f"find {wanted} in Debian's packages (is the network there?)")
        names = re.findall(r"^'\S+' ([^_ ]+)_\S+_arm64\.deb ", output, re.MULTILINE)
        return [f"{name}:arm64" for name in names]

    def download(self, packages: Sequence[str]) -> list[Path]:
        """Their archives. Raises Unavailable."""
        folder = self._folder / "debs"
        before = set(folder.iterdir())
        self._run(["download", "-qq", *packages], f"fetch {', '.join(packages)}")
        return sorted(set(folder.iterdir()) - before)

    def _run(self, arguments: Sequence[str], purpose: str) -> str:
        environment = os.environ | {"APT_CONFIG": str(self._configuration), "LC_ALL": "C"}
        return run(["apt-get", *arguments], purpose, environment, self._folder / "debs")


def unpack_emulator(archive: Path) -> None:
    """Takes the one program that is needed out of the package of all emulators. Raises Unavailable."""
    place = arm64.folder(REPO) / "bin" / arm64.QEMU
    place.parent.mkdir()
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as unpacker:
        assert unpacker.stdout is not None
        with tarfile.open(fileobj=unpacker.stdout, mode="r|") as files:
            for member in files:
                content = files.extractfile(member) if member.name.endswith(f"/{arm64.QEMU}") else None
                if content is not None:
                    with place.open("wb") as program:
                        shutil.copyfileobj(content, program)
    if not place.exists():
        raise Unavailable(f"{archive.name} has no {arm64.QEMU}")
    place.chmod(0o755)


def merge_usr() -> None:
    """Older packages still hold `/lib`, which an installed Debian has as a link to `/usr/lib`."""
    old = arm64.root(REPO) / "lib"
    if old.is_dir() and not old.is_symlink():
        shutil.copytree(old, arm64.root(REPO) / "usr" / "lib", symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(old)
    old.unlink(missing_ok=True)
    old.symlink_to("usr/lib")


def fetch_site() -> None:
    """Fills `site` with wheels for the Python that was fetched. Raises Unavailable."""
    interpreter = arm64.python(REPO)
    if interpreter is None:
        raise Unavailable("the packages that were fetched hold no Python")
    print("fetching aarch64 wheels", flush=True)
    version = interpreter.name.removeprefix("python")
    command = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-compile"]
    command += ["--target", str(arm64.site(REPO)), "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", version]
    for tag in ("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64"):
        command += ["--platform", tag]
    run([*command, *SITE_PACKAGES], "fetch the aarch64 wheels")


def probe(program: str) -> str:
    """Runs the program on the aarch64 Python; what it prints. Raises Unavailable."""
    command = arm64.arm64_command(REPO)
    if command is None:
        raise Unavailable(arm64.why_not(REPO))
    environment = arm64.arm64_environment(REPO, [])
    return run([*command, "-c", program], "run the aarch64 Python", environment).strip()


def run(
    command: Sequence[str],
    purpose: str,
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    """The command's standard output. Raises Unavailable with its last words when it fails."""
    done = subprocess.run(
        command, check=False, cwd=folder, env=environment, capture_output=True, text=True, errors="replace"
    )
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise Unavailable(f"cannot {purpose}: {words[-1]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
