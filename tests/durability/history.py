"""What clients sent and were told, and whether what is there agrees with it."""

import time


class History:
    """Values of keys that have one writer each, in the order they were sent.

    A value is what one reading of the key gives. Every entry is
    `[value, when it was acknowledged]`; the first is what was there at the
    beginning of the round.
    """

    def __init__(self):
        self.entries = {}

    def sent(self, key, value):
        entry = [value, None]
        self.entries.setdefault(key, [[None, 0.0]]).append(entry)
        return entry

    @staticmethod
    def acknowledged(entry):
        entry[1] = time.time()

    def judge(self, key, value, killed_at):
        """Answers `(acknowledged writes that are lost, age of the oldest)`,
        and takes `value` as the new beginning. A value that nobody sent, or
        that was overwritten before the round, is an error.
        """
        entries = self.entries.get(key, [[None, 0.0]])
        at = max((at for at, entry in enumerate(entries) if entry[0] == value), default=None)
        assert at is not None, f"{key} is {value!r}, which is none of {[entry[0] for entry in entries[-5:]]}"
        lost = [acked for _, acked in entries[at + 1 :] if acked]
        self.entries[key] = [[value, 0.0]]
        return len(lost), killed_at - min(lost) if lost else 0.0
