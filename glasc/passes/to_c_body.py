"""Bodies of methods as C, for the pass `to_c`: statements become calls of glas_app.h, failure becomes goto.

Owns how control, failing and waiting look in C. Does not know tables, files or Python. Where a call does not
give GLAS_OK, `s` keeps what it gave, and control goes to the handler of the innermost Attempt (or choose)
around it, which decides whether it catches that; without one the method returns it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from glasc import ir
from glasc.emit.literals import c_bool, c_comment, c_int, c_string
from glasc.emit.model import Braced, Case, Chained, CStmt, Line, Note
from glasc.emit.names import Names, member, variable
from glasc.emit.types import TypeTable
from glasc.ir_check import op_type
from glasc.ir_walk import falls_through, statements, variables
from glasc.source import Span
from glasc.types import BOOL, INT, TEXT, TIME, UNIT, Record, Type

_ARITH = {"+": "glas_add", "-": "glas_sub", "*": "glas_mul", "/": "glas_div", "%": "glas_rem"}
_LOGIC = {"and": "&&", "or": "||"}
_TO_TEXT: Mapping[Type, str] = {INT: "glas_int_to_text", BOOL: "glas_bool_to_text", TIME: "glas_time_to_text"}
_NUMBERS = ("int64_t", "uint8_t")


@dataclass(frozen=True)
class Context:
    """What bodies need to know of the app: types, states by name, and what the methods' C is called."""

    program: ir.Program
    types: TypeTable
    states: Mapping[str, str]  # constants
    runs: Mapping[str, str]  # C functions
    args: Mapping[str, str]  # types of argument records; no entry where there are no arguments
    sites: Iterator[int]  # numbers the places where something is chosen


# ---------------------------------------------------------------- expressions


class Exprs:
    """Pure expressions as C; `locals_` maps variables to lvalues."""

    def __init__(self, types: TypeTable, locals_: Mapping[str, str]) -> None:
        self._types = types
        self._locals = locals_

    def value(self, expr: ir.Expr) -> str:
        """The expression, safe as an operand of `.`, of a call and of an assignment."""
        match expr:
            case ir.Var(name):
                return self._locals.get(name, variable(name))
            case ir.Const():
                return self._const(expr)
            case ir.Get(subject, name):
                return _dot(self.value(subject), self._types.part(subject.type, name).member)
            case ir.Make(fields, kind):
                return self._make(fields, kind)
            case ir.Tag(label, value, kind):
                return self._tag(label, value, kind)
            case ir.MakeReply():
                return self._reply(expr)
            case ir.Not(operand):
                return f"!{self.value(operand)}"
            case ir.Logic(op, left, right):
                return f"({self.value(left)} {_LOGIC[op]} {self.value(right)})"
            case ir.Compare():
                return self._compare(expr)

    def address(self, expr: ir.Expr) -> str:
        """A pointer to the value."""
        text = self.value(expr)
        if isinstance(expr, ir.Var | ir.Get | ir.Make | ir.Tag | ir.MakeReply) or expr.type in (TEXT, UNIT):
            return f"&{text}"
        return f"&({self._types.piece(expr.type).type}){{{text}}}"

    def condition(self, expr: ir.Expr) -> str:
        """The value of a Bool as it stands within the parentheses of an `if`."""
        text = self.value(expr)
        wrapped = isinstance(expr, ir.Logic | ir.Compare) and text.startswith("(")
        return text[1:-1] if wrapped else text

    def _const(self, expr: ir.Const) -> str:
        match expr.value:
            case None:
                return "(glas_unit){0}"
            case bool(value):
                return c_bool(value)
            case int(value):
                return c_int(value)
            case str(value):
                return f"GLAS_TEXT({c_string(value)})"

    def _make(self, fields: tuple[ir.Expr, ...], kind: Type) -> str:
        if not fields:
            return "(glas_unit){0}"
        assert isinstance(kind, Record)
        parts = zip(kind.fields, fields, strict=True)
        inner = ", ".join(f".{member(name)} = {self.value(part)}" for (name, _), part in parts)
        return f"({self._types.piece(kind).type}){{{inner}}}"

    def _tag(self, label: str, value: ir.Expr, kind: Type) -> str:
        part = self._types.part(kind, label)
        inner = "" if value.type == UNIT else f", .as.{part.member} = {self.value(value)}"
        return f"({self._types.piece(kind).type}){{.tag = {part.constant}{inner}}}"

    def _operand(self, expr: ir.Expr) -> str:
        """The value as one side of a comparison: C compilers ask for parentheses around `!x` there."""
        return f"({self.value(expr)})" if isinstance(expr, ir.Not) else self.value(expr)

    def _reply(self, expr: ir.MakeReply) -> str:
        content_type = f"GLAS_TEXT({c_string(expr.content_type)})"
        status, body = self.value(expr.status), self.value(expr.body)
        return f"(glas_http_reply){{.status = {status}, .content_type = {content_type}, .body = {body}}}"

    def _compare(self, expr: ir.Compare) -> str:
        left, right, kind = expr.left, expr.right, expr.left.type
        if kind in (INT, TIME, BOOL):
            return f"({self._operand(left)} {expr.op} {self._operand(right)})"
        if expr.op not in ("==", "!="):
            return f"(glas_text_compare({self.value(left)}, {self.value(right)}) {expr.op} 0)"
        sign = "!" if expr.op == "!=" else ""
        if kind == TEXT:
            return f"{sign}glas_text_equal({self.value(left)}, {self.value(right)})"
        table = self._types.piece(kind).table
        return f"{sign}{table}.equal({self.address(left)}, {self.address(right)})"


