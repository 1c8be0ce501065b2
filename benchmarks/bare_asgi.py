"""uvicorn with an app that answers everything by a constant: `bare_asgi.py SIZE CONTENT_TYPE`.

Prints its port when it serves. Settings as in glasrt/service.py, so that only the app differs.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

Message = MutableMapping[str, Any]


def constant(size: int, content_type: str) -> Callable[..., Awaitable[None]]:
    """An app whose every answer has a body of `size` bytes."""
    headers = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % size)]
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    body = {"type": "http.response.body", "body": b"x" * size}

    async def app(_scope: Message, _receive: object, send: Callable[[Message], Awaitable[None]]) -> None:
        await send(start)
        await send(body)

    return app


def main() -> None:
    """Serves until a signal comes."""
    web = socket.socket()
    web.bind(("127.0.0.1", 0))
    web.listen(2048)
    print(web.getsockname()[1], flush=True)
    settings = uvicorn.Config(
        constant(int(sys.argv[1]), sys.argv[2]),
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    uvicorn.Server(settings).run(sockets=[web])


if __name__ == "__main__":
    main()
