"""One mirror as a process: configuration, bundle, store, node and HTTP server put together.

Owns their order when starting and stopping, and the signals. Does not know arguments or exit codes (cli.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import uvicorn

from glasrt import bundle, config, http_wire
from glasrt.asgi import MirrorApp
from glasrt.config import Address, Config, MirrorConfig
from glasrt.errors import GlasError
from glasrt.link import bind
from glasrt.logs import DEBUG, INFO, Log
from glasrt.node import Node, NodeSettings
from glasrt.store import Identity
from glasrt.store_process import StoreProcess

_MAX_CONNECTIONS = 4096
_KEEP_ALIVE_S = 30
_HTTP_FINISH_S = 5
_CALLS_FINISH_S = 4.0  # before uvicorn ends requests, with an answer of its own


class MirrorFailed(GlasError):
    """The mirror ran, and cannot go on."""


class OptionError(GlasError):
    """An option that does not fit the configuration."""


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    config: Path
    mirror: str
    via: Mapping[str, Address]
    data: Path | None
    bundle: Path | None
    log_format: str
    verbose: bool


@dataclass(frozen=True)
class Ready:
    """Said once, when the mirror serves."""

    app: str
    version: str
    mirror: str
    http: str | None
    link: str | None


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the service has its own. `up` is set when it serves."""

    def __init__(self, settings: uvicorn.Config) -> None:
        super().__init__(settings)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to serve, and tells."""
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


def run_mirror(options: Options, on_ready: Callable[[Ready], None]) -> None:
    """Runs a mirror until a signal stops it. Raises MirrorFailed once it was ready, another GlasError
    before.
    """
    conf = config.load(options.config)
    names = [mirror.name for mirror in conf.mirrors]
    for name in (options.mirror, *options.via):
        if name not in names:
            raise OptionError(f"{options.config}: no mirror {name!r}; the mirrors are: {', '.join(names)}")
    module = bundle.load(conf.app, options.bundle, options.config.parent)
    plan = bundle.plan_of(module)
    config.check_plan(conf, plan)
    mirror = conf.mirrors[conf.index(options.mirror)]
    web = bind(mirror.http) if mirror.http is not None else None
    try:
        path = (options.data or conf.data) / f"{mirror.name}.glas"
        identity = Identity(plan.app, mirror.name, plan.protocol_id)
        store = StoreProcess(path, identity)  # before there is a loop, as it forks
        run = asyncio.run
        if importlib.util.find_spec("uvloop") is not None:
            import uvloop

            run = uvloop.run
        run(_run(options, conf, module, plan, store, web, on_ready))
    finally:
        if web is not None:
            web.close()


async def _run(
    options: Options,
    conf: Config,
    module: ModuleType,
    plan: bundle.Plan,
    store: StoreProcess,
    web: socket.socket | None,
    on_ready: Callable[[Ready], None],
) -> None:
    mirror = conf.mirrors[conf.index(options.mirror)]
    log = Log(mirror.name, options.log_format, DEBUG if options.verbose else INFO)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        settings = NodeSettings(
            mirror.name, conf.roster(plan), conf.limits, conf.timing, conf.call_timeout_us
        )
        node = Node(module, settings, store, log)
    except BaseException:
        store.close()
        raise
    try:
        listen, dial = _links(conf, mirror, options.via, log)
        await node.connect(listen, dial)
        ready = Ready(plan.app, plan.version, mirror.name, _bound(web), str(listen) if listen else None)
        app = MirrorApp(node, mirror.http.host if mirror.http is not None else "localhost")
        await _serve(node, app, web, stop, lambda: on_ready(ready))
    finally:
        await node.stop()
    log.info("stopped", durable=node.durable)


def _links(
    conf: Config, mirror: MirrorConfig, via: Mapping[str, Address], log: Log
) -> tuple[Address | None, dict[str, Address]]:
    """Where to listen (None: no mirror is later in the roster) and whom to dial where."""
    number = conf.index(mirror.name)
    dial: dict[str, Address] = {}
    for peer in conf.mirrors[:number]:
        address = via.get(peer.name, peer.link)
        assert address is not None, "where there are several mirrors, each has a link"
        dial[peer.name] = address
    for name in via:
        if name not in dial:
            log.warning("--via has no effect: this mirror does not dial that one", peer=name)
    return (mirror.link if number + 1 < len(conf.mirrors) else None), dial


async def _serve(
    node: Node, app: MirrorApp, web: socket.socket | None, stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Serves until `stop` or the node fails. Raises MirrorFailed."""
    stopped = asyncio.ensure_future(stop.wait())
    waits: list[asyncio.Future[Any]] = [stopped, node.failed]
    server, serving = None, None
    if web is not None:
        server = _Server(_uvicorn_config(app))
        serving = asyncio.ensure_future(server.serve(sockets=[web]))
        await server.up.wait()
        waits.append(serving)
    ready()
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    if server is not None and serving is not None:
        server.should_exit = True
        await node.finish_calls(_CALLS_FINISH_S)
        await serving
    stopped.cancel()
    if node.failed.done():
        raise MirrorFailed(node.failed.result())
    if not stop.is_set():
        raise MirrorFailed("the HTTP server stopped by itself")


def _uvicorn_config(app: MirrorApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=http_wire.protocol(),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_HTTP_FINISH_S,
        limit_concurrency=_MAX_CONNECTIONS,
        proxy_headers=False,
        h11_max_incomplete_event_size=2 * http_wire.HEAD_MOST,  # ours is less, and has an answer of its own
    )


def _bound(web: socket.socket | None) -> str | None:
    if web is None:
        return None
    host, port = web.getsockname()[:2]
    return str(Address(host, port))
