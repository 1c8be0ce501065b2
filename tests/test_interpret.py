"""What programs mean, by the reference interpreter; and that the pass simplify does not change it."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from glasc import driver, ir, ir_check, typed_json
from glasc.interpret import Machine, Outcome, percent_decoded
from glasc.passes.simplify import simplify
from glasc.source import Source, Span
from glasc.types import BOOL, INT, TEXT, TIME, UNIT, Record, Type, Variant
from tests.programs import App, Call, app_of, apps

HEAD = """\
app t version "1"
type Pair = (a: Int, b: Text)
type Res = ok: Int | bad: Text | none
db.n : cell Int
db.v : cell Res
db.p : cell Pair
db.d : dict Text of Int
db.e : dict Pair of Bool
db.q : queue of Int
db.c : counter
db.b : bounded
db.bd : dict Text of bounded
"""


def compiled(text: str, last: str = "simplify") -> ir.Program:
    program = driver.run_until(Source("t.glas", text), last)
    assert isinstance(program, ir.Program)
    return program


def machine(body: str) -> Machine:
    return Machine(compiled(HEAD + body), "here", 1_700_000_000_123_456)


def committed(value: Any = None) -> Outcome:
    return Outcome("committed", value)


# ---------------------------------------------------------------- failing, waiting, errors


def test_failed_try_undoes_every_write() -> None:
    m = machine(
        """\
rpc f() -> Int
  db.n := 1
  db.q.write(7)
  try
    db.n := 2
    db.d["x"] := 3
    db.q.write(8)
    db.c += 5
    db.b += 5
    sys.log("lost")
    let item = db.q.read()
    db.n += item
    fail
  else
    sys.log("kept {db.n}")
  return db.n
"""
    )
    assert m.call("f") == committed(1)
    assert (m.dump()["db.d"], m.dump()["db.q"], m.dump()["db.c"], m.dump()["db.b"]) == ([], [7], 0, 0)
    assert m.log == ("kept 1",)


def test_inner_try_does_not_undo_what_the_outer_one_keeps() -> None:
    m = machine(
        """\
rpc f()
  try
    db.n := 1
    try
      db.n := 2
      fail
    db.c += db.n
    db.b -= 1
  else
    db.n += 10
"""
    )
    assert m.call("f") == committed()
    assert (m.dump()["db.n"], m.dump()["db.c"]) == (10, 0)


def test_aborted_transaction_leaves_nothing() -> None:
    m = machine('rpc f()\n  db.n := 1\n  sys.log("x")\n  fail\nrpc g()\n  db.n := 1\n  error "no {db.n}"\n')
    before = m.dump()
    assert m.call("f") == Outcome("failed")
    assert m.call("g") == Outcome("error", message="no 1")
    assert (m.dump(), m.log) == (before, ())


def test_wait_is_not_caught() -> None:
    m = machine(
        """\
rpc take() -> Int
  return db.q.read()
step s
  try
    db.n := 1
    db.n := db.q.read()
    db.b -= 1
  else
    db.n := 2
step exact
  db.n := db.q.read() else 3
step by_call
  db.n := take()
step none_here
  try
    choose (k, v) in db.d where v > 0
    fail
  else
    db.n := 5
