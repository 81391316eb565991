"""The bytes of the protocol and the rules that they are checked by, as SPEC.md has them: no memory, no socket.

Each check names its rule. `peer.py` is the peer that uses them, `test_peer.py` puts the vectors to them.
"""

import struct
from collections import namedtuple

OFFER = 2
CONTROL, REQUEST, REPLY, ERROR, ITEM, END = range(6)
MORE, DEADLINE, METADATA, CREDIT, ITEMS = 8, 16, 32, 64, 128
ALLOWED = {CONTROL: MORE | CREDIT, REQUEST: MORE | DEADLINE | METADATA | CREDIT | ITEMS,
           REPLY: MORE | METADATA, ERROR: MORE | METADATA, ITEM: MORE, END: 0}
HELLO, ACCEPT, REFUSE, PING, PONG, GRANT, CANCEL, GO_AWAY, CLOSE = range(1, 10)
FIXED = {PING: 8, PONG: 8, GRANT: 4, CANCEL: 4}
STREAMS, ITEM_COST, CREDIT_MAX = 1, 64, (1 << 31) - 1
INLINE = 0xFFFFFFFF
CANCELLED, UNKNOWN, INVALID, EXCEEDED, DENIED, EXHAUSTED, PRECONDITION, UNIMPLEMENTED, UNAVAILABLE = \
    1, 2, 3, 4, 7, 8, 9, 12, 14

Offer = namedtuple("Offer", "backing minor nonce half ring slot slots returns slots_at")
Frame = namedtuple("Frame", "channel method kind flags depth credit inline run")
Run = namedtuple("Run", "slot generation offset bytes slots")


class Fault(Exception):
    """The host broke a rule: the first word says which."""

    def __init__(self, rule, text):
        super().__init__(f"{rule}: {text}")
        self.rule = rule


class Failed(Exception):
    """An offer, a hello or a call that is answered with a status."""

    def __init__(self, code, text, details=b""):
        super().__init__(text)
        self.code, self.details = code, details


