"""HyperLogLogs, to the byte: PF*. Strings of other origins are among them, too."""

import struct

from grammar import Random

TEMPLATES = """
PFADD <k> (<e>)+
PFADD <k> (<e>)+
PFADD <k>
!GROW PFADD <k> <many>
!GROW PFADD <k> <many>
PFCOUNT <k>
PFCOUNT <k>
PFCOUNT (<k>)+
PFMERGE <k> (<k>)+
PFMERGE <k>
GET <k>
GET <k>
STRLEN <k>
PFDEBUG ENCODING <k>
PFDEBUG DECODE <k>
PFDEBUG TODENSE <k>
PFDEBUG GETREG <k>
PFDEBUG <junk> <k>
SET <k> <hll>
SET <k> <hll>
SETRANGE <k> <n> <byte>
SETRANGE <k> <offset> <byte>
SET <k> <v>
COPY <k> <k> REPLACE
CONFIG SET hll-sparse-max-bytes (3000 | 3000 | 3000 | 40 | 0 | 15000)
OBJECT ENCODING <k>
DEL <k>
"""


def zeros(count):
    return bytes([0x40 | count - 1 >> 8, count - 1 & 255]) if count > 64 else bytes([count - 1])


class Values(Random):
    """Elements, and HyperLogLogs as strings, right and wrong ones."""

    def e(self):
        roll = self.rng.random()
        if roll < 0.7:
            return b"e%d" % self.rng.randrange(3000)
        return bytes(self.rng.randrange(256) for _ in range(self.rng.randrange(0, 40)))

    def byte(self):
        return bytes([self.rng.randrange(256)])

    def hll(self):
        header = b"HYLL\1\0\0\0" + struct.pack("<Q", self.rng.choice((0, 1 << 63, 7, 1 << 62)))
        roll = self.rng.random()
        if roll < 0.1:
            header = b"HYLL\0" + header[5:]
            length = self.rng.choice((12288, 12288, 12287, 0))
            return header + bytes(self.rng.randrange(256) for _ in range(length))
        body, left = b"", 16384
        while left > 0 and len(body) < 60:
            if self.rng.random() < 0.5:
                count = min(left, self.rng.choice((1, 2, 64, 65, 300, 2000)))
                body += zeros(count)
            else:
                count = min(left, self.rng.randrange(1, 5))
                body += bytes([0x80 | self.rng.choice((0, 1, 1, 2, 30, 31)) << 2 | count - 1])
            left -= count
        while left:
            body += zeros(min(left, 16384))
            left -= min(left, 16384)
        text = header + body
        if self.rng.random() < 0.4:
            at = self.rng.randrange(len(text))
            text = text[:at] + bytes([text[at] ^ 1 << self.rng.randrange(8)]) + text[at + 1 :]
        if self.rng.random() < 0.1:
            text = text[: -self.rng.randrange(1, 4)]
        if text[-1] >> 6 == 1:
            # The second half of a run that is cut in two is whatever Redis' memory holds.
            text += b"\0"
        return text