"""
    )
    assert m.run_step("s") == Outcome("waiting")
    assert m.run_step("by_call") == Outcome("waiting")
    assert m.run_step("none_here") == Outcome("waiting")
    assert m.dump()["db.n"] == 0
    assert m.run_step("exact") == committed()
    assert m.dump()["db.n"] == 3


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("9223372036854775807 + x", None),
        ("-9223372036854775808 - x", None),
        ("4611686018427387904 * (x + 1)", None),
        ("-9223372036854775808 / -x", None),
        ("-9223372036854775808 % -x", 0),
        ("-(-9223372036854775808 + x - x)", None),
        ("9223372036854775806 + x", 2**63 - 1),
        ("-7 / (x + 1)", -3),
        ("-7 % (x + 1)", -1),
        ("7 / -(x + 1)", -3),
        ("7 % -(x + 1)", 1),
    ],
)
def test_arithmetic_is_checked(expression: str, result: int | None) -> None:
    found = machine(f"rpc f(x: Int) -> Int\n  return {expression}\n").call("f", [1])
    assert found == (Outcome("error", message="integer overflow") if result is None else committed(result))


def test_division_by_zero_is_an_error_that_try_does_not_catch() -> None:
    m = machine('rpc f(x: Int) -> Int\n  let y = db.d["{1 / x}"] else 3\n  return y\n')
    assert m.call("f", [0]) == Outcome("error", message="division by zero")
    assert m.call("f", [1]) == committed(3)


def test_bounded_never_goes_below_zero() -> None:
    m = machine('rpc f(n: Int) -> Int\n  db.bd["x"] += n\n  return db.bd["x"]\n')
    assert m.call("f", [-1]) == Outcome("failed")
    assert m.call("f", [3]) == committed(3)
    assert m.call("f", [-4]) == Outcome("failed")
    assert m.call("f", [-3]) == committed(0)
    assert m.dump()["db.bd"] == []
    assert m.call("f", [2**63 - 1]) == committed(2**63 - 1)
    assert m.call("f", [1]) == Outcome("error", message="integer overflow")


def test_failed_assertion_names_its_condition() -> None:
    m = machine("rpc f(x: Int)\n  assert x > 1 and\n    x < 5\n".replace(" and\n    ", " and  "))
    assert m.call("f", [3]) == committed()
    assert m.call("f", [9]) == Outcome("error", message="assertion failed: x > 1 and x < 5")


# ---------------------------------------------------------------- order


def test_queue_keeps_its_order() -> None:
    m = machine("rpc put(n: Int)\n  db.q.write(n)\nrpc get() -> Int\n  return db.q.read()\n")
    for n in (3, 1, 2):
        m.call("put", [n])
    assert [m.call("get").value for _ in range(3)] == [3, 1, 2]
    assert m.call("get") == Outcome("waiting")


def test_evaluation_goes_from_left_to_right() -> None:
    m = machine(
        """\
rpc note(n: Int) -> Int
  sys.log("{n}")
  return n
rpc f() -> Bool
  let p: Pair = (a: note(1) - note(2) * note(3), b: "{note(4)}")
  db.d["{note(5)}"] := note(6)
  db.d["{note(5)}"] += note(7)
  return note(8) < note(9) and (note(10) == 0 and note(11) == 0 or note(12) == 12)
"""
    )
    assert m.call("f") == committed(True)
    assert m.log == tuple(str(n) for n in (1, 2, 3, 4, 5, 6, 5, 7, 8, 9, 10, 12))


def test_change_by_the_value_is_not_lost() -> None:
    m = machine("rpc g() -> Int\n  db.n += 1\n  return 10\nrpc f()\n  db.n += g()\n")
    m.call("f")
    assert m.dump()["db.n"] == 11


def test_rows_go_in_key_order() -> None:
    m = machine(
        """\
rpc put(k: Pair)
  db.e[k] := true
rpc all() -> Text
  for (k, v) in db.e
    sys.log("{k.a}{k.b}")
  return ""
"""
    )
    for a, b in ((2, "a"), (-1, "z"), (2, "B"), (2, "𝄞"), (2, "\uffff"), (2, "")):
        m.call("put", [{"a": a, "b": b}])
    m.call("all")
    assert m.log == ("-1z", "2", "2B", "2a", "2\uffff", "2𝄞")


def test_choose_is_fair_and_remembers_through_failure() -> None:
    m = machine(
        """\
rpc put(k: Text, n: Int)
  db.d[k] := n
step s
  choose (k, v) in db.d where v > 1 and (db.d["{k}x"] else v) > 0
  sys.log(k)
step failing
  choose (k, v) in db.d
  db.n := v
  db.b -= 1
