"""Reads the shared-memory log, from a script, a thread or an asyncio program."""

from __future__ import annotations

import asyncio
import math
import os
import time
import warnings
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Literal, TypeVar, Union

from jimbot.mcp import _native
from jimbot.mcp.batch import Batch
from jimbot.mcp.event_types import EventTypeLike, event_type_number

DEFAULT_DIRECTORY = "/dev/shm/jimbot-mcp"

# The longest that a helper thread of an asyncio program waits at a stretch: how long closing may have to wait for it.
_WAIT_SLICE_SECONDS = 0.25

_T = TypeVar("_T")

Guarantee = Literal["lossy", "reliable"]
Start = Union[Literal["latest", "earliest"], int]


class Reader:
    """A reader of the log in ``path``: iterate over it to get a :class:`Batch` at a time.

    :param path: the service's shared-memory directory (``jimbot-mcp serve --shm-dir``).
    :param name: what the service and people call this reader; one living reader a name. A reliable reader has to be
        named, since its place in the log is kept under its name: opened again, it goes on where it was.
    :param guarantee: ``"lossy"`` never holds anyone up and may miss events, which ``missed`` counts exactly.
        ``"reliable"`` gets every event at least once: the writer waits for it when the log is full.
    :param start: where a reader without a place in the log begins: ``"latest"``, ``"earliest"``, or a sequence.
    :param timeout: seconds after which iteration ends when no batch came; ``None`` waits for ever, 0 ends at the
        end of the log. Iterating again goes on.
    :param types: only events of these types: numbers, or names such as ``"SCORE_CHANGED"``.
    :param games: only events of these games: game ids (``"7LB2WVPK"``) or game keys from the index (numbers).
    :param shard: ``(i, n)``: of n readers that share the work by game, the i-th, from 0. Every event is in
        exactly one shard, all events of a game in the same one.

    :param spin: seconds that a wait looks for a batch before it sleeps. What comes meanwhile is seen without waking this
        process; a CPU is busy with it, which should be its own.

    A batch is released when iteration has moved on (or ``with`` ended) and no view of it is alive. Raises
    :class:`ReaderNameInUse`, :class:`LogNotFound` and :class:`LogFormatError` when it can't be opened.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] = DEFAULT_DIRECTORY,
        *,
        name: str | None = None,
        guarantee: Guarantee = "lossy",
        start: Start = "latest",
        timeout: float | None = None,
        types: Iterable[EventTypeLike] | None = None,
        games: Iterable[str | int] | None = None,
        shard: tuple[int, int] | None = None,
        spin: float = 0.0,
    ) -> None:
        self._closed = True  # until it is open
        self._name = name or "unnamed"
        self._guarantee: Guarantee = guarantee
        if guarantee not in ("lossy", "reliable"):
            raise ValueError(f"guarantee is 'lossy' or 'reliable', not {guarantee!r}")
        if name is None and guarantee == "reliable":
            raise ValueError("a reliable reader needs name=: its place in the log is kept under it")
        if name == "":
            raise ValueError("a reader's name is not empty; leave it out and a lossy reader gets one")
        self._timeout = _checked_timeout(timeout)
        self._executor: ThreadPoolExecutor | None = None
        self._native = _native.Reader(
            os.fspath(path),
            name or "",
            guarantee == "reliable",
            start,
            _native.Filter(
                None if types is None else [event_type_number(kind) for kind in _several(types, "types")],
                None if games is None else list(_several(games, "games")),
                shard,
            ),
            _checked_spin(spin),
        )
        self._name = self._native.name
        self._closed = False

    def read(self, timeout: float | None = None) -> Batch | None:
        """The next batch, or ``None`` when none came for ``timeout`` seconds (``None``: wait for ever).

        Waits in the kernel, without the interpreter's lock; a signal's handler runs at once. Moves on from the batch
        before, which is released unless views of it are alive. Raises :class:`Detached` (the next call goes on behind
        the gap), :class:`WrongProcess`, and ``ValueError`` on a closed reader.
        """
        native = self._native.read(_checked_timeout(timeout))
        return None if native is None else Batch(native)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        native = self._native.read(self._timeout)
        if native is None:
            raise StopIteration
        return Batch(native)

    async def read_async(self, timeout: float | None = None) -> Batch | None:
        """:meth:`read` for asyncio: a helper thread waits, the event loop goes on. Cancelling it loses nothing."""
        seconds = _checked_timeout(timeout)
        deadline = None if seconds is None else time.monotonic() + seconds
        loop = asyncio.get_running_loop()
        while True:
            native = self._native.read(0.0)
            if native is not None:
                return Batch(native)
            wait = _WAIT_SLICE_SECONDS
            if deadline is not None:
                wait = min(wait, deadline - time.monotonic())
                if wait <= 0.0:
                    return None
            if self._executor is None:
                self._executor = ThreadPoolExecutor(1, thread_name_prefix="jimbot-reader")
            # Waiting takes nothing out of the log, so that a cancelled wait can't take a batch with it.
            await loop.run_in_executor(self._executor, self._native.wait, wait)

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self

    async def __anext__(self) -> Batch:
        batch = await self.read_async(self._timeout)
        if batch is None:
            raise StopAsyncIteration
        return batch

    @property
    def name(self) -> str:
        """The name under which the service lists this reader."""
        return self._name

    @property
    def guarantee(self) -> Guarantee:
        """``"lossy"`` or ``"reliable"``."""
        return self._guarantee

    @property
    def epoch(self) -> int:
        """The log's instance epoch: (``epoch``, sequence) is an event's identity, for ever."""
        return self._native.epoch

    @property
    def lag(self) -> int:
        """How many visible events lie behind the last batch that was handed out: 0 when all has been read."""
        return self._native.lag

    @property
    def missed(self) -> int:
        """How many events were lost to this reader since it was opened. Filters do not count."""
        return self._native.missed

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    def close(self) -> None:
        """Gives the log back. A reliable reader's place is kept under its name.

        Raises ``BufferError`` while views are alive, and the reader stays open: drop them, and close it again.
        """
        if not self._closed:
            self._native.close()
            self._end()

    def _end(self) -> None:
        self._closed = True
        if self._executor is not None:
            self._executor.shutdown(wait=False)
            self._executor = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Raises :class:`Overrun` when the batch in hand was overwritten, ``BufferError`` when views are alive.

        When an exception is on its way already, its traceback may keep views alive, and it is what counts: then
        the log is given back when the last view goes, and nothing else is raised.
        """
        if self._closed:
            return
        if error is not None:
            self._native.abandon()
            self._end()
            return
        try:
            self._native.check()
        finally:
            self.close()

    async def __aenter__(self) -> Reader:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __del__(self) -> None:
        if not self._closed:
            warnings.warn(f"unclosed reader {self._name!r}", ResourceWarning, source=self, stacklevel=2)
            self._native.abandon()
            self._end()

    def __repr__(self) -> str:
        return f"<Reader {self._name!r}, {self._guarantee}, {'closed' if self._closed else 'open'}>"


def _checked_timeout(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    seconds = float(timeout)
    if not seconds >= 0.0:
        raise ValueError(f"timeout is a number of seconds from 0, or None for no limit, not {timeout!r}")
    return seconds


def _checked_spin(spin: float) -> float:
    seconds = float(spin)
    if not 0.0 <= seconds < math.inf:
        raise ValueError(f"spin is a number of seconds from 0, not {spin!r}")
    return seconds


def _several(values: Iterable[_T], what: str) -> Iterable[_T]:
    # A lone string is iterable too, and would become a filter on its letters.
    if isinstance(values, (str, bytes)):
        raise TypeError(f"{what} is a list, such as {what}=[{values!r}]")
    return values
