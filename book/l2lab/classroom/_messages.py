"""Messages between the grader and what it has shut in: JSON, preceded by its length in four bytes.

Never pickle: reading it would run code of the submission in the grader.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

__all__: list[str] = []

# The longest message that is read; a test cell with its data stays far below.
_LONGEST = 4 * 2**20


class _Broken(Exception):  # noqa: N818 - half of the time it is what one waits for
    """The other side has ended, is late or speaks nonsense; the text says which."""


def _send(channel: socket.socket, message: dict[str, Any], *, dumps: Any = json.dumps) -> None:
    text = dumps(message).encode()
    channel.sendall(len(text).to_bytes(4, "big") + text)


def _receive(
    channel: socket.socket,
    deadline: float | None = None,
    *,
    loads: Any = json.loads,
    clock: Any = time.monotonic,
) -> dict[str, Any]:
    """Read one message, until a time of the monotonic clock at the latest."""

    def exactly(count: int) -> bytes:
        parts = b""
        while len(parts) < count:
            if deadline is not None:
                left = deadline - clock()
                if left <= 0:
                    raise _Broken("late")
                channel.settimeout(left)
            try:
                part = channel.recv(min(count - len(parts), 65536))
            except TimeoutError:
                raise _Broken("late") from None
            except OSError:
                part = b""
            if not part:
                raise _Broken("ended")
            parts += part
        return parts

    (length,) = struct.unpack("!I", exactly(4))
    if length > _LONGEST:
        raise _Broken("nonsense")
    try:
        message = loads(exactly(length).decode())
    except (ValueError, RecursionError):
        raise _Broken("nonsense") from None
    if not isinstance(message, dict):
        raise _Broken("nonsense")
    return message
