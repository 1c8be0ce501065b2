"""HTTP of one mirror, as an ASGI app: the app's own paths, and /sys/ for operators and programs.

Owns paths below /sys/, status codes and the JSON of errors. Does not know how calls are carried out
(node.py) or how bytes become requests (uvicorn).

Everything but /sys/* goes to the app. Below /sys/: `GET health`, `GET status`, `GET state/NAME`, `GET
plan`, and `POST rpc/NAME` with a JSON object.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

import glasrt
from glasrt.config import is_loopback
from glasrt.core import Reply
from glasrt.errors import ABORTED, COMMITTED, OUTCOMES, reason_name
from glasrt.node import Node, Waiting

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_JSON = b"application/json"
_WITHOUT_BODY = frozenset(("GET", "HEAD", "OPTIONS"))


class TooLarge(Exception):
    """A request body beyond the bound."""


class Gone(Exception):
    """The client went away before its request was complete."""


class MirrorApp:
    """The ASGI app of one node."""

    def __init__(self, node: Node, host: str = "localhost") -> None:
        """`host` is the one that it is configured to serve at."""
        self._node = node
        self._host = host.lower()
        self._max_body = node.settings.limits.max_text

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request. Other protocols than HTTP are refused by closing them."""
        if scope["type"] != "http":
            await _refuse_other(scope, receive, send)
            return
        verb: str = scope["method"]
        try:
            body = await self._body(scope, receive) if _has_body(verb, scope["headers"]) else b""
        except TooLarge:
            message = f"a request body may have {self._max_body} bytes at most"
            await _respond(send, 413, _JSON, _error("aborted", "bad_input", message), close=True)
            return
        except Gone:
            return
        raw: bytes = scope["raw_path"]
        if raw.startswith(b"/sys/") or raw == b"/sys":
            await self._sys(scope, verb, unquote(raw.decode("latin-1")), body, receive, send)
            return
        query: bytes = scope["query_string"]
        reply = self._node.http(verb.encode("latin-1"), b"%s?%s" % (raw, query) if query else raw, body)
        if not isinstance(reply, Reply) and not isinstance(reply, Waiting):
            reply = await reply  # it waits for the disk only
        if isinstance(reply, Reply) and reply.outcome == COMMITTED:  # the common case, without further calls
            headers = [(b"content-type", reply.content_type), (b"content-length", b"%d" % len(reply.body))]
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            await send({"type": "http.response.body", "body": reply.body})
        else:
            await self._finish(reply, receive, send)

    async def _finish(self, answer: Reply | asyncio.Future[Reply], receive: Receive, send: Send) -> None:
        if isinstance(answer, Reply):
            reply = answer
        elif isinstance(answer, Waiting):
            found = await _unless_gone(answer, receive)
            if found is None:
                return
            reply = found
        else:
            reply = await answer
        if reply.outcome == COMMITTED:
            await _respond(send, reply.status or 200, reply.content_type or _JSON, reply.body)
        else:
            await _respond_error(send, reply)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body. Raises TooLarge, Gone."""
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > self._max_body:
                raise TooLarge
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            if len(body) > self._max_body:
                raise TooLarge
            return body
        return await self._long_body(body, receive)

    async def _long_body(self, first: bytes, receive: Receive) -> bytes:
        parts, size, more = [first], len(first), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._max_body:
                raise TooLarge
            more = bool(message.get("more_body"))
        return b"".join(parts)

    # ---------------------------------------------------------------- /sys/

    async def _sys(
        self, scope: Scope, verb: str, path: str, body: bytes, receive: Receive, send: Send
    ) -> None:
        what, _sign, name = path.removeprefix("/sys").removeprefix("/").partition("/")
        if not all(_is_own(value, self._host) for key, value in scope["headers"] if key == b"host"):
            message = "refused: the request names another host than this machine"
            await _respond(send, 403, _JSON, _error("aborted", "refused", message))
        elif what == "rpc" and name:
            if verb != "POST":
                await _respond(send, 405, _JSON, _error("aborted", "bad_verb", "use POST"), allow=b"POST")
            elif _foreign(scope["headers"]):
                message = "refused: the request comes from a page of another site"
                await _respond(send, 403, _JSON, _error("aborted", "refused", message))
            else:
                await self._finish(self._node.rpc(name, body), receive, send)
        elif what not in ("health", "status", "state", "plan") or bool(name) != (what == "state"):
            await _respond(send, 404, _JSON, _error("aborted", "no_method", f"there is no {path}"))
        elif verb not in ("GET", "HEAD"):
            await _respond(send, 405, _JSON, _error("aborted", "bad_verb", "use GET"), allow=b"GET, HEAD")
        elif what == "health":
            await self._health(send)
        elif what == "status":
            await self._status(send)
        elif what == "plan":
            await self._finish(self._node.look(what), receive, send)
        else:
            await self._finish(self._node.inspect(f"state {name}"), receive, send)

    async def _health(self, send: Send) -> None:
        node = self._node
        ok = node.disk_works and not node.failed.done()
        body = {
            "ok": ok,
            "mirror": node.settings.mirror,
            "durable": node.durable,
            "disk_works": node.disk_works,
        }
        await _respond(send, 200 if ok else 503, _JSON, json.dumps(body).encode())

    async def _status(self, send: Send) -> None:
        reply = self._node.look("status")
        core = json.loads(reply.body) if reply.outcome == COMMITTED else {}
        host = {"version": glasrt.__version__, **self._node.facts()}
        await _respond(send, 200, _JSON, json.dumps({**core, "host": host}).encode())


async def _unless_gone(answer: asyncio.Future[Reply], receive: Receive) -> Reply | None:
    """The reply, or None when the client goes away first: the call is then cancelled."""
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not answer.done():
            answer.cancel()
    return None if answer.cancelled() else answer.result()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse_other(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1003})


def _has_body(verb: str, headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a body has to be read: with these verbs only if one is announced."""
    return verb not in _WITHOUT_BODY or any(
        name in (b"content-length", b"transfer-encoding") for name, _value in headers
    )


@functools.lru_cache(64)
def _is_own(host: bytes, configured: str) -> bool:
    """Whether a Host header names this machine itself.

    A page may have a name of its own looked up as 127.0.0.1. A browser then takes this mirror for that page's
    own site, and the header is all that tells.
    """
    name, sign, port = host.decode("latin-1").lower().rpartition(":")
    if not sign or not (port.isdigit() or port == ""):
        name = host.decode("latin-1").lower()
    name = name.removeprefix("[").removesuffix("]").removesuffix(".")
    return name == configured or is_loopback(name)


def _foreign(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a browser says that a page of another origin sent the request."""
    found = dict(headers)
    origin = found.get(b"origin")
    return origin is not None and origin.partition(b"://")[2] != found.get(b"host")


def _error(outcome: str, reason: str, message: str) -> bytes:
    return json.dumps({"outcome": outcome, "reason": reason, "message": message}).encode()


async def _respond_error(send: Send, reply: Reply) -> None:
    status = reply.status or (500 if reply.outcome == ABORTED else 504)
    body = _error(OUTCOMES[reply.outcome], reason_name(reply.reason), reply.message)
    await _respond(send, status, _JSON, body, retry=status == 503)


async def _respond(
    send: Send,
    status: int,
    content_type: bytes,
    body: bytes,
    *,
    allow: bytes | None = None,
    retry: bool = False,
    close: bool = False,
) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    if allow:
        headers.append((b"allow", allow))
    if retry:
        headers.append((b"retry-after", b"1"))
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
