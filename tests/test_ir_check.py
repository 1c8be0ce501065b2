"""Each rule of ir_check is seen red: a program that breaks it is refused, with the name of the pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from glasc import driver, ir, ir_check
from glasc.source import Source, Span
from glasc.types import BOOL, INT, TEXT, UNIT

TEXT_OF = """\
app t version "1"
type R = a: Int | b
db.n : cell Int
db.d : dict Text of Int
db.q : queue of Int
db.c : counter
rpc f(x: Int) -> Int
  let y = db.d["k"] else x
  return y
rpc g(x: Int)
  db.n := x
"""
SOURCE = Source("t.glas", TEXT_OF)
SPAN = Span(SOURCE, 0, 0)
X, Y, Z = (ir.Var(name, INT) for name in ("x", "y", "z"))
ONE, YES, WORD = ir.Const(1, INT), ir.Const(True, BOOL), ir.Const("w", TEXT)


def let(var: ir.Var | None, op: ir.Op) -> ir.Stmt:
    return ir.Let(var=var, op=op, span=SPAN)


def branch(then: ir.Block, orelse: ir.Block = ()) -> ir.Stmt:
    return ir.If(condition=YES, then=then, orelse=orelse, span=SPAN)


def declare(var: ir.Var) -> ir.Stmt:
    return ir.Declare(var=var, span=SPAN)


def put(var: ir.Var, value: ir.Expr = ONE) -> ir.Stmt:
    return ir.Set(var=var, value=value, span=SPAN)


def use(var: ir.Var) -> ir.Stmt:
    return ir.CellSet(state="db.n", value=var, span=SPAN)


FAIL, RETURN = ir.Fail(span=SPAN), ir.Return(value=None, span=SPAN)
KEY = ir.Var("k", TEXT)
RESULT = driver.run_until(SOURCE, "lower").type_names[0].type

BODIES: dict[str, tuple[ir.Block, str]] = {
    "twice": ((let(Y, ir.Pure(ONE)), let(Y, ir.Pure(ONE))), "y is bound twice"),
    "parameter": ((let(X, ir.Pure(ONE)),), "x is bound twice"),
    "unbound": ((use(Y),), "y is not bound here"),
    "other type": ((use(ir.Var("x", BOOL)),), "x is not bound here"),
    "not set": ((declare(Y), use(Y)), "y is used before it has a value"),
    "set on one way": ((declare(Y), branch((put(Y),)), use(Y)), "y is used before it has a value"),
    "out of scope": ((branch((let(Y, ir.Pure(ONE)),), (RETURN,)), use(Y)), "y is used before"),
    "set twice": ((declare(Y), put(Y), put(Y)), "y is set twice"),
    "not declared": ((put(Y),), "y is set, not declared"),
    "let type": ((let(ir.Var("b", BOOL), ir.Pure(ONE)),), "let b: Bool where Int is needed"),
    "set type": ((declare(Y), put(Y, YES)), "set y: Bool where Int is needed"),
    "arithmetic": ((let(Y, ir.Arith("+", X, YES)),), "+: Bool where Int is needed"),
    "expression": ((let(Y, ir.Pure(ir.Get(X, "a", INT))),), "does not agree with its type"),
    "constant": ((let(Y, ir.Pure(ir.Const(2**63, INT))),), "does not agree with its type"),
    "kind": ((let(Y, ir.CellGet("db.c")),), "db.c is a counter"),
    "key": ((let(Y, ir.RowGet("db.d", ONE)),), "key of db.d: Int where Text is needed"),
    "counter of values": ((let(Y, ir.CounterGet("db.d", WORD)),), "not of the kind that is used"),
    "queue": ((ir.QueueWrite(state="db.q", value=WORD, span=SPAN),), "db.q: Text where Int is needed"),
    "result": ((ir.Return(value=ONE, span=SPAN),), "return: Int where Unit is needed"),
    "invoke": ((let(Y, ir.Invoke("f", ())),), "arguments of f"),
    "arms": (
        (ir.Match(subject=ir.Tag("b", ir.Const(None, UNIT), RESULT), arms=(), span=SPAN),),
        "other arms",
    ),
    "loop writes": (
        (
            ir.ForRows(
                key=KEY,
                value=Y,
                state="db.d",
                body=(ir.RowSet(state="db.d", key=KEY, value=ONE, span=SPAN),),
                span=SPAN,
            ),
        ),
        "for over db.d writes it",
    ),
    "verdict": (
        (ir.ChooseRow(key=KEY, value=Y, state="db.d", test=(), verdict=ir.Var("v", BOOL), span=SPAN),),
        "does not end with its verdict",
    ),
    "test writes": (
        (
            ir.ChooseRow(
                key=KEY,
                value=Y,
                state="db.d",
                test=(use(X), let(ir.Var("v", BOOL), ir.Pure(YES))),
                verdict=ir.Var("v", BOOL),
                span=SPAN,
            ),
        ),
        "the test of choose in db.d writes",
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_bad_body(name: str) -> None:
    body, message = BODIES[name]
    program = driver.run_until(SOURCE, "lower")
    method = replace(program.method("g"), body=body)
    with pytest.raises(ir_check.InternalError, match=r"^after lower: g: ") as found:
        ir_check.check(replace(program, methods=(program.method("f"), method)))
    assert message in str(found.value)


def without_owner(program: ir.Program) -> ir.Program:
    return replace(program, states=tuple(replace(state, owner=None, why="") for state in program.states))


def without(field: str) -> Callable[[ir.Program], ir.Program]:
    def change(program: ir.Program) -> ir.Program:
        methods = (
            replace(m, accesses=None) if field == "accesses" else replace(m, routes=())
            for m in program.methods
        )
        return replace(program, methods=tuple(methods))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_owner, "db.n: owner None"),
        (without("accesses"), "f: accesses False"),
        (without("routes"), "f: routes"),
        (lambda p: replace(p, stage="lower"), "db.n: owner AtOrigin"),
        (lambda p: replace(p, stage="later"), "no such stage"),
        (lambda p: replace(p, methods=p.methods * 2), "two methods with one name"),
        (lambda p: replace(p, states=p.states * 2), "two states with one name"),
        (
            lambda p: replace(p, methods=tuple(replace(m, accesses=()) for m in p.methods)),
            "f: no access for db.d",
        ),
    ],
)
def test_bad_stage(change: Callable[[ir.Program], ir.Program], message: str) -> None:
    program = driver.run_until(SOURCE, "route")
    ir_check.check(program)
    with pytest.raises(ir_check.InternalError) as found:
        ir_check.check(change(program))
    assert message in str(found.value)


def test_method_without_result() -> None:
    program = driver.run_until(SOURCE, "lower")
    method = replace(program.method("f"), body=())
    with pytest.raises(ir_check.InternalError, match="f: can end without a result"):
        ir_check.check(replace(program, methods=(method, program.method("g"))))
