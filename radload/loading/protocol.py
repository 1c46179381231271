"""What the consumer and its loader process say to each other: JSON messages over a socket pair that keeps their borders.

consumer -> process   config (once, first), slots (with a descriptor), batch, cancel
process -> consumer   done, error, warning

The process is a pure function of the requests; it keeps no position, so the state of a run is what was delivered.
"""

from __future__ import annotations

import json
import socket
from typing import Any, Literal, TypedDict

from radload.loading.cache.levels import CacheConfig
from radload.remote.choose import RemoteConfig

MESSAGE_LIMIT = 1 << 16
NAMED_FAILURES = 20  # per batch; the rest is only counted
COUNTED_SHARDS = 200  # per batch, with a count for each kind of failure; the rest is counted together

Message = dict[str, Any]


class Config(TypedDict):
    """All that a loader process needs: where, what, and how."""

    root: str
    fingerprint: str
    rows: tuple[int, int]  # of the index: first, and one after the last
    order: dict[str, Any]  # order.Order.as_dict()
    settings: dict[str, Any]  # plan.Settings.as_dict()
    fields: dict[str, tuple[str, tuple[int, ...]]]  # of a slot, see ring.Layout.of
    deliver: Literal["pixels", "streams"]
    threads: int
    sampling: dict[str, Any]  # strata.Sampling.as_dict()
    cache: CacheConfig | None
    generation: int
    remote: RemoteConfig | None  # of shards in a bucket; `root` is then the local copy of its index
    held: int  # bytes of decoded images that the consumer keeps on its device


def send(channel: socket.socket, message: Message | Config, descriptors: tuple[int, ...] = ()) -> None:
    """Send one message, with descriptors where given. Raises OSError (TimeoutError after the socket's time-out), ValueError: too long."""
    data = json.dumps(message).encode()
    if len(data) > MESSAGE_LIMIT:  # the other side would get its beginning
        raise ValueError(f"a message of {len(data)} bytes, {MESSAGE_LIMIT} at most")
    if descriptors:
        socket.send_fds(channel, [data], list(descriptors))
    else:
        channel.send(data)


def receive(channel: socket.socket) -> tuple[Message, list[int]] | None:
    """The next message and its descriptors; None when the other side is gone. Raises TimeoutError, OSError."""
    try:
        data, descriptors, _, _ = socket.recv_fds(channel, MESSAGE_LIMIT, 1)
    except ConnectionResetError:  # the other side closed with messages unread; said once, and before what it sent last
        data, descriptors, _, _ = socket.recv_fds(channel, MESSAGE_LIMIT, 1)
    return (json.loads(data), list(descriptors)) if data else None