def _dot(subject: str, name: str) -> str:
    """A member of an lvalue, which may be written as `(*pointer)`."""
    return f"{subject[2:-1]}->{name}" if subject.startswith("(*") else f"{subject}.{name}"


# ---------------------------------------------------------------- statements


class _Escape:
    """Where control goes when something is not OK: a label, or out of the method."""

    def __init__(self, label: str | None) -> None:
        self.label = label
        self.used = False

    def leave(self) -> Line:
        """The jump; `s` holds the reason."""
        self.used = True
        return Line("return s;" if self.label is None else f"goto {self.label};")


class Body:
    """Translates one method; made for it, used once."""

    def __init__(self, context: Context, method: ir.Method, shift: Mapping[str, str]) -> None:
        """`shift` maps the parameters to lvalues."""
        self._context = context
        self._method = method
        self._exprs = Exprs(context.types, shift)
        self._names = Names()
        self._declared: dict[str, str] = {}
        self._variables: dict[str, None] = {}  # of the program, in order
        self._status = False
        self._line = 0

    def run(self) -> tuple[tuple[str, ...], tuple[CStmt, ...]]:
        """Declarations and statements of the function."""
        escape = _Escape(None)
        stmts = tuple(self._block(self._method.body, escape))
        if falls_through(self._method.body):
            stmts = (*stmts, *self._return(None))
        return tuple(self._declarations()), stmts

    def _declarations(self) -> Iterator[str]:
        if self._status:
            yield "glas_status s = GLAS_OK;"
        used = {var.name for stmt in statements(self._method.body) for var in variables(stmt)}
        used |= {
            stmt.verdict.name for stmt in statements(self._method.body) if isinstance(stmt, ir.ChooseRow)
        }
        for name, kind in self._declared.items():
            yield f"{kind} {name} = {'0' if kind in _NUMBERS else '{0}'};"
        for name in self._variables:
            if name not in used:
                yield f"(void){variable(name)};"

    def _declare(self, name: str, kind: Type) -> str:
        self._declared.setdefault(name, self._context.types.piece(kind).type)
        return name

    def _variable(self, var: ir.Var) -> str:
        self._variables[var.name] = None
        return self._declare(variable(var.name), var.type)

    def _try(self, call: str, escape: _Escape) -> Iterator[CStmt]:
        """A call, and the jump where it is not OK."""
        self._status = True
        yield Line(f"s = {call};")
        yield Braced("if (s != GLAS_OK)", (escape.leave(),))

    def _where(self, span: Span) -> str:
        name = span.source.name.replace("\\", "/").rpartition("/")[2]
        return c_string(f"{name}:{span.line}:{span.column}")

    def _block(self, block: ir.Block, escape: _Escape) -> Iterator[CStmt]:
        for stmt in block:
            if stmt.span.line != self._line:
                self._line = stmt.span.line
                yield Note(source_note(stmt.span))
            yield from self._stmt(stmt, escape)

    def _stmt(self, stmt: ir.Stmt, escape: _Escape) -> Iterator[CStmt]:
        match stmt:
            case ir.Let(var=var, op=op):
                yield from self._let(var, op, stmt.span, escape)
            case ir.Declare(var=var):
                self._variable(var)
            case ir.Set(var=var, value=value):
                yield Line(f"{self._variable(var)} = {self._exprs.value(value)};")
            case ir.If():
                yield from self._if(stmt, escape)
            case ir.Match():
                yield from self._match(stmt, escape)
            case ir.Attempt():
                yield from self._attempt(stmt, escape)
            case ir.ForRows():
                yield from self._rows(stmt, escape)
            case ir.ChooseRow():
                yield from self._choose(stmt, escape)
            case ir.Return(value=value):
                yield from self._return(value)
            case ir.Fail():
                yield from self._set_status("GLAS_FAIL", escape)
            case ir.Raise(message=message):
                yield Line(f"return glas_error(txn, {self._where(stmt.span)}, {self._exprs.value(message)});")
            case _:
                yield from self._try(self._write(stmt), escape)

    def _set_status(self, status: str, escape: _Escape) -> Iterator[CStmt]:
        if escape.label is None:
            yield Line(f"return {status};")
        else:
            self._status = True
            yield Line(f"s = {status};")
            yield escape.leave()

    def _write(
        self, stmt: ir.CellSet | ir.RowSet | ir.CounterAdd | ir.BoundedAdd | ir.QueueWrite | ir.Log
    ) -> str:
        """The call that carries out a statement which writes."""
        value, address = self._exprs.value, self._exprs.address
        match stmt:
            case ir.CellSet(state=state):
                return f"glas_cell_set(txn, {self._state(state)}, {address(stmt.value)})"
            case ir.RowSet(state=state):
                return f"glas_row_set(txn, {self._state(state)}, {address(stmt.key)}, {address(stmt.value)})"
            case ir.CounterAdd(state=state) | ir.BoundedAdd(state=state):
                verb = "glas_counter_add" if isinstance(stmt, ir.CounterAdd) else "glas_bounded_add"
                where = self._where(stmt.span)
                return (
                    f"{verb}(txn, {self._state(state)}, {self._key(stmt.key)}, {value(stmt.delta)}, {where})"
                )
            case ir.QueueWrite(state=state):
                return f"glas_queue_write(txn, {self._state(state)}, {address(stmt.value)})"
            case ir.Log(text=text):
                return f"glas_log(txn, {value(text)})"

    def _state(self, name: str) -> str:
        return self._context.states[name]

    def _key(self, key: ir.Expr | None) -> str:
        return "NULL" if key is None else self._exprs.address(key)

    # ------------------------------------------------------------ operations

    def _let(self, var: ir.Var | None, op: ir.Op, span: Span, escape: _Escape) -> Iterator[CStmt]:
        kind = op_type(self._context.program, op)
        target = self._variable(var) if var is not None else self._scratch(kind, op)
        match op:
            case ir.Pure(value):
                if var is not None:
                    yield Line(f"{target} = {self._exprs.value(value)};")
            case ir.MirrorName():
                yield Line(f"{target} = glas_mirror_name(txn);")
            case ir.Now():
                yield Line(f"{target} = glas_now(txn);")
            case ir.Format(parts):
                yield from self._format(parts, target, escape)
            case _:
                yield from self._try(self._call(op, target, span), escape)

    def _scratch(self, kind: Type, op: ir.Op) -> str:
        """A place for a result that nobody uses."""
        if isinstance(op, ir.Pure):
            return ""
        return self._declare(self._names.new("unused"), kind)

    def _call(
        self,
        op: ir.Arith | ir.CellGet | ir.RowGet | ir.CounterGet | ir.BoundedGet | ir.QueueRead | ir.RequestBody
        | ir.JsonRead | ir.JsonWrite | ir.Invoke,
        target: str,
        span: Span,
    ) -> str:  # fmt: skip
        """The call that carries out an operation which may end the block."""
        value, address = self._exprs.value, self._exprs.address
        match op:
            case ir.Arith(sign, left, right):
                return f"{_ARITH[sign]}(txn, {value(left)}, {value(right)}, &{target}, {self._where(span)})"
            case ir.CellGet(state):
                return f"glas_cell_get(txn, {self._state(state)}, &{target})"
            case ir.RowGet(state, key):
                return f"glas_row_get(txn, {self._state(state)}, {address(key)}, &{target})"
            case ir.CounterGet(state, key):
                where = self._where(span)
                return f"glas_counter_get(txn, {self._state(state)}, {self._key(key)}, &{target}, {where})"
            case ir.BoundedGet(state, key):
                where = self._where(span)
                return f"glas_bounded_get(txn, {self._state(state)}, {self._key(key)}, &{target}, {where})"
            case ir.QueueRead(state):
                return f"glas_queue_read(txn, {self._state(state)}, &{target})"
            case ir.RequestBody():
                return f"glas_request_body(txn, &{target})"
            case ir.JsonRead(text, kind):
                return (
                    f"glas_json_read(txn, &{self._context.types.piece(kind).table}, {value(text)}, &{target})"
                )
            case ir.JsonWrite(subject):
                table = self._context.types.piece(subject.type).table
                return f"glas_json_write(txn, &{table}, {address(subject)}, &{target})"
            case ir.Invoke(method, args):
                return f"{self._context.runs[method]}(txn, {self._arguments(method, args)}, &{target})"

    def _arguments(self, method: str, args: tuple[ir.Expr, ...]) -> str:
        kind = self._context.args.get(method)
        if kind is None:
            return "&(glas_unit){0}"
        params = self._context.program.method(method).params
        pairs = zip(params, args, strict=True)
        inner = ", ".join(f".{member(var.name)} = {self._exprs.value(arg)}" for var, arg in pairs)
        return f"&({kind}){{{inner}}}"

    def _format(self, parts: tuple[ir.Expr, ...], target: str, escape: _Escape) -> Iterator[CStmt]:
        if not parts:
            yield Line(f'{target} = GLAS_TEXT("");')
            return
        array = self._names.new("parts")
        body: list[CStmt] = [Line(f"glas_text {array}[{len(parts)}];")]
        for number, part in enumerate(parts):
            if part.type == TEXT:
                body.append(Line(f"{array}[{number}] = {self._exprs.value(part)};"))
            else:
                call = f"{_TO_TEXT[part.type]}(txn, {self._exprs.value(part)}, &{array}[{number}])"
                body.extend(self._try(call, escape))
        body.extend(self._try(f"glas_join(txn, {array}, {len(parts)}, &{target})", escape))
        yield Braced("", tuple(body))

    # ------------------------------------------------------------ control

    def _if(self, stmt: ir.If, escape: _Escape) -> Iterator[CStmt]:
        condition = self._exprs.condition(stmt.condition)
        then = tuple(self._block(stmt.then, escape))
        orelse = tuple(self._block(stmt.orelse, escape))
        if then and orelse:
            yield Chained(f"if ({condition})", then, orelse)
        elif orelse:
            yield Braced(f"if (!{self._exprs.value(stmt.condition)})", orelse)
        else:
            yield Braced(f"if ({condition})", then)

    def _match(self, stmt: ir.Match, escape: _Escape) -> Iterator[CStmt]:
        subject = self._exprs.value(stmt.subject)
        cases: list[CStmt] = []
        for arm in stmt.arms:
            part = self._context.types.part(stmt.subject.type, arm.label)
            body: list[CStmt] = []
            if arm.var is not None:
                body.append(Line(f"{self._variable(arm.var)} = {subject}.as.{part.member};"))
            body.extend(self._block(arm.body, escape))
            if falls_through(arm.body):
                body.append(Line("break;"))
            last = arm is stmt.arms[-1]
            if last:  # no other number is a label, and so every way through the switch is known
                cases.append(Case(f"case {part.constant}", ()))
            cases.append(Case("default" if last else f"case {part.constant}", tuple(body)))
        yield Braced(f"switch ({subject}.tag)", tuple(cases))

    def _attempt(self, stmt: ir.Attempt, escape: _Escape) -> Iterator[CStmt]:
        inner = _Escape(self._names.new("caught"))
        mark = self._names.new("mark") if stmt.writes else None
        body = tuple(self._block(stmt.body, inner))
        if not inner.used:
            yield from body
            return
        if mark is not None:
            self._declared[mark] = "glas_mark"
            yield Line(f"{mark} = glas_save(txn);")
        yield from body
        done = self._names.new("done") if falls_through(stmt.body) else None
        if done is not None:
            yield Line(f"goto {done};")
        caught = "s != GLAS_FAIL && s != GLAS_WAIT" if stmt.catches_wait else "s != GLAS_FAIL"
        handler: list[CStmt] = [Braced(f"if ({caught})", (escape.leave(),))]
        if mark is not None:
            handler.append(Line(f"glas_undo(txn, {mark});"))
        handler.extend(self._block(stmt.handler, escape))
        assert inner.label is not None
        yield Case(inner.label, tuple(handler))
        if done is not None:
            yield Case(done, (Line(";"),))

    def _rows(self, stmt: ir.ForRows, escape: _Escape) -> Iterator[CStmt]:
        rows = self._names.new("rows")
        self._declared[rows] = "glas_rows"
        yield from self._try(f"glas_rows_begin(txn, {self._state(stmt.state)}, &{rows})", escape)
        key, value = self._variable(stmt.key), self._variable(stmt.value)
        yield Braced(
            f"while (glas_rows_next(&{rows}, &{key}, &{value}))", tuple(self._block(stmt.body, escape))
        )

    def _choose(self, stmt: ir.ChooseRow, escape: _Escape) -> Iterator[CStmt]:
        choice, unfit = self._names.new("choice"), _Escape(self._names.new("unfit"))
        self._declared[choice] = "glas_choice"
        begin = f"glas_choose_begin(txn, {self._state(stmt.state)}, {next(self._context.sites)}, &{choice})"
        yield from self._try(begin, escape)
        key, value = self._variable(stmt.key), self._variable(stmt.value)
        verdict = self._variable(stmt.verdict)
        none = tuple(self._set_status("GLAS_WAIT", escape))
        loop: list[CStmt] = [Braced(f"if (!glas_choose_next(&{choice}, &{key}, &{value}))", none)]
        loop.extend(self._block(stmt.test, unfit))
        loop.append(Braced(f"if (!{verdict})", (Line("continue;"),)))
        loop += [Line(f"glas_choose_take(&{choice});"), Line("break;")]
        if unfit.label is not None and unfit.used:
            loop.append(Case(unfit.label, (Braced("if (s != GLAS_FAIL)", (escape.leave(),)),)))
        yield Braced("for (;;)", tuple(loop))

    def _return(self, value: ir.Expr | None) -> Iterator[CStmt]:
        yield Line(f"*result = {'(glas_unit){0}' if value is None else self._exprs.value(value)};")
        yield Line("return GLAS_OK;")


def source_note(span: Span) -> str:
    """`pos.glas:47  let price = ...`: where C comes from, without the folder, which differs between
    machines.
    """
    name = span.source.name.replace("\\", "/").rpartition("/")[2]
    code = span.source.line(span.line).partition("  #")[0].strip()
    return c_comment(f"{name}:{span.line}  {code}")
