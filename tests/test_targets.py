"""The table of targets: what is in it, and what a wrong name is told."""

from __future__ import annotations

import pytest

from glasc import targets


def test_both_processors_are_known() -> None:
    arm = targets.lookup("aarch64")
    assert (arm.zig_triple, arm.wheel_platform) == ("aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64")
    intel = targets.lookup("x86_64")
    assert (intel.zig_triple, intel.wheel_platform) == ("x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64")


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("amd64", "x86_64"), ("arm64", "aarch64"), ("ARM64", "aarch64"), ("aarch46", "aarch64"), ("vax", None)],
)
def test_unknown_target_says_what_is_known(name: str, suggestion: str | None) -> None:
    with pytest.raises(targets.UnknownTarget) as caught:
        targets.lookup(name)
    assert caught.value.known == ("aarch64", "x86_64")
    assert caught.value.suggestion == suggestion
    hint = f"; did you mean {suggestion!r}?" if suggestion else ""
    assert str(caught.value) == f"unknown target {name!r}; glasc builds for aarch64, x86_64{hint}"


def test_host_understands_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert targets.host().name == "aarch64"
    monkeypatch.setattr("platform.machine", lambda: "s390x")
    with pytest.raises(targets.UnknownTarget, match="s390x"):
        targets.host()
