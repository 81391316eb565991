#!/usr/bin/env python3
"""Puts the vectors of spec/vectors to the checks of wire.py: `python3 spec/test_peer.py`.

These share no code with the Rust crates. Where the two disagree on a vector, one of them, or SPEC.md, is wrong.
"""

import json
import os
import struct
import sys
import unittest

sys.dont_write_bytecode = True  # Nothing is left in the folder of the specification.
from wire import *

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "vectors")
KINDS = ["control", "request", "reply", "error", "item", "end"]
FLAGS = [(MORE, "more"), (DEADLINE, "deadline"), (METADATA, "metadata"), (CREDIT, "credit"), (ITEMS, "items")]


def read(name):
    with open(os.path.join(FOLDER, name + ".json"), encoding="utf-8") as file:
        return json.load(file)


class Vectors(unittest.TestCase):
    def each(self, vectors, attempt):
        """Each vector gives what it says, or the fault or failure that it names."""
        self.assertTrue(vectors)
        for vector in vectors:
            with self.subTest(vector["name"]):
                try:
                    attempt(vector)
                except Fault as fault:
                    self.assertEqual(fault.rule, vector.get("fault", vector.get("rule")), fault)
                except Failed as failed:
                    self.assertEqual(failed.code, vector.get("code"), failed)
                    self.assertEqual(failed.details.hex(), vector.get("details", ""), failed)
                else:
                    self.assertNotIn("rule", vector)

    def test_descriptors(self):
        file = read("descriptors")
        sizes = [file["geometry"][field] for field in ("half_bytes", "ring_capacity", "slot_bytes")]
        offer = Offer(None, 0, 1, *sizes, *layout(*sizes))

        def attempt(vector):
            held = Held(offer.slots)
            for before in vector.get("before", []):
                frame = parse_frame(bytes.fromhex(before["hex"]), vector["sender"], offer, held)
                if before["returned"]:
                    held.release(frame.run)
            descriptor = bytes.fromhex(vector["hex"])
            self.assertTrue(message_came(struct.unpack_from("<Q", descriptor)[0], vector.get("due", 1), offer.ring))
            frame = parse_frame(descriptor, vector["sender"], offer, held)
            got = {"channel": frame.channel, "method": frame.method, "kind": KINDS[frame.kind],
                   "flags": [name for flag, name in FLAGS if frame.flags & flag], "depth": frame.depth,
                   "credit": frame.credit}
            if frame.run is None:
                got["inline"] = frame.inline.hex()
            else:
                got["run"] = dict(zip(("slot", "generation", "offset", "payload_bytes", "slots"), frame.run))
            self.assertEqual(got, vector.get("frame"))

        self.each(file["vectors"], attempt)

    def test_rings_and_returns(self):
        rings, returns = read("rings"), read("returns")

        def sequence(vector):
            came = message_came(int(vector["word"], 16), vector["due"], rings["capacity"])
            self.assertEqual("message" if came else "nothing", vector["outcome"])

        def returned(vector):
            came = return_came(int(vector["word"], 16), vector["taken"], returns["capacity"])
            self.assertEqual(came, None if "outcome" in vector else (vector["slot"], vector["generation"]))

        self.each(rings["sequences"], sequence)
        self.each(returns["words"], returned)

    def test_offers(self):
        def attempt(vector):
            offer = parse_offer(bytes.fromhex(vector["hex"]))
            self.assertEqual(
                {"backing": offer.backing or "sealed", "minor": offer.minor, "nonce": f"0x{offer.nonce:016x}",
                 "half_bytes": offer.half, "ring_capacity": offer.ring, "slot_bytes": offer.slot,
                 "slots": offer.slots, "returns": offer.returns, "slots_offset": offer.slots_at}, vector.get("offer"))

        self.each(read("offers")["vectors"], attempt)

    def test_first_lines(self):
        file = read("headers")
        offer = parse_offer(bytes.fromhex(file["offer"]))
        for vector in file["vectors"]:
            same = bytes.fromhex(vector["line"])[:48] == first_line(offer, vector["half"].encode())
            self.assertEqual(same, "rule" not in vector, vector["name"])

    def test_hellos(self):
        def attempt(vector):
            hello = parse_hello(bytes.fromhex(vector["hex"]), 1 if vector["receiver"] == "A" else 0)
            del hello["major"]
            for field in ("features", "max_message_bytes"):
                hello[field] = f"0x{hello[field]:016x}"
            hello["registry"] = hello["registry"].hex()
            self.assertEqual(hello, vector.get("hello"))

        # Registries are left unread (X7), and the size is counted where the frames come in.
        bad = ("a registry that is none", "1 MiB and a byte")
        self.each([vector for vector in read("hellos")["vectors"] if vector["name"] not in bad], attempt)

    def test_statuses(self):
        for vector in read("statuses")["vectors"]:
            code, message, details = parse_status(bytes.fromhex(vector["hex"]))
            self.assertEqual(code, vector["code"], vector["name"])
            if "message" in vector:
                self.assertEqual((message, details.hex()), (vector["message"], vector["details"]), vector["name"])

    def test_prefixes(self):
        file = read("metadata")

        def attempt(vector):
            flags = sum(flag for flag, name in FLAGS if name in vector["flags"])
            left, pairs, body = parse_prefixes(flags, bytes.fromhex(vector["hex"]), file["max_metadata_bytes"])
            self.assertEqual(left, vector.get("time_left_ns"))
            self.assertEqual([[key.decode(), value.hex()] for key, value in pairs], vector.get("metadata"))
            self.assertEqual(body.hex(), vector.get("body"))

        self.each(file["vectors"], attempt)


if __name__ == "__main__":
    unittest.main()
