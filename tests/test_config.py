"""`glas.toml`: what it means, and what every error looks like."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from glasrt import config
from glasrt.bundle import Place, Plan, State
from glasrt.config import Address, ConfigError
from glasrt.core import Core, Limits, Roster, RosterMirror, Timing
from glasrt.errors import CoreError
from tests.pos_app import pos_module

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
           ^
  hint: texts stand in quotes, as in app = "pos\"""",
    ),
    "syntax at the end": (
        'app = "pos"\n[mirrors.hq',
        """\
glas.toml:2:12: not TOML: Expected ']' at the end of a table declaration at the end of the file
  [mirrors.hq
             ^
  hint: close it with `]`""",
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
   ^^^^^^^^^^
  hint: write it like link = "127.0.0.1:7100", with a port of its own""",
    ),
    "wrong type": (
        GOOD.replace('data = "data"', "data = 7"),
        """\
glas.toml:3:8: `data` must be a text that is not empty, found 7
  data = 7
         ^
  hint: write it like data = "data\"""",
    ),
    "size": (
        GOOD.replace("64MiB", "lots"),
        """\
glas.toml:16:12: `max_heap` must be like "64MiB", found 'lots'
  max_heap = "lots"
             ^^^^^^
  hint: a number and its unit: B KiB MiB GiB kB MB GB""",
    ),
    "duration": (
        GOOD.replace('"1500ms"', "30"),
        """\
glas.toml:18:16: `call_timeout` must be like "30s", found 30
  call_timeout = 30
                 ^^
  hint: a number and its unit: us ms s m h d""",
    ),
    "zero": (
        GOOD.replace("max_waiting = 50", "max_waiting = 0"),
        """\
glas.toml:17:15: `max_waiting` must be more than 0, found 0
  max_waiting = 0
                ^
  hint: without this line the default holds""",
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
         ^^^^^^^^^^^^^^^^
  hint: give each a port of its own""",
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
  hint: write it like app = "pos"
glas.toml:4:6: `mirrors.hq` must be a table, found 3
  hq = 3
       ^
  hint: write [mirrors.hq] on a line of its own, and its keys below""",
    ),
}


