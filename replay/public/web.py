"""Answers of web servers, and what goes wrong with them: the only place that knows httpx."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx

from streams.errors import DownloadError

MAX_REDIRECTS = 5
TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Status codes that may be another one in a while (RFC 9110, RFC 6585)."""


class InterruptedDownloadError(DownloadError):
    """A server can't be reached, broke off, or is busy: trying again may help.

    Attributes:
        after_s: how long the server wants to be left alone, seconds; None where it doesn't say.
    """

    def __init__(self, text: str, after_s: float | None = None) -> None:
        super().__init__(text)
        self.after_s = after_s


@dataclass(frozen=True, slots=True)
class Patience:
    """How often to try again, and how long to wait before.

    Args:
        tries: how many in a row may bring nothing new.
        first_wait_s: before the second try; twice as long before each further one.
        longest_wait_s: no wait is longer, whatever the server asks for.
        connect_s: how long a server may take to be reached.
        silence_s: how long it may say nothing in the middle of an answer.
    """

    tries: int = 5
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    connect_s: float = 10.0
    silence_s: float = 60.0

    def wait_s(self, failures: int, asked_s: float | None) -> float:
        """Returns how long to wait after so many failures in a row, from 1.

        Example:
            >>> [Patience().wait_s(n, None) for n in (1, 2, 3, 20)]
            [1.0, 2.0, 4.0, 60.0]
            >>> Patience().wait_s(1, 30)
            30
        """
        own_s = self.first_wait_s * 2.0 ** min(failures - 1, 30)
        return min(max(own_s, asked_s or 0), self.longest_wait_s)


@dataclass(frozen=True, slots=True)
class Answer:
    """The begin of an answer; the rest comes as it is asked for.

    Args:
        status: code, such as 200.
        headers: names in any case.
        chunks: the body in pieces, as the server sends it.
    """

    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]


class Web:
    """A client that follows redirections and obeys the usual proxy variables; a context manager.

    Args:
        patience: its two time limits are kept here.
        agent: how it introduces itself.

    Raises:
        DownloadError: a proxy variable makes no sense.
    """

    def __init__(self, patience: Patience, agent: str = "onlineflows") -> None:
        timeout = httpx.Timeout(patience.silence_s, connect=patience.connect_s)
        headers = {"User-Agent": agent, "Accept-Encoding": "identity"}
        try:
            self._client = httpx.Client(
                follow_redirects=True,
                max_redirects=MAX_REDIRECTS,
                timeout=timeout,
                headers=headers,
            )
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            raise DownloadError(
                f"expected proxy variables with addresses such as http://host:3128; got "
                f"{_reason(error)}; in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY of the environment"
            ) from error

    @contextlib.contextmanager
    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[Answer]:
        """Asks for an address; the connection is closed with the block.

        Raises:
            InterruptedDownloadError: no connection, it broke off or fell silent, or the server is
                busy; also while the chunks are read.
            DownloadError: the address makes no sense, leads nowhere or off an encrypted
                connection, or there is no such file.
        """
        with (
            _translated(url),
            self._client.stream("GET", url, headers=headers) as response,
        ):
            if url.startswith("https:") and response.url.scheme != "https":
                raise DownloadError(
                    f"expected an encrypted connection; got a redirection to {response.url}; "
                    f"at {url}"
                )
            _require_willing(response, url)
            encoding = response.headers.get("content-encoding", "identity")
            if encoding != "identity":
                raise DownloadError(
                    f"expected the file's own bytes, as asked for; got them in the encoding "
                    f"{encoding!r}; at {url}"
                )
            yield Answer(response.status_code, response.headers, response.iter_raw())

    def close(self) -> None:
        """Closes all connections; safe to call twice."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _require_willing(response: httpx.Response, url: str) -> None:
    """Raises unless the answer is a file, a part of one, or says that there is no such part."""
    status = response.status_code
    if status in (200, 206, 416):
        return
    said = f"{status} {response.reason_phrase}".strip()
    if status in TEMPORARY:
        raise InterruptedDownloadError(
            f"expected a file; got {said!r}; at {url}; try again later",
            _seconds(response.headers.get("retry-after")),
        )
    raise DownloadError(
        f"expected a file; got {said!r}; at {url}; was it moved, or is the address mistyped?"
    )


def _seconds(text: str | None) -> float | None:
    """Returns a Retry-After in seconds; None for a date, which no server sends for short waits."""
    return float(text) if text is not None and text.isascii() and text.isdecimal() else None


@contextlib.contextmanager
def _translated(where: str) -> Iterator[None]:
    """Turns what httpx raises into our errors."""
    try:
        yield
    except httpx.ConnectError as error:
        raise InterruptedDownloadError(
            f"expected a connection; got {_reason(error)}; at {where}; is this machine connected "
            f"to the network? (HTTPS_PROXY names a proxy)"
        ) from error
    except (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError) as error:
        raise InterruptedDownloadError(
            f"expected the rest of an answer; got {_reason(error)}; at {where}"
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DownloadError(f"expected an answer; got {_reason(error)}; at {where}") from error


def _reason(error: Exception) -> str:
    """Returns what an error says, or, where it says nothing, what it is."""
    return str(error) or type(error).__name__
