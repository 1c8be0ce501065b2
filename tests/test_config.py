"""`glas.toml`: what it means, and what every error looks like."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from glasrt import config
from glasrt.bundle import Place, Plan, State
from glasrt.config import Address, ConfigError
from glasrt.core import Limits, RosterMirror, Timing

GOOD = """\
app = "pos"                 # the bundle's package name
origin = "hq"
data = "data"

[mirrors.hq]
place = "hq"
link = "127.0.0.1:7100"
http = "127.0.0.1:8100"

[mirrors.shop1]
places = ["shop"]
link = "localhost:7101"
http = "[::1]:8101"

[limits]
max_heap = "64MiB"
max_waiting = 50
call_timeout = "1500ms"

[timing]
ping = "1s"
silent = "5s"
"""
PLAN = Plan(
    app="pos",
    version="1.0",
    protocol_id="00",
    places=(Place("hq", False), Place("shop", True)),
    origin_places=("hq",),
    states=(State("db.revenue", True),),
    invariants=0,
)


def problems(tmp_path: Path, text: str, plan: Plan | None = None) -> str:
    path = tmp_path / "glas.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        found = config.load(path)
        assert plan is not None, "accepted"
        config.check_plan(found, plan)
    return str(caught.value)


def test_good_file(tmp_path: Path) -> None:
    path = tmp_path / "glas.toml"
    path.write_text(GOOD)
    found = config.load(path)
    assert (found.app, found.origin, found.data) == ("pos", "hq", tmp_path / "data")
    assert [mirror.name for mirror in found.mirrors] == ["hq", "shop1"]
    assert found.mirrors[1].places == ("shop",)
    assert found.mirrors[1].link == Address("localhost", 7101)
    assert str(found.mirrors[1].http) == "[::1]:8101"
    assert found.limits == Limits(max_heap=64 << 20, max_waiting=50)
    assert found.timing == Timing(1_000_000, 5_000_000)
    assert found.call_timeout_us == 1_500_000
    config.check_plan(found, PLAN)
    roster = found.roster(PLAN)
    assert (roster.mirrors, roster.origin) == ((RosterMirror("hq", 1), RosterMirror("shop1", 2)), 0)


ERRORS = {
    "syntax": (
        'app = "pos"\norigin = hq\n',
        """\
glas.toml:2:10: not TOML: Invalid value
  origin = hq
           ^""",
    ),
    "syntax at the end": (
        'app = "pos"\n[mirrors.hq',
        """\
