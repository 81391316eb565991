"""The memory and the socket of a session, as B has them: frames in, messages out, sleeping and waking.

What Python promises of memory is little. A word is written and read as one item of a memoryview of format "Q", which
CPython does with one 8-byte access. x86-64 keeps loads in order and stores in order, which is all that Release and
Acquire ask for, and CPython moves no access across another; on other processors this is not correct. What x86-64 does
not keep is a store before a later load, which W1 and W3 need: fence() takes a lock, and the atomic instruction in that
keeps it. (A system call is no such promise.)
"""

import fcntl
import mmap
import os
import select
import socket
import struct
import threading
from collections import deque

from wire import *

BELL, REFUSAL = 1, 3
STATE, HEARTBEAT, CONSUMED, SLEEP = 64 // 8, 72 // 8, 128 // 8, 192 // 8
ACTIVE, DORMANT, CLOSED = 1, 2, 3
SEAL, SHRINK, GROW, FUTURE_WRITE, GET_SEALS = 1, 2, 4, 16, 1034
START_SECONDS, SLEEP_SECONDS, DATAGRAMS_MAX = 10.0, 1.0, 64
LOCK = threading.Lock()


class Ended(Exception):
    """The session is over."""


def fence():
    """A sequentially consistent fence: see the top."""
    LOCK.acquire()
    LOCK.release()


class Message:
    """A message on its way in or out; one that the host calls or is called with is also that call."""

    def __init__(self, kind, channel, method, flags=0, depth=0, data=b"", credit=0):
        self.kind, self.channel, self.method, self.flags, self.depth = kind, channel, method, flags & ~MORE, depth
        self.credit = credit  # In the descriptor; of a call of the host, what is left of it.
        self.data, self.sent = bytearray(data), 0  # On its way out.
        self.frames, self.kept, self.failed = 0, 0, None  # On its way in.
        self.state, self.final, self.result = "arriving", None, None  # A call.
        # Its items: what the host may still send, what was taken since the last GRANT, the item that goes on.
        self.items, self.allowed, self.taken, self.begun = deque(), 0, 0, None
        self.ended, self.cancelled, self.broken, self.steps = False, False, None, None


