"""The server: on this machine alone unless told otherwise."""

import logging
import signal
from collections.abc import Callable, Collection
from typing import Any

import panel as pn
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, Rule
from tornado.web import RequestHandler
from tornado.websocket import WebSocketClosedError

from ..errors import MagnoscopeError
from .service import Service
from .shell import page_of

LOCAL = ("127.0.0.1", "localhost")
HEAD_START = 2.0
"""Seconds that a page has to be shown in before the simulator is made ready for those who come later."""
EVERY = ("0.0.0.0", "::", "")
"""Addresses that stand for all of a machine's."""


class Elsewhere(Matcher):
    """Requests for a host that this server is not told to be; or a page elsewhere could have its name point here."""

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = {name.lower() for name in allowed}

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Parameters for the handler where the host is none of ours."""
        return None if (request.headers.get("Host") or "").lower() in self._allowed else {}


class Refusal(RequestHandler):
    """The answer to those."""

    def prepare(self) -> None:
        """Whatever the method."""
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("this server does not answer to that name; start it with --allow-origin NAME:PORT\n")


def _no_departure(record: logging.LogRecord) -> bool:
    """Whether a record tells of more than that a user went while something was on its way to them."""
    return not (record.exc_info and isinstance(record.exc_info[1], WebSocketClosedError))


def make_server(service: Service, port: int = 0, host: str = "127.0.0.1", origins: Collection[str] = ()) -> Any:
    """A server of a study's page, not yet started.

    Parameters
    ----------
    service : Service
    port : int
        0: any that is free.
    host : str
        Address to listen on.
    origins : collection of str
        Further names, each with its port, under which the page may be reached.

    Raises
    ------
    MagnoscopeError
        If the address or the port cannot be had.
    """
    logging.getLogger("bokeh").setLevel(logging.ERROR)
    logging.getLogger("tornado").setLevel(logging.ERROR)
    logging.getLogger("asyncio").addFilter(_no_departure)
    pn.extension("filedropper")
    pn.config.disconnect_notification = "The server has stopped; start it again and load this page anew."

    def page() -> pn.viewable.Viewable:  # a plain function: Panel would print a partial one instead of calling it
        return page_of(service)

    try:
        server = pn.io.server.get_server(
            {"/": page},
            port=port,
            address=host,
            title=f"magnoscope: {service.study.name}",
            # which port it will be is known only now
            websocket_origin=["*"] if port == 0 else _names(host, port, origins),
            show=False,
            start=False,
        )
    except OSError as error:
        reason = error.strerror or error
        raise MagnoscopeError(
            f"port {port} of {host} cannot be had: {reason}; give another with --port, 0 for any that is free"
        ) from None
    allowed = _names(host, server.port, origins)
    server._tornado._websocket_origins = set(allowed)
    router = server._tornado.default_router
    router.rules.insert(0, router.process_rule(Rule(Elsewhere(allowed), Refusal)))
    return server


def address(host: str, port: int) -> str:
    """Of the page, for a person."""
    return f"http://{LOCAL[0] if host in EVERY else host}:{port}/"


def serve(server: Any, service: Service, started: Callable[[], None]) -> None:
    """Run a server until it is stopped."""
    server.start()
    started()
    server.io_loop.call_later(HEAD_START, service.warm)
    signal.signal(signal.SIGTERM, lambda number, frame: server.io_loop.add_callback_from_signal(server.io_loop.stop))
    try:
        server.io_loop.start()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()
        service.pool.shutdown(wait=False, cancel_futures=True)


def _names(host: str, port: int, origins: Collection[str]) -> list[str]:
    own = [f"{name}:{port}" for name in dict.fromkeys((*LOCAL, host)) if name not in EVERY]
    return [*own, *(name if ":" in name else f"{name}:{port}" for name in origins)]
