#!/usr/bin/env python3
"""A plugin (peer B) in Python, with nothing but SPEC.md and the standard library.

It shows that SPEC.md is enough, and how: steps name their rules. It is no library, and not fast. `wire.py` has
the bytes, `link.py` the memory and the socket (and what there is to say of Python's memory model), this file the calls.
A host starts it (section 2) and calls its methods:

    1 echo       replies with the body
    2 call back  calls method 1 of the host with the body, and replies with what comes
    3 prefixes   replies with the time left (u64, all ones for none) and the body, and with the metadata that came
    4 hold       does not answer until it is cancelled
    5 leave      body "go away": sends GO_AWAY and replies; body "close": sends CLOSE
    6 count      sends as many items as the first u64 of the body says, as long as the second does, and replies "done"
    7 sum        takes items, and replies with how many they were and how many bytes they had (u64 each)
    8 echo items sends back each item that it takes, and replies with nothing
    2000, 2002   initialize and shutdown: reply with nothing
"""

import os
import socket
import struct
import sys
import time
from collections import deque

sys.dont_write_bytecode = True  # Nothing is left in the folder of the specification.
from link import *

# What this peer takes (section 14), in bytes, calls and levels.
MESSAGE_MAX, METADATA_MAX, KEPT_MAX, WAITING_MAX, HELLO_MAX = 16 << 20, 16 << 10, 32 << 20, 64 << 20, 1 << 20
CALLS_MAX, DEPTH_MAX, PONGS_MAX, WINDOW = 64, 8, 16, 64 << 10


