"""Reads a log to its end, written from docs/shared-memory.md alone. It only looks: it has no slot and holds nobody.

python3 other_language.py DIRECTORY  prints a line an event: sequence, event type, CRC-32 of its bytes.
"""

import mmap
import struct
import sys
import zlib

MASK = (1 << 64) - 1


def checksum(header):
    value = 0xCBF29CE484222325
    for word in struct.unpack_from("<7Q", header):
        value = ((value ^ word) * 0x100000001B3) & MASK
        value ^= value >> 32
    return value


def events(directory):
    with open(directory + "/log", "rb") as file:
        log = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)

    def word(offset):
        return struct.unpack_from("<Q", log, offset)[0]

    assert log[0:8] == b"JIMBTLOG", "not finished, or not a log"
    assert struct.unpack_from("<I", log, 8)[0] == 1, "another layout version"
    capacity, ring = word(32), word(40)
    position = word(4288)  # oldest
    expected = None
    while position < word(4096):  # committed
        at = ring + position % capacity
        header = log[at : at + 64]
        if position < max(0, word(4160) - capacity):  # reserved
            position = word(4288)
            continue
        first, payload_bytes, count, _, _, flags, frame_bytes, own, _, check = struct.unpack("<QIIQQIIQQQ", header)
        assert own == position and check == checksum(header), "damaged"
        assert expected in (None, first), "a gap"
        payload = log[at + 64 : at + 64 + payload_bytes]
        index_at = at + (64 + payload_bytes + 63) // 64 * 64
        index = log[index_at : index_at + 64 * count]
        assert position >= max(0, word(4160) - capacity), "overwritten meanwhile"
        if not flags & 1:  # PAD
            for sequence, offset, length, event_type in struct.iter_unpack("<QIIH46x", index):
                yield sequence, event_type, zlib.crc32(payload[offset : offset + length])
        expected = first + count
        position += frame_bytes


if __name__ == "__main__":
    for event in events(sys.argv[1]):
        print(*event)
