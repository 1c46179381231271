"""Messages between consumer and loader process: what was said last is heard, however the other side closed."""

from __future__ import annotations

import os
import socket

from radload.loading import protocol


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
