"""The bundle of examples/pos for aarch64, run under qemu: it does what the one for this machine does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from glasc import targets
from glasrt.bundle import unpack
from tests.pos_app import BUILD
from tools import arm64

REPO = Path(__file__).resolve().parent.parent
TARGETS = ("x86_64", "aarch64")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By target, a folder with the package `pos`."""
    if targets.host().name == "aarch64":
        pytest.skip("this machine is aarch64: there is no other processor here to compare it with")
    if arm64.arm64_command(REPO) is None:
        pytest.skip(arm64.why_not(REPO))
    out = tmp_path_factory.mktemp("both")
    command = [
        "build",
        str(REPO / "examples/pos/pos.glas"),
        "--targets",
        ",".join(TARGETS),
        "--out",
        str(out),
    ]
    done = subprocess.run(
        [sys.executable, "-c", BUILD, *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    wheels = {target: next(out.glob(f"pos-*-abi3-manylinux_2_17_{target}.whl")) for target in TARGETS}
    return {target: unpack(wheel, out / target) for target, wheel in wheels.items()}


def scenario(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """What tests/pos_scenario.py prints there."""
    folder.mkdir()
    program = [*command, str(REPO / "tests" / "pos_scenario.py"), str(folder)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_both_processors_do_the_same(packages: dict[str, Path], tmp_path: Path) -> None:
    far_command = arm64.arm64_command(REPO)
    assert far_command is not None
    far = scenario(far_command, arm64.arm64_environment(REPO, [packages["aarch64"], REPO]), tmp_path / "far")
    paths = os.pathsep.join(map(str, (packages["x86_64"], REPO)))
    here = scenario([sys.executable], os.environ | {"PYTHONPATH": paths}, tmp_path / "here")
    assert far == here
    assert here["typed"][:3] == [None, {"ok": 1350}, {"error": "only 7 left"}]
    assert here["typed"][5:7] == [True, False]
    assert [answer[0] for answer in here["journal"][:5]] == [200, 409, 400, 200, 404]
    assert [here[name]["found"] for name in here if name.startswith("seed")] == [[], []]


def test_a_bundle_of_another_processor_is_refused(packages: dict[str, Path], tmp_path: Path) -> None:
    """The comparison above would be of one with itself if either Python could load both."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (packages["aarch64"], REPO)))}
    with pytest.raises(AssertionError, match=r"_core\.abi3\.so|_core"):
        scenario([sys.executable], environment, tmp_path / "wrong")
