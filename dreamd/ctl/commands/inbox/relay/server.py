"""The connection to a NATS server, and its errors as one line each."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final
from urllib.parse import urlsplit

import click

CONNECT_S: Final = 10
CLOSE_S: Final = 5.0
FAILED_S: Final = 0.2  # nats-py waits for the end of a TLS connection that never came about
SCHEMES: Final = ("nats", "tls", "ws", "wss")


class Missing(click.ClickException):
    """The extra is not installed."""

    exit_code = 2


class ServerRefused(click.ClickException):
    """The server refuses: credentials, certificate, stream. A person has to act."""

    exit_code = 4


class ServerUnreachable(click.ClickException):
    """No server answers."""

    exit_code = 3


@dataclass(frozen=True)
class Place:
    """The server, and how it is convinced. `creds`: a file with credentials. `tls_ca`: a file with the CA of its
    certificate, if the system does not know it."""

    url: str
    creds: str | None = None
    tls_ca: str | None = None

    @property
    def shown(self) -> str:
        """The URL without user and password."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def check_url(_: click.Context, __: click.Parameter, url: str) -> str:
    """Check that a parameter is the URL of a server. Raise BadParameter."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in SCHEMES and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        good = False
    if not good:
        raise click.BadParameter("expected nats://HOST, nats://HOST:PORT or tls://HOST")
    return url


def import_nats() -> Any:
    """Return the module `nats`. Raise Missing."""
    try:
        return import_module("nats")
    except ImportError:
        raise Missing("this command needs nats-py: pip install 'dreamd[nats]'") from None


@asynccontextmanager
async def connect_server(place: Place) -> AsyncIterator[Any]:
    """Connect for the block. A lost connection stays lost: the caller connects again. Raise as `explain_error`."""
    nats = import_nats()
    seen: list[Exception] = []

    async def keep(error: Exception) -> None:  # nats-py would log it with a traceback
        seen[:] = [error]

    options: dict[str, Any] = {"allow_reconnect": False, "connect_timeout": CONNECT_S, "error_cb": keep}
    # These count for the first connection too.
    options |= {"max_reconnect_attempts": 1, "reconnect_time_wait": 0.1}
    client = nats.NATS()
    try:
        if place.tls_ca or urlsplit(place.url).scheme in ("tls", "wss"):
            options["tls"] = ssl.create_default_context(cafile=place.tls_ca)
        if place.creds:
            options["user_credentials"] = place.creds
        async with asyncio.timeout(2 * CONNECT_S):
            await client.connect(place.url, name="dreamd", **options)
    except BaseException as error:
        await _close_client(client, FAILED_S)
        if not isinstance(error, Exception):
            raise
        gave_up = isinstance(error, TimeoutError | nats.errors.NoServersError)
        raise explain_error(seen[0] if seen and gave_up else error, place) from None
    try:
        if "tls" in options and not _is_encrypted(client):
            raise ServerRefused(f"{place.shown}: it offers no TLS; turn TLS on there")
        yield client
    except (OSError, TimeoutError, nats.errors.Error) as error:
        raise explain_error(seen[0] if seen and client.is_closed else error, place) from None
    finally:
        await _close_client(client)


async def _close_client(client: Any, wait_s: float = CLOSE_S) -> None:
    """Close a client, also one that has not connected: nats-py leaves its socket open."""
    with suppress(Exception):  # it is gone, or half made
        async with asyncio.timeout(wait_s):
            await client.close()
    with suppress(AttributeError):
        client._transport.close()  # noqa: SLF001


def _is_encrypted(client: Any) -> bool:
    """Return whether the connection uses TLS. nats-py 2.16 goes on without, if the server does not ask for it."""
    writer = getattr(getattr(client, "_transport", None), "_io_writer", None)
    # None belongs to a web socket, which wss encrypts.
    return writer is None or writer.get_extra_info("ssl_object") is not None


def explain_error(error: Exception, place: Place) -> click.ClickException:
    """Return an error of the server, or of the way to it, as one line that says what to do."""
    text = str(error).removeprefix("nats: ").strip("'\" .") or type(error).__name__
    if isinstance(error, click.ClickException):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.rstrip(".")
        return ServerRefused(
            f"{place.shown}: its certificate is not accepted ({why}); --tls-ca names the file of its CA"
        )
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        named = error.filename or place.tls_ca or place.creds
        return ServerRefused(f"{named}: {error.strerror}; name a file that can be read")
    if isinstance(error, ModuleNotFoundError):
        return Missing("credentials need nkeys: pip install 'dreamd[nats]'")
    if isinstance(error, ssl.SSLError):
        return ServerRefused(f"{place.shown}: no TLS is possible ({error.reason or text})")
    lower = text.lower()
    if "authorization" in lower or "authentication" in lower or "permissions" in lower:
        return ServerRefused(
            f"{place.shown}: it refuses these credentials ({text}); --creds names a file with others"
        )
    if isinstance(error, ValueError | TypeError):  # of a file with credentials or a CA
        return ServerRefused(
            f"{place.creds or place.tls_ca}: it does not hold what it should; name another file"
        )
    code = getattr(error, "err_code", None)
    if code is not None or "Stream" in type(error).__name__ or type(error).__name__ == "NotFoundError":
        return explain_answer(getattr(error, "code", 503), getattr(error, "description", "") or text, place)
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        text = os.strerror(error.errno)
    return ServerUnreachable(f"{place.shown}: no NATS server answers ({text})")


def explain_answer(code: Any, description: str, place: Place) -> click.ClickException:
    """Return an answer of JetStream that is an error."""
    if "exceeded" in description or "insufficient" in description:
        return ServerRefused(
            f"{place.shown}: the stream is full ({description}); raise its limits, or let `inbox pull` empty it"
        )
    return ServerRefused(
        f"{place.shown}: JetStream refuses ({description}, {code}); `nats stream ls` shows the streams"
    )


def no_stream(subject: str, place: Place) -> click.ClickException:
    """Return the error that no stream takes a subject."""
    head = subject.partition(".")[0]
    return ServerRefused(
        f"{place.shown}: no stream takes the subject {subject}; make one: "
        f"nats stream add DREAMS --subjects '{head}.>' --discard new --defaults"
    )