class Peer(Link):
    def __init__(self, sock):
        super().__init__(sock)
        self.hello, self.host, self.accepted, self.kept = bytearray(), None, False, 0
        self.served, self.arrived, self.calls, self.channel_generations = {}, deque(), {}, {}
        self.going_away = self.refused = False
        self.streaming = []  # Calls of the host whose handlers take or send items.

    def handle(self, frame, payload):
        if self.host is None or not self.accepted:
            self.greet(frame, payload)
        elif frame.kind == CONTROL:
            self.handle_control(frame, payload)
        elif frame.kind == REQUEST:
            self.handle_request(frame, payload)
        elif frame.kind in (REPLY, ERROR):
            self.handle_final(frame, payload)
        else:
            self.handle_item(frame, payload)

    def check_feature(self, what):
        if not self.host["features"] & STREAMS:
            raise Fault("C12", f"{what} without streams")

    def greet(self, frame, payload):
        """The exchange of hellos (X2)."""
        verb, more = frame.method if frame.kind == CONTROL else None, frame.flags & MORE
        if verb == HELLO and self.host is None:
            if more and not payload:
                raise Fault("M1", "an empty piece of a hello")
            self.hello += payload
            if len(self.hello) > HELLO_MAX:
                raise Fault("X6", f"hello of more than {HELLO_MAX} bytes")
            if more:
                return
            try:
                self.host = parse_hello(bytes(self.hello), 0)
            except Failed as failed:
                self.control(REFUSE, status(failed.code, str(failed), failed.details))
                self.flush()
                raise
            self.control(ACCEPT)
        elif verb == ACCEPT and self.host is not None:
            if payload or more:
                raise Fault("X1", f"ACCEPT of {len(payload)} bytes")
            self.accepted = True
        elif verb == REFUSE:
            raise Failed(*parse_status(payload))
        else:
            raise Fault("X2", f"kind {frame.kind}, method {frame.method} in the handshake")

    def handle_control(self, frame, payload):
        verb = frame.method
        if verb <= REFUSE:
            raise Fault("X2", f"verb {verb} in an open session")
        wrong = len(payload) != FIXED[verb] or frame.run if verb in FIXED else len(payload) > 1024
        if wrong or frame.flags & MORE or (verb == GRANT) != bool(frame.flags & CREDIT):
            raise Fault("X1", f"verb {verb} of {len(payload)} bytes")
        if verb == PING and sum(message.method == PONG for message in self.outbox[CONTROL]) < PONGS_MAX:
            self.control(PONG, payload)
        elif verb == GRANT:
            self.check_feature("GRANT")
            self.handle_grant(int.from_bytes(payload, "little"), frame.credit)
        elif verb == CANCEL:
            channel = int.from_bytes(payload, "little")
            call = self.served_on(channel)
            if call and call.state != "running":  # C7, M4
                if call in self.arrived:
                    self.arrived.remove(call)
                self.finish(call, ERROR, status(CANCELLED, "cancelled"))
            elif call:
                call.cancelled = True
        elif verb == GO_AWAY:
            self.refused = True
        elif verb == CLOSE:
            raise Ended(f"the host closed: {parse_status(payload)[1]}")

    def collect(self, message, frame, payload):
        """Adds a frame to its message within what is kept (M1 to M3); says whether it was the last."""
        if not payload and (frame.flags & MORE or message.frames):
            raise Fault("M1", f"an empty piece on channel {frame.channel}")
        if (message.kind, message.method, message.flags, message.depth) != \
                (frame.kind, frame.method, frame.flags & ~MORE, frame.depth):
            raise Fault("M2", f"a broken message on channel {frame.channel}")
        message.frames += 1
        whole = len(message.data) + len(payload)
        if whole > MESSAGE_MAX + METADATA_MAX + 12 or self.kept + len(payload) > KEPT_MAX:
            message.failed = Failed(EXHAUSTED, f"M3: at least {whole} bytes beside {self.kept}")
        if message.failed:
            message.data = bytearray()
        else:
            message.data += payload
        self.kept += len(message.data) - message.kept
        message.kept = len(message.data)
        return not frame.flags & MORE

    def open_message(self, message):
        """Prefixes and body of a message that has come (C8 to C10); a Failed is what its call ends with."""
        if message.failed:
            raise message.failed
        left, pairs, body = parse_prefixes(message.flags, bytes(message.data), METADATA_MAX)
        if len(body) > MESSAGE_MAX:
            raise Failed(EXHAUSTED, f"M3: body of {len(body)} bytes, but {MESSAGE_MAX} are taken")
        return left, pairs, body

    def served_on(self, channel):
        return next((call for call in self.served.values() if call.channel == channel), None)

    def handle_request(self, frame, payload):
        if frame.flags & (ITEMS | CREDIT):
            self.check_feature("a request with items")
            if frame.channel == 0:
                raise Fault("C13", "a lifecycle call with items")
            if frame.credit > CREDIT_MAX:
                raise Fault("C15", f"credit of {frame.credit}")
        index, generation = frame.channel >> 1 & 0xFFF, frame.channel >> 13
        if frame.channel == 0:
            index = -1
            if frame.method not in (2000, 2002):
                raise Fault("C3", f"method {frame.method} on channel 0")
        elif index >= CALLS_MAX or generation == 0:
            raise Fault("C1", f"index {index} of {CALLS_MAX}, generation {generation}")
        call = self.served.get(index)
        if call and (call.channel != frame.channel or call.state != "arriving"):
            raise Fault("C1", f"channel {frame.channel}, but {call.channel} is in flight")
        call = call or Message(REQUEST, frame.channel, frame.method, frame.flags, frame.depth, credit=frame.credit)
        last = self.collect(call, frame, payload)
        self.served[index] = call
        if not last:
            return
        call.state = "waiting"
        try:
            left, call.pairs, call.data = self.open_message(call)
            call.until = None if left is None else time.monotonic_ns() + left
            if call.depth > DEPTH_MAX:
                raise Failed(EXHAUSTED, f"C6: depth {call.depth}, but {DEPTH_MAX} is served")
            if self.going_away:
                raise Failed(UNAVAILABLE, "X3: going away")
            self.arrived.append(call)
            if call.flags & ITEMS:
                self.grant(call, WINDOW)
        except Failed as failed:
            self.finish(call, ERROR, status(failed.code, str(failed)))

    def finish(self, call, kind, data, pairs=()):
        """Sends the final of a call of the host (C2)."""
        self.kept -= sum(message.kept for message in (call, call.begun, *call.items) if message)
        if self.waiting + len(data) > WAITING_MAX:
            kind, data, pairs = ERROR, status(EXHAUSTED, "too much waits for room"), ()
        metadata = b"".join(struct.pack("<H", len(part)) + part for pair in pairs for part in pair)
        prefix = struct.pack("<I", len(metadata)) + metadata if pairs else b""
        self.send(kind, call.channel, call.method, prefix + data, METADATA if pairs else 0)
        del self.served[-1 if call.channel == 0 else call.channel >> 1 & 0xFFF]

    # ---- items

    def grant(self, call, credit):
        """Lets the host send items that cost so much more (C14)."""
        call.allowed += credit
        self.control(GRANT, struct.pack("<I", call.channel), CREDIT, credit)

    def handle_grant(self, channel, credit):
        call = self.served_on(channel) if channel & 1 else self.calls.get(channel)
        if channel == 0 or call and not call.flags & CREDIT:
            raise Fault("C13", f"GRANT for channel {channel}, which has no items of this side")
        if call and call.credit + credit > CREDIT_MAX:
            raise Fault("C15", f"credit of {call.credit + credit}")
        if call:  # Else it has crossed the final.
            call.credit += credit

    def handle_item(self, frame, payload):
        """An item or an end of the host."""
        self.check_feature(f"kind {frame.kind}")
        call = self.served_on(frame.channel)
        if frame.channel & 1 and call is None:
            return  # It has crossed the final (C13).
        if call and frame.method != call.method:
            raise Fault("C2", f"method {frame.method} in a call of method {call.method}")
        if not call or not call.flags & ITEMS or call.state == "arriving" or call.ended and not call.cancelled:
            raise Fault("C13", f"kind {frame.kind} on channel {frame.channel}")
        if call.cancelled or call.broken:
            return
        if frame.kind == END:
            if call.begun:
                raise Fault("M2", f"an end within an item on channel {frame.channel}")
            call.ended = True
            return
        if call.begun is None:
            if call.allowed <= 0:
                raise Fault("C14", f"an item on channel {frame.channel}, whose credit is {call.allowed}")
            call.allowed -= ITEM_COST
            call.begun = Message(ITEM, frame.channel, frame.method, frame.flags)
        call.allowed -= len(payload)
        if self.collect(call.begun, frame, payload):
            item, call.begun = call.begun, None
            if len(item.data) > MESSAGE_MAX:
                item.failed = Failed(EXHAUSTED, f"M3: item of {len(item.data)} bytes")
            call.broken = item.failed
            if not call.broken:
                call.items.append(item)
            else:
                self.kept -= item.kept

    def next_item(self, call):
        """Waits for the next item of the host; None at the end."""
        while not (call.items or call.ended or call.broken or call.cancelled):
            yield
        if call.cancelled:
            raise Failed(CANCELLED, "cancelled")
        if call.items:
            item = call.items.popleft()
            self.kept -= item.kept
            call.taken += ITEM_COST + len(item.data)
            if call.taken >= WINDOW // 2 and not call.ended:
                self.grant(call, call.taken)
                call.taken = 0
            return item.data
        if call.broken:
            raise call.broken
        return None

    def is_sending(self, call):
        return any(item.channel == call.channel for item in self.outbox[ITEM])

    def send_item(self, call, item):
        """Waits until the host takes an item (C14), and there is room for those before it."""
        while (call.credit <= 0 or self.is_sending(call)) and not call.cancelled:
            yield
        if call.cancelled:
            raise Failed(CANCELLED, "cancelled")
        call.credit -= ITEM_COST + len(item)
        self.send(ITEM, call.channel, call.method, item)
        self.flush()

    def count(self, call):
        if len(call.data) != 16:
            raise Failed(INVALID, f"the body has {len(call.data)} bytes, but must have 16")
        count, size = struct.unpack("<QQ", call.data)
        for number in range(count):
            yield from self.send_item(call, bytes([number & 255]) * size)
        return b"done"

    def sum(self, call):
        count = size = 0
        while (item := (yield from self.next_item(call))) is not None:
            count, size = count + 1, size + len(item)
        return struct.pack("<QQ", count, size)

    def echo_items(self, call):
        while (item := (yield from self.next_item(call))) is not None:
            yield from self.send_item(call, item)
        return b""

    STREAMING = {6: (CREDIT, count), 7: (ITEMS, sum), 8: (ITEMS | CREDIT, echo_items)}

    def stream(self, call):
        """The handler of a call with items, which goes on whenever it can; see the top."""
        flags, method = self.STREAMING[call.method]
        try:
            if call.flags & (ITEMS | CREDIT) != flags:
                raise Failed(PRECONDITION, f"method {call.method} has other streams")
            kind, data = REPLY, (yield from method(self, call))
        except Failed as failed:
            kind, data = ERROR, status(failed.code, str(failed))
        while self.is_sending(call):
            yield  # The items come before the final, also when nobody wants them (M2).
        self.finish(call, kind, data)

    # ---- calls of the host

    def call(self, method, body, depth):
        """Calls the host from a handler of this depth, serving deeper calls meanwhile (C6)."""
        if self.refused:
            raise Failed(UNAVAILABLE, "X3: the host takes no more calls")
        if depth + 1 > self.host["max_depth"] or len(body) > self.host["max_message_bytes"]:
            raise Failed(EXHAUSTED, f"the host does not take depth {depth + 1}, {len(body)} bytes")
        used = {channel >> 1 & 0xFFF for channel in self.calls}
        index = min(set(range(len(used) + 1)) - used)
        if index >= self.host["max_calls"]:
            raise Failed(EXHAUSTED, "the host takes no more calls at once")
        generation = self.channel_generations[index] = self.channel_generations.get(index, 0) % 0x7FFFF + 1
        channel = generation << 13 | index << 1
        call = self.calls[channel] = Message(REQUEST, channel, method)
        self.send(REQUEST, channel, method, body, depth=depth + 1)
        while call.result is None:
            self.turn(depth)
        if isinstance(call.result, Failed):
            raise call.result
        return call.result

    def handle_final(self, frame, payload):
        call = self.calls.get(frame.channel)
        if call is None or call.method != frame.method:
            raise Fault("C2", f"channel {frame.channel}, method {frame.method}: no such call")
        call.final = call.final or Message(frame.kind, frame.channel, frame.method, frame.flags)
        if not self.collect(call.final, frame, payload):
            return
        del self.calls[frame.channel]
        self.kept -= call.final.kept
        try:
            _, _, body = self.open_message(call.final)
            call.result = body if frame.kind == REPLY else Failed(*parse_status(body))
        except Failed as failed:
            call.result = failed

    # ---- serving

    def run(self, call):
        """The handler of a call; see the top."""
        if call.until is not None and call.until <= time.monotonic_ns():
            return self.finish(call, ERROR, status(EXCEEDED, "C8: the time is over"))
        if call.method == 4:
            return None  # It stays unanswered, and waits for its CANCEL.
        call.state = "running"
        if call.method == 1:
            return self.finish(call, REPLY, call.data)
        if call.method == 2:
            try:
                return self.finish(call, REPLY, self.call(1, call.data, call.depth))
            except Failed as failed:
                return self.finish(call, ERROR, status(failed.code, str(failed)))
        if call.method == 3:
            left = (1 << 64) - 1 if call.until is None else max(0, call.until - time.monotonic_ns())
            return self.finish(call, REPLY, struct.pack("<Q", left) + call.data, call.pairs)
        if call.method in self.STREAMING:
            call.steps = self.stream(call)
            return self.streaming.append(call)
        if call.method == 5 and call.data == b"go away":
            self.going_away = True
            self.control(GO_AWAY, status(UNAVAILABLE, "the plugin leaves"))
            return self.finish(call, REPLY, b"")
        if call.method == 5 and call.data == b"close":
            self.control(CLOSE, status(UNAVAILABLE, "the plugin closes"))
            self.flush()
            raise Ended("closed")
        if call.method in (2000, 2002):
            return self.finish(call, REPLY, b"")
        return self.finish(call, ERROR, status(UNIMPLEMENTED, f"C4: method {call.method} is not served here"))

    def turn(self, below=0):
        """Handles what is there; runs one call that is deeper than `below` (C6), or sleeps if there was nothing."""
        before = self.published
        came = self.pump()
        for streaming in [streaming for streaming in self.streaming if streaming.depth > below]:
            if next(streaming.steps, self) is self:
                self.streaming.remove(streaming)
        call = next((call for call in self.arrived if call.depth > below), None)
        if call is not None:
            self.arrived.remove(call)
            self.run(call)
        self.flush()
        if not came and call is None and self.published == before:
            self.sleep()

    def serve(self):
        """The session, from the hello to its end."""
        until = time.monotonic() + START_SECONDS
        self.own[STATE] = ACTIVE
        fields = [bytes([1, 0, 1, STREAMS]), varint(MESSAGE_MAX), varint(METADATA_MAX), varint(CALLS_MAX),
                  bytes([DEPTH_MAX]), blob(b"peer.py"), blob(b"1.0"), blob(b"")]
        self.control(HELLO, b"".join(fields))
        while True:
            self.turn()
            if not self.accepted and time.monotonic() > until:
                raise Ended("no handshake in time")  # L4


def host_socket():
    """The socket that a host has made of standard input (E1 to E3), or None."""
    try:
        sock = socket.socket(fileno=os.dup(0))
    except OSError:
        return None
    if "RAPACE_PROTOCOL" not in os.environ or (sock.family, sock.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
        return None
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return sock


def main():
    sock = host_socket()
    if sock is None:
        print("peer.py is a rapace plugin: a host starts it, with a socket as its standard input", file=sys.stderr)
        return 2
    try:
        peer = Peer(sock)
    except Ended:
        return 0
    except Failed as failed:
        print(f"peer.py refuses the offer: {failed}", file=sys.stderr)
        text = str(failed).encode()[:1024].decode(errors="ignore").encode()
        sock.send(struct.pack("<BI", REFUSAL, failed.code) + text, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        return 1
    try:
        peer.serve()
    except Ended:
        return 0
    except (Fault, Failed) as error:
        print(f"peer.py gives up: {error}", file=sys.stderr)
        return 1
    finally:
        peer.close()


if __name__ == "__main__":
    sys.exit(main())