step other
  choose (k, v) in db.d where db.d["{k}?"] > 0
  sys.log(k)
"""
    )
    for k, n in (("b", 2), ("a", 3), ("c", 1), ("d", 4)):
        m.call("put", [k, n])
    for _ in range(5):
        assert m.run_step("s") == committed()
    assert m.run_step("failing") == Outcome("failed")
    assert m.run_step("other") == Outcome("waiting")  # a test that fails does not fit
    assert m.run_step("s").kind == "committed"
    assert m.log == ("b", "a", "d", "b", "a", "d")


def test_cells_start_with_the_default_of_their_type() -> None:
    assert machine("").dump() == {
        "db.n": 0,
        "db.v": {"ok": 0},
        "db.p": {"a": 0, "b": ""},
        "db.d": [],
        "db.e": [],
        "db.q": [],
        "db.c": 0,
        "db.b": 0,
        "db.bd": [],
    }


# ---------------------------------------------------------------- http

HTTP = """\
http GET "/a/{x}"
  return reply(200, "x " + x)
http GET "/{y}/{z}/c"
  return reply(200, "yz " + y + z)
http POST "/a/{x}"
  let body = request.json as Pair else return reply(400, "no")
  return reply(201, json (body: body, again: json body.b))
http PUT "/"
  db.b -= 1
  return reply(204, request.body)
