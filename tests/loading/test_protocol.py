"""Messages between consumer and loader process: what was said last is heard, however the other side closed."""

from __future__ import annotations

import os
import socket

import pytest

from radload.loading import protocol
from radload.loading.job import describe


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(5)
    return ours, theirs


def test_the_last_words_of_a_process_that_left_messages_unread_are_heard() -> None:
    ours, theirs = pair()
    with ours:
        protocol.send(ours, {"do": "batch"})  # never read
        protocol.send(theirs, {"id": None, "error": "why"})
        theirs.close()
        assert protocol.receive(ours) == ({"id": None, "error": "why"}, [])
        assert protocol.receive(ours) is None


def test_descriptors_travel() -> None:
    ours, theirs = pair()
    with ours, theirs:
        descriptor = os.memfd_create("test")
        os.write(descriptor, b"shared")
        protocol.send(theirs, {"do": "slots"}, (descriptor,))
        os.close(descriptor)
        received = protocol.receive(ours)
        assert received is not None
        message, (found,) = received
        assert message == {"do": "slots"} and os.pread(found, 6, 0) == b"shared"
        os.close(found)


def test_what_is_too_long_is_not_sent_in_part() -> None:
    ours, theirs = pair()
    with ours, theirs, pytest.raises(ValueError, match="65536 at most"):
        protocol.send(theirs, {"text": "x" * 70_000})


def test_an_error_of_any_length_is_told() -> None:
    """Also one whose every letter takes six bytes."""
    ours, theirs = pair()
    with ours, theirs:
        try:
            raise RuntimeError("\u1234" * 100_000)
        except RuntimeError as error:
            protocol.send(theirs, {"id": 1, "error": describe(error)})
        received = protocol.receive(ours)
        assert received is not None and received[0]["error"]["text"].startswith("RuntimeError: \u1234")