ERRORS |= {
    "a table twice": (
        GOOD + "[mirrors.hq]\n",
        """\
glas.toml:23:12: not TOML: Cannot declare `mirrors.hq` twice
  [mirrors.hq]
             ^
  hint: a table stands once, with all its keys below""",
    ),
    "a date": (
        GOOD.replace('origin = "hq"', "origin = 1979-05-27"),
        """\
glas.toml:2:10: `origin` must be a text that is not empty, found 1979-05-27
  origin = 1979-05-27
           ^^^^^^^^^^
  hint: write it like origin = "hq\"""",
    ),
    "too large a size": (
        GOOD.replace("64MiB", "999999999999999GiB"),
        """\
glas.toml:16:12: `max_heap` must be at most 1048576GiB, found '999999999999999GiB'
  max_heap = "999999999999999GiB"
             ^^^^^^^^^^^^^^^^^^^^
  hint: without this line the default holds""",
    ),
    "too long a duration": (
        GOOD.replace("1500ms", "999999999999d"),
        """\
glas.toml:18:16: `call_timeout` must be at most 36500d, found '999999999999d'
  call_timeout = "999999999999d"
                 ^^^^^^^^^^^^^^^
  hint: without this line the default holds""",
    ),
    "a heap that holds nothing": (
        GOOD.replace("64MiB", "1B"),
        """\
glas.toml:16:12: `max_heap` must be at least 64KiB, found '1B'
  max_heap = "1B"
             ^^^^
  hint: without this line the default holds""",
    ),
    "more text than the core can": (
        GOOD.replace("max_waiting = 50", 'max_text = "10GiB"'),
        """\
glas.toml:17:12: `max_text` must be at most 536870911B, found '10GiB'
  max_text = "10GiB"
             ^^^^^^^
  hint: without this line the default holds""",
    ),
    "a link that holds nothing": (
        GOOD.replace("max_waiting = 50", 'max_link_buffer = "4224B"'),
        """\
glas.toml:17:19: `max_link_buffer` must be at least 4352B for 2 mirrors
  max_link_buffer = "4224B"
                    ^^^^^^^
  hint: without this line the default holds""",
    ),
    "a count with a unit": (
        GOOD.replace("max_waiting = 50", 'max_waiting = "10MiB"'),
        """\
glas.toml:17:15: `max_waiting` must be a whole number, found '10MiB'
  max_waiting = "10MiB"
                ^^^^^^^
  hint: it counts calls, as in max_waiting = 10000""",
    ),
    "digits of another script": (
        GOOD.replace("127.0.0.1:7100", "127.0.0.1:\u0661\u0662"),
        """\
glas.toml:7:8: '127.0.0.1:\u0661\u0662' is not an address
  link = "127.0.0.1:\u0661\u0662"
         ^^^^^^^^^^^^^^
  hint: write it like "127.0.0.1:7100\"""",
    ),
    "NUL": (
        GOOD.replace('data = "data"', 'data = "a\\u0000b"'),
        """\
glas.toml:3:8: `data` cannot hold a NUL
  data = "a\\u0000b"
         ^^^^^^^^^^
  hint: write it like data = "data\"""",
    ),
    "a name that no mirror can have": (
        GOOD.replace("[mirrors.shop1]", '[mirrors."sh op"]'),
        """\
glas.toml:10:2: 'sh op' cannot name a mirror
  [mirrors."sh op"]
   ^^^^^^^^^^^^^^^
  hint: a name has at most 63 letters, digits, `_`, `-` and `.`, none of the last two in front""",
    ),
    "a control character": (
        GOOD.replace('origin = "hq"', "origin = \x1b[2J"),
        """\
glas.toml:2:10: not TOML: Invalid value
  origin = \ufffd[2J
           ^
  hint: texts stand in quotes, as in app = "pos\"""",
    ),
    "a long line": (
        GOOD.replace('data = "data"', 'data = ["' + "x" * 300 + '", "y"] # ' + "z" * 100),
        f"""\
glas.toml:3:8: `data` must be a text that is not empty, found ['{"x" * 35}...
  data = ["{"x" * 111}...
         {"^" * 113}
  hint: write it like data = "data\"""",
    ),
    "the end of a long line": (
        'app = "' + "x" * 1000,
        f"""\
glas.toml:1:1008: not TOML: Unterminated string at the end of the file
  ...{"x" * 120}
  {" " * 123}^
  hint: close the text with a quote""",
    ),
    "a long key": (
        GOOD + "k" * 300 + " = 1\n",
        f"""\
glas.toml:23:1: unknown key `{"k" * 37}...`
  {"k" * 120}...
  {"^" * 120}
  hint: known here: ping, silent""",
    ),
    "a key of many parts": (
        GOOD + "k." * 64 + "k = 1\n",
        f"""\
glas.toml:23:1: a key has too many parts
  {"k." * 60}...
  {"^" * 120}
  hint: no key here has more than three""",
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
  hint: let a mirror stand at 'hq'
glas.toml:5:2: no mirror stands at 'hq', but one must
  [mirrors.hq]
   ^^^^^^^^^^
  hint: give one mirror `place = "hq"`""",
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
        ^^^^^
  hint: write app = "pos", or name another bundle with --bundle""",
    ),
}


@pytest.mark.parametrize("name", [*ERRORS, *PLAN_ERRORS])
def test_every_error_has_a_hint(name: str) -> None:
    _text, expected = (ERRORS | PLAN_ERRORS)[name]
    errors = [line for line in expected.split("\n") if line.startswith("glas.toml:")]
    hints = [line for line in expected.split("\n") if line.startswith("  hint: ")]
    assert len(errors) == len(hints)


@pytest.mark.parametrize("name", PLAN_ERRORS)
def test_errors_against_the_plan(tmp_path: Path, name: str) -> None:
    text, expected = PLAN_ERRORS[name]
    assert problems(tmp_path, text, PLAN) == expected