def take_offer(sock):
    """The offer and its two descriptors, checked (O2); a Failed is what to refuse it with."""
    if not select.select([sock], [], [], START_SECONDS)[0]:
        raise Ended("no offer")
    message, fds, flags, _ = socket.recv_fds(sock, 512, 8, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
    if not message and not fds:
        raise Ended("no offer")
    offer = parse_offer(message)
    if offer.backing is not None:
        raise Failed(DENIED, "O5: a named segment is not trusted")
    if len(fds) != 2 or flags & socket.MSG_CTRUNC:
        raise Failed(INVALID, f"O2: {len(fds)} descriptors, but there must be 2")
    for fd, seals in zip(fds, (SEAL | SHRINK | GROW | FUTURE_WRITE, SEAL | SHRINK | GROW)):
        try:
            found = fcntl.fcntl(fd, GET_SEALS)
        except OSError:
            raise Failed(INVALID, "O2: no memfd") from None
        if found & seals != seals or os.fstat(fd).st_size != offer.half:
            raise Failed(INVALID, f"O2: seals {found} of {os.fstat(fd).st_size} bytes")
    return offer, fds


class Link:
    """One end of a session. Who builds on it has a method handle(frame, payload)."""

    def __init__(self, sock):
        self.sock = sock
        self.offer, fds = take_offer(sock)
        peer = mmap.mmap(fds[0], self.offer.half, mmap.MAP_SHARED, mmap.PROT_READ)
        own = mmap.mmap(fds[1], self.offer.half, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self.peer_bytes, self.own_bytes = memoryview(peer), memoryview(own)
        self.peer, self.own = self.peer_bytes.cast("Q"), self.own_bytes.cast("Q")
        for fd in fds:
            os.close(fd)
        for index in reversed(range(6)):  # H3: the magic, word 0, comes last.
            self.own[index] = struct.unpack_from("<Q", first_line(self.offer, b"B"), 8 * index)[0]
        slots = self.offer.slots
        self.returns_at = (4096 + 64 * self.offer.ring) // 8
        # Sending: ring, slots, returns that were taken, and what waits for room: control, finals, requests, items.
        self.published = self.consumed = self.returns_taken = self.waiting = 0
        self.free, self.generations, self.out = bytearray(b"\1" * slots), [0] * slots, {}
        self.outbox = {CONTROL: deque(), REPLY: deque(), REQUEST: deque(), ITEM: deque()}
        # Receiving.
        self.taken = self.announced = self.returned = self.beats = 0
        self.held = Held(slots)
        # Sleeping and waking.
        self.epoch = self.rung = self.bells = 0
        self.news = {"frames": False, "room": False}

    # ---- sending

    def send(self, kind, channel, method, data=b"", flags=0, depth=0, credit=0):
        queue = self.outbox[REPLY if kind == ERROR else kind]
        queue.append(Message(kind, channel, method, flags, depth, data, credit))
        self.waiting += len(data)

    def control(self, verb, data=b"", flags=0, credit=0):
        self.send(CONTROL, 0, verb, data, flags, 0, credit)

    def flush(self):
        """Publishes what waits and finds room, then rings the host if it sleeps (W3, W4)."""
        for queue in self.outbox.values():
            while queue and self.publish_some(queue[0]):
                self.waiting -= len(queue.popleft().data)
        if any(self.news.values()):
            fence()
            word = self.peer[SLEEP]
            if word & 1 and word >> 2 != self.rung and (self.news["frames"] or word & 2):
                self.rung = word >> 2
                try:
                    self.sock.send(bytes([BELL]), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                except OSError:
                    pass  # Full, or gone, which the next look at the socket shows.
            self.news = dict.fromkeys(self.news, False)

    def publish_some(self, message):
        """Publishes pieces of a message as long as there is room (M1); says whether that was all."""
        while True:
            rest = size = len(message.data) - message.sent
            while not self.publish(message, size):
                size //= 2
                if size < self.offer.slot:
                    return False
            message.sent += size
            if size == rest:
                return True

    def publish(self, message, size):
        """Publishes the next `size` bytes of a message in one frame, if there is room (R4, R5, S1, S3)."""
        ring, kept = self.offer.ring, {REQUEST: 1, ITEM: 2}.get(message.kind, 0)
        reserve = {CONTROL: 0, REQUEST: ring // 8 + ring // 4, ITEM: ring // 2}.get(message.kind, ring // 8)
        if self.published - self.consumed + reserve >= ring and not self.room(reserve):
            return False
        data = message.data[message.sent:message.sent + size]
        slot, generation = INLINE, 0
        if size > 24:
            need, first = -(-size // self.offer.slot), kept * max(1, self.offer.slots // 8)
            slot = self.free.find(b"\1" * need, first)
            if slot < 0:
                self.room(reserve)
                slot = self.free.find(b"\1" * need, first)
            if slot < 0:
                return False
            self.free[slot:slot + need] = bytes(need)
            generation = self.generations[slot] = self.generations[slot] + 1 & 0xFFFFFFFF
            self.out[slot] = (need, generation)
            at = self.offer.slots_at + slot * self.offer.slot
            self.own_bytes[at:at + size] = data
        more = MORE if message.sent + size < len(message.data) else 0
        bits = message.kind | message.flags | more | message.depth << 24
        body = struct.pack("<8I24s", message.channel, message.method, slot, generation, 0, size, bits,
                           message.credit, data if slot == INLINE else b"")
        at = (4096 + 64 * (self.published % ring)) // 8
        for index, word in enumerate(struct.unpack("<7Q", body)):
            self.own[at + 1 + index] = word
        self.published += 1
        self.own[at] = self.published  # R1: this store publishes the message.
        self.news["frames"] = True
        return True

    def room(self, reserve=0):
        """Takes in what the host has made room of (R4, S6, S7); says whether the ring has some."""
        found = self.peer[CONSUMED]
        if not self.consumed <= found <= self.published:
            raise Fault("R4", f"consumed is {found}, but must be {self.consumed} to {self.published}")
        self.consumed = found
        while returned := self.next_return():
            slot, generation = returned
            if self.out.get(slot, (0, None))[1] != generation:
                raise Fault("S7", f"slot {slot} of generation {generation} is not with the host")
            need, _ = self.out.pop(slot)
            self.free[slot:slot + need] = b"\1" * need
            self.returns_taken += 1
        return self.published - self.consumed + reserve < self.offer.ring

    def next_return(self):
        word = self.peer[self.returns_at + self.returns_taken % self.offer.returns]
        return return_came(word, self.returns_taken, self.offer.returns)

    # ---- receiving

    def frame_came(self):
        word = self.peer[(4096 + 64 * (self.taken % self.offer.ring)) // 8]
        return message_came(word, self.taken + 1, self.offer.ring)

    def take(self):
        """The next frame and its payload, if there is one. Its slots have been returned (S5)."""
        if not self.frame_came():
            return None
        at = 4096 + 64 * (self.taken % self.offer.ring)
        descriptor = bytes(self.peer_bytes[at:at + 64])
        self.taken += 1
        if self.taken == 1 and self.peer_bytes[:48] != first_line(self.offer, b"A"):
            raise Fault("H3", f"first line is {bytes(self.peer_bytes[:48]).hex()}")
        if self.taken - self.announced >= self.offer.ring // 2:
            self.announce()
        frame = parse_frame(descriptor, "A", self.offer, self.held)
        if frame.run is None:
            return frame, frame.inline
        at = self.offer.slots_at + frame.run.slot * self.offer.slot + frame.run.offset
        payload = bytes(self.peer_bytes[at:at + frame.run.bytes])
        lap = self.returned // self.offer.returns + 1 & 255
        at = self.returns_at + self.returned % self.offer.returns
        self.own[at] = frame.run.generation << 32 | lap << 24 | frame.run.slot
        self.returned += 1
        self.held.release(frame.run)
        self.news["room"] = True
        return frame, payload

    def announce(self):
        """Says how many messages were taken (R3)."""
        if self.announced != self.taken:
            self.own[CONSUMED] = self.announced = self.taken
            self.news["room"] = True

    def pump(self):
        """Handles the frames that are there; says whether there were any."""
        before = self.taken
        while taken := self.take():
            self.handle(*taken)
        if self.taken != before:
            self.beats += 1
            self.own[HEARTBEAT] = self.beats  # L2
        self.flush()
        return self.taken != before

    # ---- sleeping

    def sleep(self):
        """Sleeps until the host rings, or for a while (W1, W2, W5)."""
        before = self.published
        self.announce()
        self.flush()
        if self.published != before:
            return  # Whoever waited to send may go on.
        wants_room = any(self.outbox.values())
        self.epoch += 1
        self.own[SLEEP] = self.epoch << 2 | wants_room << 1 | 1
        self.own[STATE] = DORMANT
        fence()
        ready = 0
        if not (self.frame_came() or wants_room and (self.peer[CONSUMED] != self.consumed or self.next_return())):
            ready = self.poll(SLEEP_SECONDS)
        self.own[SLEEP] = self.epoch << 2
        self.own[STATE] = ACTIVE
        if ready:
            self.read_socket()

    def poll(self, seconds):
        """What the socket has: the bits of poll."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN | select.POLLRDHUP)
        return sum(bits for _, bits in poll.poll(seconds * 1000))

    def read_socket(self):
        for _ in range(DATAGRAMS_MAX):
            try:
                datagram = self.sock.recv(2048, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                datagram = b""
            # An empty message looks like the end of the file, but does not hang up.
            ended = not datagram and self.poll(0) & ~select.POLLIN
            if ended or datagram[:1] == bytes([REFUSAL]):
                self.pump()  # X4: what came before the end counts.
                raise Ended("the socket ended")
            if datagram != bytes([BELL]):
                raise Fault("K6", f"datagram of {len(datagram)} bytes")
            self.bells += 1
            if self.bells > self.epoch:
                raise Fault("K7", f"{self.bells} bells for {self.epoch} sleeps")

    def close(self):
        """The last act (X4)."""
        self.own[STATE] = CLOSED
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