"""


def test_body_that_is_no_text_can_be_answered() -> None:
    m = machine(
        'http PUT "/p"\n  let b = request.body else return reply(400, "no text")\n  return reply(200, b)\n'
        'http PUT "/q"\n  try\n    return reply(200, request.body)\n  else\n    return reply(400, "no")\n'
    )
    for path in ("/p", "/q"):
        assert m.http("PUT", path, b"yes").value["body"] == "yes"
        assert m.http("PUT", path, b"\xff").value["status"] == 400


@pytest.mark.parametrize(
    ("verb", "path", "status", "body"),
    [
        ("GET", "/a/b", 200, "x b"),
        ("GET", "/a/b?c=/d", 200, "x b"),
        ("GET", "/a/%62", 200, "x b"),
        ("GET", "/a/%e2%82%ac+", 200, "x €+"),
        ("GET", "/a/%2F", 200, "x /"),
        ("GET", "/a/", 404, "not found"),
        ("GET", "/a", 404, "not found"),
        ("GET", "a/b", 404, "not found"),
        ("GET", "/a/%ff", 400, "malformed path"),
        ("GET", "/a/%6", 400, "malformed path"),
        ("GET", "/a/b/", 404, "not found"),
        ("GET", "/A/b", 404, "not found"),
        ("GET", "/b/b/c", 200, "yz bb"),
        ("HEAD", "/a/b", 405, "method not allowed"),
        ("PUT", "/a/b", 405, "method not allowed"),
        ("GET", "/", 405, "method not allowed"),
        ("HEAD", "/c", 404, "not found"),
    ],
)
def test_http_paths(verb: str, path: str, status: int, body: str) -> None:
    found = machine(HTTP).http(verb, path)
    assert found.kind == "committed"
    assert (found.value["status"], found.value["body"]) == (status, body)
    assert found.value["content_type"] == "text/plain; charset=utf-8"


def test_http_bodies() -> None:
    m = machine(HTTP)
    found = m.http("POST", "/a/q", b' {"b" : "\\u20ac\\"", "a":-0 }\n').value
    assert found == {
        "status": 201,
        "content_type": "application/json",
        "body": '{"body":{"a":0,"b":"€\\""},"again":"\\"€\\\\\\"\\""}',
    }
    assert m.http("POST", "/a/q", b"\xff").value["status"] == 400
    assert m.http("PUT", "/") == Outcome("failed")


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("", ""),
        ("a%20b", "a b"),
        ("%C3%a4", "ä"),
        *((bad, None) for bad in ("%", "%4", "%zz", "%c3", "%ed%a0%80", "\udc80")),
    ],
)
def test_percent_decoding(text: str, decoded: str | None) -> None:
    assert percent_decoded(text) == decoded


# ---------------------------------------------------------------- json

PAIR = Record((("a", INT), ("b", TEXT)))
RES = Variant((("ok", INT), ("none", UNIT)))

FITS: list[tuple[Type, str, Any]] = [
    (INT, " 12\n", 12),
    (INT, "-9223372036854775808", -(2**63)),
    (INT, "-0", 0),
    (BOOL, "true", True),
    (UNIT, "null", None),
    (TEXT, '"\\u00e4\\ud834\\udd1e\\/\\b\\u0000\x7f"', "ä𝄞/\b\0\x7f"),
    (TEXT, '"\ufeff"', "\ufeff"),
    (PAIR, '{"b":"x","\\u0061":1}', {"a": 1, "b": "x"}),
    (RES, '{"none":null}', ("none", None)),
    (TIME, '"1970-01-01T00:00:01.5Z"', 1_500_000),
    (TIME, '"1969-12-31T23:59:59.999999Z"', -1),
    (TIME, '"2024-02-29T12:34:56Z"', 1_709_210_096_000_000),
]

MISFITS: dict[Type, tuple[str, ...]] = {
    INT: (
        "",
        "1.0",
        "1e3",
        "01",
        "+1",
        "- 1",
        "9223372036854775808",
        "1 2",
        '"1"',
        "1,",
        "\ufeff1",
        "9" * 30,
        "١",
    ),
    BOOL: ("True", "1", "truee"),
    UNIT: ("nul", "0", "{}"),
    TEXT: ('"', '"\n"', '"\\x"', '"\\ud834"', '"\\udd1e\\ud834"', '"\\u12"', "'a'", "a"),
    PAIR: (
        '{"a":1}',
        '{"a":1,"b":"","c":1}',
        '{"a":1,"b":"","a":1}',
        '{"a":1,"b":"",}',
        "[1]",
        '{"a":1 "b":""}',
        "{}",
    ),
    RES: ('{"ok":1,"none":null}', "{}", '"none"', '{"bad":1}', '{"ok":1}}'),
    TIME: (
        '"2024-02-30T00:00:00Z"',
        '"2024-01-01T00:00:00"',
        '"2024-01-01t00:00:00Z"',
        '"2024-01-01T00:00:00+00:00"',
        '"2024-01-01T00:00:60Z"',
        '"2024-01-01T24:00:00Z"',
        '"2024-01-01T00:00:00.Z"',
        '"2024-01-01T00:00:00.1234567Z"',
        '"0000-01-01T00:00:00Z"',
    ),
}


@pytest.mark.parametrize(("kind", "text", "value"), FITS)
def test_json_that_fits(kind: Type, text: str, value: Any) -> None:
    assert typed_json.read(text, kind) == value
    assert typed_json.read(typed_json.write(value, kind), kind) == value


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind in MISFITS for text in MISFITS[kind]])
def test_json_that_does_not_fit(kind: Type, text: str) -> None:
    with pytest.raises(typed_json.DoesNotFit):
        typed_json.read(text, kind)


def test_json_has_a_limit_of_depth() -> None:
    kind: Type = INT
    text = "1"
    for _ in range(typed_json.MAX_DEPTH):
        kind, text = Record((("a", kind),)), f'{{"a":{text}}}'
    typed_json.read(text, kind)
    with pytest.raises(typed_json.DoesNotFit):
        typed_json.read(f'{{"a":{text}}}', Record((("a", kind),)))


def test_json_is_written_canonically() -> None:
    kind = Record((("t", TEXT), ("at", TIME), ("r", RES), ("f", BOOL)))
    value = {"t": 'ä"\\/\n\x1f\x7f', "at": 1_000_001, "r": ("none", None), "f": False}
    assert typed_json.write(value, kind) == (
        '{"t":"ä\\"\\\\/\\n\\u001f\x7f","at":"1970-01-01T00:00:01.000001Z","r":{"none":null},"f":false}'
    )


# ---------------------------------------------------------------- simplify keeps the meaning


def trace(program: ir.Program, calls: tuple[Call, ...]) -> list[Any]:
    """Everything that can be seen of the calls, one after the other."""
    m = Machine(program, "here", 1_700_000_000_000_000)
    seen: list[Any] = []
    for call in calls:
        match call.kind:
            case "wait":
                m.now += call.number
            case "http":
                seen.append(m.http(call.verb, call.path, call.body))
            case _:
                seen.append(m.call(call.method, call.args))
        seen.append((json.dumps(m.dump()), m.log))
    return seen


def assert_simplify_keeps_the_meaning(app: App) -> None:
    before = compiled(app.source, "infer_effects")
    after = simplify(before)
    ir_check.check(after)
    assert trace(before, app.calls) == trace(after, app.calls)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(apps())
def test_simplify_keeps_the_meaning(app: App) -> None:
    assert_simplify_keeps_the_meaning(app)


EDGES = (0, 1, -1, 2, -2, 7, -7, 2**63 - 1, -(2**63), 2**32)
SPAN = Span(Source("t.glas", ""), 0, 0)


def method_of(name: str, op: ir.Op, kind: Type) -> ir.Method:
    """A method of x that gives the result of one operation."""
    var = ir.Var("r", kind)
    body = (ir.Let(var=var, op=op, span=SPAN), ir.Return(value=var, span=SPAN))
    x = ir.Var("x", INT)
    return ir.Method(
        kind="rpc", name=name, title=name, params=(x,), result=kind, body=body, span=SPAN, accesses=()
    )


@pytest.mark.parametrize("op", ["+", "-", "*", "/", "%", "<", "<=", ">", ">=", "==", "!="])
def test_simplify_keeps_the_meaning_of_operators(op: str) -> None:
    x = ir.Var("x", INT)
    methods: list[ir.Method] = []
    sides: tuple[ir.Expr, ...] = (x, *(ir.Const(n, INT) for n in EDGES))
    for left in sides:
        for right in sides:
            name = f"m{len(methods)}"
            if op in "+-*/%":
                methods.append(method_of(name, ir.Arith(op, left, right), INT))
            else:
                test = ir.Not(ir.Compare(op, left, right, BOOL), BOOL)
                methods.append(method_of(name, ir.Pure(test), BOOL))
    before = ir.Program(
        name="t",
        version="1",
        head=SPAN,
        stage="infer_effects",
        places=(),
        type_names=(),
        states=(),
        methods=tuple(methods),
    )
    one, two = Machine(before, "", 0), Machine(simplify(before), "", 0)
    for method in methods:
        for number in EDGES:
            assert one.call(method.name, [number]) == two.call(method.name, [number])


@pytest.mark.slow
@pytest.mark.parametrize("start", (0, 40))
def test_simplify_keeps_the_meaning_of_many(start: int) -> None:
    for seed in range(start, start + 40):
        assert_simplify_keeps_the_meaning(app_of(Random(seed)))


@pytest.mark.soak
@pytest.mark.parametrize("start", range(1000, 9000, 500))
def test_simplify_keeps_the_meaning_of_very_many(start: int) -> None:
    for seed in range(start, start + 500):
        assert_simplify_keeps_the_meaning(app_of(Random(seed)))


def test_random_programs_do_many_things() -> None:
    """The generator reaches every kind of outcome, so that comparing means something."""
    kinds = set()
    statuses = set()
    for seed in range(40):
        app = app_of(Random(seed))
        for seen in trace(compiled(app.source), app.calls):
            if isinstance(seen, Outcome):
                kinds.add(seen.kind)
                if isinstance(seen.value, dict):
                    statuses.add(seen.value.get("status"))
    assert kinds == {"committed", "failed", "waiting", "error"}
    assert {200, 400, 404, 405} <= statuses