def layout(half, ring, slot):
    """Slots, entries of the return ring, and where the slots begin (H1, H2); None if the sizes are out of bounds."""
    if half % 4096 or not 16 << 10 <= half <= 1 << 30 or ring & ring - 1 or not 16 <= ring <= 4096 \
            or slot % 64 or not 64 <= slot <= 1 << 20:
        return None
    behind = 4096 + 64 * ring
    returns = 1 << max(0, (max(0, half - behind) // slot - 1)).bit_length()
    slots_at = -(-(behind + 8 * returns) // 4096) * 4096
    slots = (half - slots_at) // slot
    return (slots, returns, slots_at) if slots >= 16 else None


def parse_offer(message):
    """The offer in A's first message (section 3)."""
    if len(message) < 8 or message[0] != OFFER:
        raise Failed(INVALID, f"K6: first message of {len(message)} bytes is no offer")
    _, backing, name_bytes, major, minor = struct.unpack_from("<BBHHH", message)
    if major != 1:
        raise Failed(PRECONDITION, f"O4: offer is of protocol {major}.{minor}, but 1.0 is spoken here")
    least, most = {0: (0, 0), 1: (1, 255)}.get(backing, (1, 0))
    if len(message) != 64 + name_bytes or not least <= name_bytes <= most:
        raise Failed(INVALID, f"K6: offer of {len(message)} bytes, backing {backing}, name of {name_bytes} bytes")
    nonce, half, ring, slot, slots, returns = struct.unpack_from("<QQIIII", message, 8)
    try:
        name = message[64:].decode()
    except UnicodeDecodeError:
        raise Failed(INVALID, "K6: the name is not UTF-8") from None
    if nonce == 0:
        raise Failed(INVALID, "K6: the nonce is 0")
    found = layout(half, ring, slot)
    if found is None or found[:2] != (slots, returns):
        raise Failed(INVALID, f"O3: {slots} slots and {returns} returns do not follow from {half}, {ring} and {slot}")
    return Offer(name if backing else None, minor, nonce, half, ring, slot, slots, returns, found[2])


def first_line(offer, half):
    """The first line of a half (section 4)."""
    return struct.pack("<8sHHIQIIIIQ", b"rapace-" + half, 1, offer.minor, 0, offer.half, offer.ring, offer.slot,
                       offer.slots, offer.returns, offer.nonce)


def message_came(word, due, ring):
    """Whether message `due` is in its entry (R2)."""
    if word not in (due, max(0, due - ring)):
        raise Fault("D1", f"sequence is {word}, but {due} is due")
    return word == due


def return_came(word, count, returns):
    """Slot and generation of return `count` if it is in its entry (S6)."""
    lap, due = word >> 24 & 255, count // returns + 1 & 255
    if lap == due:
        return word & 0xFFFFFF, word >> 32
    if lap == due - 1 & 255 and (count >= returns or word == 0):
        return None
    raise Fault("S6", f"return word is {word:#x}, but lap {due} is due")


class Held:
    """The sender's slots that the receiver holds (S4)."""

    def __init__(self, slots):
        self.held, self.generations = bytearray(slots), [0] * slots

    def accept(self, run):
        if any(self.held[run.slot:run.slot + run.slots]):
            raise Fault("D7", f"{run} meets a held slot")
        if not 0 < (run.generation - self.generations[run.slot]) % (1 << 32) < 1 << 31:
            raise Fault("D8", f"{run}, but generation {self.generations[run.slot]} was accepted before")
        self.generations[run.slot] = run.generation
        self.held[run.slot:run.slot + run.slots] = b"\1" * run.slots

    def release(self, run):
        self.held[run.slot:run.slot + run.slots] = bytes(run.slots)


def parse_frame(descriptor, sender, offer, held):
    """The frame in a descriptor that `sender` ("A" or "B") published: rules D2 to D9."""
    channel, method, slot, generation, offset, length, bits, credit = struct.unpack_from("<8I", descriptor, 8)
    kind, flags, depth = bits & 7, bits & 0xF8, bits >> 24
    if bits & 0x00FFFF00 or kind > END or flags & ~ALLOWED[kind] or (depth > 0) != (kind == REQUEST):
        raise Fault("D2", f"flags are {bits:#010x}")
    final, parity = kind in (REPLY, ERROR), sender == "A"
    if channel == 0:
        if not (kind == CONTROL and HELLO <= method <= CLOSE or kind == REQUEST and parity or final and not parity):
            raise Fault("D3", f"kind {kind}, method {method} on channel 0")
    elif kind == CONTROL:
        raise Fault("D3", f"control on channel {channel}")
    elif kind == REQUEST and channel & 1 != parity or final and channel & 1 == parity:
        raise Fault("D4", f"kind {kind} on channel {channel} from {sender}")
    if credit and not flags & CREDIT:
        raise Fault("D9", f"credit of {credit} without its flag")
    if slot == INLINE:
        if length > 24 or generation or offset:
            raise Fault("D5", f"inline payload of {length} bytes, generation {generation}, offset {offset}")
        return Frame(channel, method, kind, flags, depth, credit, descriptor[40:40 + length], None)
    run = Run(slot, generation, offset, length, -(-(offset + length) // offer.slot))
    if length == 0 or slot >= offer.slots or offset % 8 or offset >= offer.slot or slot + run.slots > offer.slots:
        raise Fault("D6", f"{run} of {offer.slots} slots")
    held.accept(run)
    return Frame(channel, method, kind, flags, depth, credit, None, run)


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out) + bytes([number])


def blob(data):
    return varint(len(data)) + data


def take_varint(data, at, bits):
    number = shift = 0
    while True:
        if at >= len(data) or shift >= bits:
            raise Failed(INVALID, f"no number of {bits} bits at byte {at} of the hello")
        number |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 128:
            break
    if number >> bits:
        raise Failed(INVALID, f"{number} at byte {at} of the hello has more than {bits} bits")
    return number, at


def parse_hello(data, role):
    """The fields of a hello that must be of this role (section 10.1). The registry is left unread, as X7 allows."""
    at, fields = 0, {}
    for name, kind in (("major", 16), ("minor", 16), ("role", 8), ("features", 64), ("max_message_bytes", 64),
                       ("max_metadata_bytes", 32), ("max_calls", 32), ("max_depth", 8), ("name", str),
                       ("version", str), ("registry", bytes)):
        if kind == 8:
            value, at = (data[at:at + 1] or [None])[0], at + 1
        elif isinstance(kind, int):
            value, at = take_varint(data, at, kind)
        else:
            length, at = take_varint(data, at, 64)
            value, at = bytes(data[at:at + length]), at + length
        if at > len(data):
            raise Failed(INVALID, f"X6: the hello of {len(data)} bytes ends in {name}")
        fields[name] = value
        if name == "major" and value != 1:
            raise Failed(PRECONDITION, f"X7: major version is {value}, but 1 is spoken here", b"\1")
    try:
        fields["name"], fields["version"] = fields["name"].decode(), fields["version"].decode()
    except UnicodeDecodeError:
        raise Failed(INVALID, "X6: a name of the hello is not UTF-8") from None
    if at != len(data):
        raise Failed(INVALID, f"X6: {len(data) - at} bytes behind the hello")
    if fields["role"] != role:
        raise Failed(PRECONDITION, f"X7: role is {fields['role']}, but must be {role}", b"\2")
    for name, least, most in (("max_message_bytes", 1, 1 << 64), ("max_calls", 1, 4096), ("max_depth", 1, 255)):
        if not least <= fields[name] <= most:
            raise Failed(INVALID, f"X7: {name} is {fields[name]}, but must be {least} to {most}")
    for name in ("name", "version"):
        if len(fields[name].encode()) > 128:
            raise Failed(INVALID, f"X7: {name} has {len(fields[name].encode())} bytes, but 128 are allowed")
    return fields


def status(code, text, details=b""):
    return struct.pack("<II", code, len(text.encode())) + text.encode() + details


def parse_status(data):
    """Code, message and details of a status (C11)."""
    if len(data) >= 8:
        code, length = struct.unpack_from("<II", data)
        try:
            if len(data) >= 8 + length:
                return code if 1 <= code <= 16 else UNKNOWN, data[8:8 + length].decode(), data[8 + length:]
        except UnicodeDecodeError:
            pass
    return UNKNOWN, "no status", b""


def parse_metadata(data):
    """Pairs of key and value (C9)."""
    at, parts = 0, []
    while at < len(data):
        length = int.from_bytes(data[at:at + 2], "little")
        parts.append(data[at + 2:at + 2 + length])
        at += 2 + length
    pairs = list(zip(parts[::2], parts[1::2]))
    known = b"abcdefghijklmnopqrstuvwxyz0123456789-_."
    if at != len(data) or len(parts) % 2 or any(not 1 <= len(k) <= 64 or k.strip(known) for k, _ in pairs):
        raise Failed(INVALID, f"C9: {len(data)} bytes are no metadata")
    return pairs


def parse_prefixes(flags, data, metadata_max):
    """Nanoseconds left or None, metadata and body of a message (C8 to C10)."""
    left, pairs = None, []
    if flags & DEADLINE:
        if len(data) < 8:
            raise Failed(INVALID, f"C8: the deadline has {len(data)} of 8 bytes")
        left, data = int.from_bytes(data[:8], "little"), data[8:]
    if flags & METADATA:
        length = int.from_bytes(data[:4], "little")
        if len(data) >= 4 and length > metadata_max:
            raise Failed(EXHAUSTED, f"C10: metadata have {length} bytes, but {metadata_max} are taken")
        if len(data) < 4 + length:
            raise Failed(INVALID, f"C9: metadata of {length} bytes, of which {len(data) - 4} are there")
        pairs, data = parse_metadata(data[4:4 + length]), data[4 + length:]
    return left, pairs, data
