"""Annotations, places and HTTP paths make sense.

Takes the tree that resolve made and leaves it as it is. Afterwards every annotation stands where it means
something, names places and states that there are, and no request fits two http methods. Does not know types
of expressions; hints that are merely without effect are left to warn.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from glasc import syntax as s
from glasc import types as t
from glasc.diagnostics import Collector, Note, did_you_mean

_OF_STATE = frozenset({"at", "near", "mirror", "reader", "together"})
_AVAILABLE_KINDS = frozenset({"rpc", "http", "step"})


def check_declarations(program: s.Program) -> s.Program:
    """The same program. Raises CompileErrors."""
    errors = Collector()
    check = _Check(program, errors)
    for state in program.states:
        check.state(state)
    for method in program.methods:
        check.method(method)
    _check_paths(program, errors)
    errors.finish()
    return program


def is_owned(kind: t.StateKind) -> bool:
    """Whether cells or rows of such a state have owners."""
    counts = t.Counter | t.Bounded
    return isinstance(kind, t.Cell) or (isinstance(kind, t.Dict) and not isinstance(kind.value, counts))


class _Check:
    def __init__(self, program: s.Program, errors: Collector) -> None:
        self.errors = errors
        self.places = {place.name: place for place in program.places}
        self.states = {state.name: state for state in program.states}

    def state(self, state: s.State) -> None:
        self.once(state.annotations)
        for each in state.annotations:
            self.place(each)
            match each.name:
                case "at":
                    self.at(each, state)
                case "near":
                    self.near(each, state)
                case "reader":
                    self.reader(each, state)
                case "together":
                    self.together(each, state)
                case "mirror" if not is_owned(state.kind):
                    self.misplaced(each, f"a {state.kind} has no replicas to read", state)
                case "mirror" if not state.name.startswith("db."):
                    # Its owner forgets it when it starts anew, and replicas would not.
                    self.errors.error("E0901", "not supported yet: replicas of `mem.` state", each.span)
                case "available":
                    self.misplaced(each, "it stands under methods", state)

    def method(self, method: s.Method) -> None:
        self.once(method.annotations)
        for each in method.annotations:
            self.place(each)
            if each.name in _OF_STATE:
                self.errors.error("E0503", f"`@{each.name}` stands under state, not under methods", each.span)
            elif method.kind not in _AVAILABLE_KINDS:
                message = f"`@available` is for step, rpc and http, not for {method.kind}"
                self.errors.error("E0503", message, each.span)

    def once(self, annotations: Iterable[s.Annotation]) -> None:
        first: dict[str, s.Annotation] = {}
        for each in annotations:
            if each.name in first:
                note = Note("first given here", first[each.name].span)
                self.errors.error("E0504", f"`@{each.name}` is given twice", each.span, notes=[note])
            first.setdefault(each.name, each)

    def place(self, annotation: s.Annotation) -> None:
        name = annotation.place
        if name is not None and name not in self.places:
            hint = did_you_mean(name, self.places) or f"`place {name}` or `place {name} many` declares it"
            self.errors.error("E0501", f"the place `{name}` is not declared", annotation.span, hint=hint)

    def misplaced(self, annotation: s.Annotation, why: str, state: s.State, hint: str | None = None) -> None:
        message = f"`@{annotation.name}` does not belong here: {why}"
        notes = [Note(f"`{state.name}` is declared here", state.span)]
        self.errors.error("E0503", message, annotation.span, notes=notes, hint=hint)

    def one_mirror(self, annotation: s.Annotation, what: str, hint: str | None = None) -> None:
        """A place with many mirrors cannot be meant."""
        place = self.places.get(annotation.place or "")
        if place is not None and place.many:
            message = f"{what} is at one mirror, but there are many at `{place.name}`"
            notes = [Note(f"`{place.name}` is declared here", place.span)]
            self.errors.error("E0505", message, annotation.span, notes=notes, hint=hint)

    def at(self, annotation: s.Annotation, state: s.State) -> None:
        if isinstance(state.kind, t.Queue):
            self.misplaced(
                annotation, "a queue has two ends", state, "`@reader P` is the place of its read end"
            )
        elif not is_owned(state.kind):
            self.misplaced(annotation, f"a {state.kind} has no owner, every mirror has its part", state)
        else:
            name = annotation.place
            hint = f"`@near {name}[key...]` spreads the rows of a dict by their keys"
            self.one_mirror(annotation, "the owner", hint)

    def near(self, annotation: s.Annotation, state: s.State) -> None:
        place = self.places.get(annotation.place or "")
        if place is None or not is_owned(state.kind):
            return
        if annotation.key is None:
            if place.many:
                hint = f"`@near {place.name}[key]`, where the key names a mirror"
                message = f"there are many mirrors at `{place.name}`: a key has to tell which one is meant"
                self.errors.error("E0506", message, annotation.span, hint=hint)
            return
        if not place.many:
            self.misplaced(annotation, f"there is one mirror at `{place.name}`, so no key is needed", state)
        elif not isinstance(state.kind, t.Dict):
            self.misplaced(annotation, "a cell has no key", state)
        elif not _is_pure_key(annotation.key):
            hint = "what is supported is `key`, a field of it, or a text"
            message = "not supported yet: this key of `@near`"
            self.errors.error("E0901", message, annotation.key.span, hint=hint)

    def reader(self, annotation: s.Annotation, state: s.State) -> None:
        if not isinstance(state.kind, t.Queue):
            self.misplaced(
                annotation, f"only a queue has a reader, and `{state.name}` is a {state.kind}", state
            )
        else:
            self.one_mirror(annotation, "the read end of a queue")

    def together(self, annotation: s.Annotation, state: s.State) -> None:
        for name in annotation.states:
            other = self.states.get(name)
            if other is None:
                hint = did_you_mean(name, self.states)
                self.errors.error("E0203", f"the state `{name}` is not declared", annotation.span, hint=hint)
            elif other is state:
                self.errors.error("E0507", f"`{name}` is together with itself anyway", annotation.span)
            else:
                self.pair(annotation, state, other)

    def pair(self, annotation: s.Annotation, state: s.State, other: s.State) -> None:
        """Two states can have the same owner if each unit of one has its counterpart in the other."""
        match state.kind, other.kind:
            case t.Dict(key=key), t.Dict(key=other_key) if key == other_key:
                why = None
            case t.Dict(key=key), t.Dict(key=other_key):
                why = f"their keys are {key} and {other_key}"
            case t.Cell(), t.Cell():
                why = None
            case _:
                why = f"one is a {state.kind}, the other a {other.kind}"
        if not (is_owned(state.kind) and is_owned(other.kind)):
            why = why or "counters have no owner"
        if why is not None:
            message = f"`{state.name}` and `{other.name}` cannot be together: {why}"
            notes = [Note(f"`{other.name}` is declared here", other.span)]
            hint = "two cells can be together, or two dicts of values with the same type of key"
            self.errors.error("E0507", message, annotation.span, notes=notes, hint=hint)


def _is_pure_key(key: s.Expr) -> bool:
    match key:
        case s.Name():
            return True
        case s.Field(subject=subject):
            return _is_pure_key(subject)
        case s.TextLit(parts=parts):
            return all(isinstance(part, str) for part in parts)
        case _:
            return False


def _check_paths(program: s.Program, errors: Collector) -> None:
    """No request fits two methods."""
    seen: list[s.Method] = []
    for method in program.methods:
        if method.kind != "http":
            continue
        for other in seen:
            if method.verb == other.verb and _overlap(method.path, other.path):
                notes = [Note("the other method is here", other.span)]
                message = f"some requests fit both `{method.name}` and `{other.name}`"
                errors.error("E0603", message, method.span, notes=notes)
        seen.append(method)


def _overlap(path: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return len(path) == len(other) and all(
        a == b or a.startswith("{") or b.startswith("{") for a, b in zip(path, other, strict=True)
    )