glas.toml:2:12: not TOML: Expected ']' at the end of a table declaration at the end of the file
  [mirrors.hq
             ^""",
    ),
    "unknown key": (
        GOOD.replace("max_heap", "max_heep"),
        """\
glas.toml:16:1: unknown key `max_heep`
  max_heep = "64MiB"
  ^^^^^^^^
  hint: did you mean `max_heap`?""",
    ),
    "unknown key without a near one": (
        GOOD.replace("[timing]", "[zzz]"),
        """\
glas.toml:20:2: unknown key `zzz`
  [zzz]
   ^^^
  hint: known here: app, origin, data, mirrors, limits, timing""",
    ),
    "missing link": (
        GOOD.replace('link = "127.0.0.1:7100"\n', ""),
        """\
glas.toml:5:2: `link` is missing in [mirrors.hq]: where other mirrors reach it
  [mirrors.hq]
   ^^^^^^^^^^""",
    ),
    "wrong type": (
        GOOD.replace('data = "data"', "data = 7"),
        """\
glas.toml:3:8: `data` must be a text that is not empty, found 7
  data = 7
         ^""",
    ),
    "size": (
        GOOD.replace("64MiB", "lots"),
        """\
glas.toml:16:12: `max_heap` must be like "64MiB", found 'lots'
  max_heap = "lots"
             ^^^^^^""",
    ),
    "duration": (
        GOOD.replace('"1500ms"', "30"),
        """\
glas.toml:18:16: `call_timeout` must be like "30s", found 30
  call_timeout = 30
                 ^^""",
    ),
    "zero": (
        GOOD.replace("max_waiting = 50", "max_waiting = 0"),
        """\
glas.toml:17:15: `max_waiting` must be more than 0, found 0
  max_waiting = 0
                ^""",
    ),
    "silence": (
        GOOD.replace('silent = "5s"', 'silent = "1s"'),
        """\
glas.toml:22:10: `silent` must be more than `ping`
  silent = "1s"
           ^^^^
  hint: several pings should fit into the silence after which a link counts as dead""",
    ),
    "origin": (
        GOOD.replace('origin = "hq"', 'origin = "shop"'),
        """\
glas.toml:2:10: the origin 'shop' is not one of the mirrors
  origin = "shop"
           ^^^^^^
  hint: did you mean 'shop1'?""",
    ),
    "no mirrors": (
        'app = "pos"\norigin = "hq"\n',
        """\
glas.toml:1:1: no mirrors are named
  app = "pos"
  ^
  hint: each mirror is a table, such as [mirrors.hq]""",
    ),
    "one address twice": (
        GOOD.replace("localhost:7101", "127.0.0.1:8100"),
        """\
glas.toml:12:8: link of mirror 'shop1' has the address 127.0.0.1:8100, as has http of mirror 'hq'
  link = "127.0.0.1:8100"
         ^^^^^^^^^^^^^^^^""",
    ),
    "not an address": (
        GOOD.replace("127.0.0.1:7100", "127.0.0.1"),
        """\
glas.toml:7:8: '127.0.0.1' is not an address
  link = "127.0.0.1"
         ^^^^^^^^^^^
  hint: write it like "127.0.0.1:7100\"""",
    ),
    "link beyond this machine": (
        GOOD.replace("127.0.0.1:7100", "10.0.0.1:7100"),
        """\
glas.toml:7:8: link address '10.0.0.1:7100' is not on this machine
  link = "10.0.0.1:7100"
         ^^^^^^^^^^^^^^^
  hint: links are not encrypted yet, so they stay on this machine: use 127.0.0.1, or a tunnel and --via""",
    ),
    "http beyond this machine": (
        GOOD.replace("127.0.0.1:8100", "0.0.0.0:8100"),
        """\
glas.toml:8:8: http address '0.0.0.0:8100' is not on this machine
  http = "0.0.0.0:8100"
         ^^^^^^^^^^^^^^
  hint: HTTP is served on this machine only for now: use 127.0.0.1 and put a TLS proxy in front""",
    ),
    "several": (
        'ap = "pos"\norigin = "hq"\n[mirrors]\nhq = 3\n',
        """\
glas.toml:1:1: unknown key `ap`
  ap = "pos"
  ^^
  hint: did you mean `app`?
glas.toml:1:1: `app` is missing in the top of the file
  ap = "pos"
  ^
glas.toml:4:6: `mirrors.hq` must be a table
  hq = 3
       ^""",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_show_their_place(tmp_path: Path, name: str) -> None:
    text, expected = ERRORS[name]
    assert problems(tmp_path, text) == expected


PLAN_ERRORS = {
    "no place": (
        GOOD.replace('places = ["shop"]\n', ""),
        """\
glas.toml:10:2: `place` is missing in [mirrors.shop1]
  [mirrors.shop1]
   ^^^^^^^^^^^^^
  hint: the places are: hq, shop""",
    ),
    "unknown place": (
        GOOD.replace('places = ["shop"]', 'places = ["shap"]'),
        """\
glas.toml:11:10: pos has no place 'shap'
  places = ["shap"]
           ^^^^^^^^
  hint: did you mean 'shop'?""",
    ),
    "nobody at a place": (
        GOOD.replace('place = "hq"', 'place = "shop"').replace('origin = "hq"', 'origin = "shop1"'),
        """\
glas.toml:2:10: the origin 'shop1' does not stand at 'hq', where `start` must run
  origin = "shop1"
           ^^^^^^^
glas.toml:5:2: no mirror stands at 'hq', but one must
  [mirrors.hq]
   ^^^^^^^^^^
  hint: give one mirror `place = "hq\"`""",
    ),
    "two at a place for one": (
        GOOD.replace('places = ["shop"]', 'places = ["shop", "hq"]'),
        """\
glas.toml:11:10: 'shop1' stands at 'hq', which has 'hq' already
  places = ["shop", "hq"]
           ^^^^^^^^^^^^^^
  hint: exactly one mirror stands there""",
    ),
    "another app": (
        GOOD.replace('app = "pos"', 'app = "sop"'),
        """\
glas.toml:1:7: the bundle holds the app 'pos', not 'sop'
  app = "sop"                 # the bundle's package name
        ^^^^^""",
    ),
}


@pytest.mark.parametrize("name", PLAN_ERRORS)
def test_errors_against_the_plan(tmp_path: Path, name: str) -> None:
    text, expected = PLAN_ERRORS[name]
    assert problems(tmp_path, text, PLAN) == expected


def test_an_app_without_places_needs_none(tmp_path: Path) -> None:
    path = tmp_path / "glas.toml"
    path.write_text(GOOD.replace('place = "hq"\n', "").replace('places = ["shop"]\n', ""))
    config.check_plan(config.load(path), replace(PLAN, places=(), origin_places=()))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.toml:1:1: cannot read the configuration: No such file"):
        config.load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "text", ["\x00", "[" * 5000, "a=" + "[" * 3000, 'app="x"\n[mirrors]\n"a b".place=1', "\ud7ff"]
)
def test_odd_texts_are_errors_too(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text).startswith("glas.toml:")