def test_an_app_without_places_needs_none(tmp_path: Path) -> None:
    path = tmp_path / "glas.toml"
    path.write_text(GOOD.replace('place = "hq"\n', "").replace('places = ["shop"]\n', ""))
    config.check_plan(config.load(path), replace(PLAN, places=(), origin_places=()))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path / "none.toml")
    head = "none.toml:1:1: cannot read the configuration: No such file or directory\n  hint: "
    assert str(caught.value).startswith(head)
    (tmp_path / "one.toml").write_text(GOOD)
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path / "none.toml")
    assert str(caught.value) == head + "did you mean 'one.toml'?"
    with pytest.raises(ConfigError, match=r"Is a directory\n  hint: configurations there: one\.toml"):
        config.load(tmp_path)


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "glas.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    config.check_plan(config.load(path), PLAN)


def test_other_encodings_are_named_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "glas.toml"
    path.write_bytes(GOOD.encode() + "# Ü ".encode() + b"f\xfcr\n")
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    expected = """\
glas.toml:23:6: the configuration is not UTF-8: a byte 0xfc cannot be here
  # Ü f\ufffdr
       ^
  hint: let the editor save it as UTF-8"""
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    "text",
    [
        "\n" * 200_000,
        " " * 200_000,
        "x = [" + "1," * 200_000 + "]",
        "x = [" + "1,\n" * 100_000 + "]",
        "a." * 200_000 + "b = 1",
        "[" + "a." * 200_000 + "b]",
        "k" * 500_000,
        'x = "' + "a" * 500_000,
        'x = """' + '\\"""' * 100_000,
        'x = """' + '"" ' * 150_000,
        "x = '''" + "'' " * 150_000,
    ],
    ids=lambda text: ascii(text[:10]),
)
def test_long_files_take_no_longer_than_they_are(tmp_path: Path, text: str) -> None:
    begin = time.process_time()
    found = problems(tmp_path, text)
    assert time.process_time() - begin < 5
    assert max(map(len, found.split("\n"))) < 300


def test_a_file_beyond_all_measure(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD + "# x\n" * (1 << 18))
    assert found.startswith("glas.toml:1:1: the configuration is larger than 1 MiB\n  hint: ")


@pytest.mark.parametrize(
    "text", ["\x00", "[" * 5000, "a=" + "[" * 3000, 'app="x"\n[mirrors]\n"a b".place=1', "\ud7ff"]
)
def test_odd_texts_are_errors_too(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text).startswith("glas.toml:")


CORE_BOUNDS = [
    ("max_heap", (64 << 10) - 1, "max_heap is too small"),
    ("max_heap", 64 << 10, None),
    ("max_text", (1 << 29) - 1, None),
    ("max_text", 1 << 29, "max_text is too large"),
    ("max_link_buffer", 4096 + 128 - 1, "max_link_buffer or max_heap is too small"),
    ("max_link_buffer", 4096 + 128, None),
    ("max_link_buffer", (1 << 29) - 1, None),
    ("max_link_buffer", 1 << 29, "max_link_buffer or max_text is too large"),
    ("max_waiting", 0, "max_waiting"),
    ("max_waiting", 1, None),
]


@pytest.mark.parametrize(("key", "value", "refused"), CORE_BOUNDS)
def test_the_core_has_the_same_bounds(tmp_path: Path, key: str, value: int, refused: str | None) -> None:
    """What the core refuses has no line to point at: the configuration must refuse it first."""
    path = tmp_path / "glas.toml"
    lone = GOOD.partition("[mirrors.shop1]")[0]
    path.write_text(f"{lone}[limits]\n{key} = {value}\n")
    try:
        limits = config.load(path).limits
    except ConfigError as error:
        assert refused is not None, error
        limits = Limits(**{key: value})
    else:
        assert refused is None
    try:
        Core(pos_module(), Roster((RosterMirror("hq", 3),), 0), 0, limits=limits).close()
    except CoreError as error:
        assert refused in str(error) if refused is not None else "out of memory" in str(error)
    else:
        assert refused is None
