"""Files that were damaged, and copies of them: refused, repaired, restored."""

import random
import re
import shlex
import time

from history import History
from kill import judge
from load import Load, mover, pair, writer
from server import Refused, Server, sangam, sangam_json

CHAIN = [f"chain:{n}" for n in range(10)]
BATCH = 100


def fill(server, count):
    """Numbered keys, one unit each, all acknowledged."""
    with server.connect() as c:
        for n in range(0, count, BATCH):
            replies = c.pipeline([("SET", f"key:{m}", f"value {m}") for m in range(n, min(n + BATCH, count))])
            assert all(reply == ("+", b"OK") for reply in replies), replies[0]


def kept(server, count):
    """How many of those are there; they have to be the first ones."""
    with server.connect() as c:
        values = c.ask("MGET", *(f"key:{n}" for n in range(count)))
        size = c.ask("DBSIZE")
    there = sum(value is not None for value in values)
    assert values == [b"value %d" % n if n < there else None for n in range(count)], "this is no prefix of the history"
    assert size == there, f"{size} keys, {there} known ones"
    return there


def killed(scratch, count=500):
    """A folder as a kill leaves it, its segment, and where the frames end there."""
    server = Server(scratch / "data")
    with server:
        fill(server, count)
        server.kill()
    segment = max(server.engine.glob("log-*.seg"))
    used = len(segment.read_bytes().rstrip(b"\0"))
    return server, segment, (used + 7) // 8 * 8


def overwrite(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def flip(path, offset):
    byte = path.read_bytes()[offset]
    overwrite(path, offset, bytes([byte ^ 0x10]))


def refused(server):
    """What a start says that must not succeed."""
    try:
        server.start()
    except Refused as said:
        return str(said)
    raise AssertionError("the server started")


def repaired(server, count):
    """Repairs as the refusal says, and answers how many keys are left."""
    said = refused(server)
    segment = max(server.engine.glob("log-*.seg")).name
    assert re.search(rf"{segment} .*at byte \d+", said), said
    command = shlex.split(re.search(r"^run: sangam (.*)$", said, re.M)[1])
    assert command[-2:] == ["--data", str(server.folder)], command
    status, before = sangam_json("check", "--data", server.folder)
    assert status == 1 and before["verdict"] == "damaged" and not before["repaired"], before
    status, out, _ = sangam("check", "--data", server.folder)
    assert status == 1 and segment in out and "check --repair --data" in out, out
    assert refused(server) == said, "reading has changed something"
    status, out, err = sangam(*command)
    assert status == 0 and "repaired" in out, (out, err)
    status, after = sangam_json("check", "--data", server.folder)
    assert status == 0 and after["verdict"] == "good", after
    with server:
        there = kept(server, count)
        fill(server, count)
        server.kill()
    with server:
        assert kept(server, count) == count, "what was written after the repair is gone"
        server.stop()
    # Unit 1 is the keyspace. What was stored last may not be known to have been.
    assert before["last"] == there + 1 and count - there - BATCH <= before["lost"] <= count - there, (before, there)
    return there


def torn_tail(scratch):
    """a torn tail is set apart, and nothing acknowledged with it"""
    server, segment, end = killed(scratch)
    garbage = random.Random(1).randbytes(333)
    overwrite(segment, end, garbage)
    status, report = sangam_json("check", "--data", server.folder)
    assert (status, report["verdict"]) == (0, "torn tail"), report
    with server:
        assert kept(server, 500) == 500
        assert "torn tail" in server.said(), server.said()
        server.stop()
    (quarantine,) = server.engine.glob("*.quarantine.*")
    assert quarantine.read_bytes() == garbage
    assert sangam_json("check", "--data", server.folder)[1]["verdict"] == "good"


def flipped_byte(scratch):
    """a flipped byte among stored units is refused, named, and repaired to the units before it"""
    server, segment, end = killed(scratch)
    flip(segment, end // 2)
    there = repaired(server, 500)
    assert 150 < there < 350, there
    return f"{there} of 500 units kept"


def cut_file(scratch):
    """a file that lost its end is refused, named, and repaired to what is left"""
    server, segment, end = killed(scratch)
    with segment.open("r+b") as file:
        file.truncate(end // 3)
    there = repaired(server, 500)
    assert 80 < there < 250, there
    return f"{there} of 500 units kept"


def repair_to_a_unit(scratch):
    """check --repair --last keeps what was there at that unit"""
    server, _, _ = killed(scratch)
    status, report = sangam_json("check", "--repair", "--last", 101, "--data", server.folder)
    assert status == 0 and report["repaired"] and report["last"] == 101, report
    with server:
        assert kept(server, 500) == 100
        server.stop()


def second_process(scratch):
    """a folder that is in use is refused, with the process that uses it"""
    with Server(scratch / "data") as server:
        fill(server, 100)
        wanted = f"in use by process {server.process.pid}:"
        other = Server(server.folder)
        assert wanted in refused(other)
        backup = scratch / "backup"
        assert sangam("backup", backup, "--data", server.folder)[0] == 0
        for command in (["check", "--repair"], ["restore", backup]):
            status, _, err = sangam(*command, "--data", server.folder)
            assert status == 1 and wanted in err and "--data" in err, err
        status, report = sangam_json("check", "--data", server.folder)
        assert status == 0 and report["last"] == 101, report
        assert kept(server, 100) == 100
        server.stop()


def chain(c, me, history, numbers):
    """One connection, one key after the other: any state tells its moment."""
    for n in numbers:
        assert c.ask("SET", CHAIN[n % len(CHAIN)], n) == b"OK"


def one_moment(c):
    """The last number of the chain; every key has to agree with it."""
    values = [int(value or 0) for value in c.ask("MGET", *CHAIN)]
    last = max(values)
    assert values == [max(0, last - (last - n) % len(CHAIN)) for n in range(len(CHAIN))], f"no moment of the history has {values}"
    return last


def hot_backup(scratch):
    """backups under load, and what they restore to is one moment that has all acknowledged before"""
    server, load, history, moments = Server(scratch / "data"), Load([chain, writer, pair, mover]), History(), []
    with server:
        with server.connect() as c:
            c.ask("CONFIG", "SET", "auto-aof-rewrite-min-size", "300kb")
        load.start(server, history)
        for number in range(4):
            time.sleep(0.3)
            with server.connect() as c:
                before = max(int(value or 0) for value in c.ask("MGET", *CHAIN))
            backup = scratch / f"backup-{number}"
            status, _, err = sangam("backup", backup, "--data", server.folder)
            assert status == 0 and not err and not backup.with_name(backup.name + ".tmp").exists(), err
            status, report = sangam_json("check", "--data", server.folder)
            assert status == 0 and report["verdict"] in ("good", "torn tail"), report
            moments.append((backup, before))
        server.kill()
        load.join()
    for number, (backup, before) in enumerate(moments):
        elsewhere = Server(scratch / f"elsewhere-{number}")
        status, _, err = sangam("restore", backup, "--data", elsewhere.folder)
        assert status == 0, err
        with elsewhere:
            with elsewhere.connect() as c:
                last = one_moment(c)
                assert last >= before, f"the backup ends at {last}, {before} was acknowledged before it began"
                seen = History()
                seen.entries = {key: list(entries) for key, entries in history.entries.items()}
                judge(c, seen, time.time())
            elsewhere.stop()
    return f"backups at {', '.join(str(before) for _, before in moments)} of the chain"


def cold_backup(scratch):
    """a stopped server's backup: to a file, through a pipe, never over another, never into data"""
    server, backup = Server(scratch / "data"), scratch / "backup"
    with server:
        fill(server, 300)
        with server.connect() as c:
            assert c.ask("SAVE") == b"OK"
        fill(server, 500)
        server.stop()
    data = ["--data", server.folder]
    status, out, err = sangam("backup", backup, *data)
    assert status == 0 and "up to unit 801" in out and backup.stat().st_mode & 0o777 == 0o600, (out, err)
    status, _, err = sangam("backup", backup, *data)
    assert status == 1 and "--force" in err, err
    assert sangam("backup", "--force", backup, *data)[0] == 0
    status, piped, _ = sangam("backup", "-", *data, text=False)
    assert status == 0 and len(piped) == backup.stat().st_size
    assert not list(scratch.glob("*.tmp"))

    before = {path.name: path.read_bytes() for path in server.engine.iterdir()}
    status, _, err = sangam("restore", backup, *data)
    assert status == 1 and "is not empty" in err and "--data" in err, err
    assert before == {path.name: path.read_bytes() for path in server.engine.iterdir()}, "a refused restore changed the data"

    for name, args, given in (("file", [backup], None), ("pipe", ["-"], piped)):
        other = Server(scratch / name)
        status, out, err = sangam("restore", *args, "--data", other.folder, stdin=given)
        assert status == 0 and f"sangam serve --data {other.folder}" in out, (out, err)
        with other:
            assert kept(other, 500) == 500
            other.stop()


def damaged_backup(scratch):
    """a backup with a flipped byte or without its end is refused, and nothing counts"""
    server, _, _ = killed(scratch)
    backup, folder = scratch / "backup", scratch / "other"
    assert sangam("backup", backup, "--data", server.folder)[0] == 0
    good = backup.read_bytes()
    for at in range(20):
        bad = bytearray(good)
        if at < 10:
            bad[at * len(good) // 10] ^= 1
        else:
            del bad[at * len(good) // 20 :]
        status, _, err = sangam("restore", "-", "--data", folder, stdin=bytes(bad))
        assert status == 1 and "damaged at byte" in err, err
        assert not list((folder / "engine").iterdir()), "something was left"
    status, report = sangam_json("check", "--data", folder)
    assert (status, report["verdict"]) == (0, "empty"), report
    backup.write_bytes(good)
    assert sangam("restore", backup, "--data", folder)[0] == 0
    with Server(folder) as other:
        assert kept(other, 500) == 500
        other.stop()


def damage_is_not_backed_up(scratch):
    """a damaged folder is not backed up, and leaves no file"""
    server, segment, end = killed(scratch)
    flip(segment, end // 2)
    backup = scratch / "backup"
    status, _, err = sangam("backup", backup, "--data", server.folder)
    assert status == 1 and segment.name in err and f"run: sangam check --data {server.folder}" in err, err
    assert not list(scratch.glob("backup*"))


def broken_restore(scratch):
    """a restore that was killed is never taken for data, and can be begun again"""
    server, _, _ = killed(scratch, 20000)
    backup = scratch / "backup"
    assert sangam("backup", backup, "--data", server.folder)[0] == 0
    other = Server(scratch / "other")
    other.engine.mkdir(parents=True)
    (other.engine / "restoring").touch()
    (other.engine / "log-00000000000000000001.seg").write_bytes(backup.read_bytes()[:5000])
    said = refused(other)
    assert "restored" in said and "run: sangam restore BACKUP --data" in said, said
    status, report = sangam_json("check", "--data", other.folder)
    assert (status, report["verdict"]) == (1, "restoring"), report
    assert sangam("restore", backup, "--data", other.folder)[0] == 0
    with other:
        assert kept(other, 20000) == 20000
        other.stop()


TESTS = [
    torn_tail,
    flipped_byte,
    cut_file,
    repair_to_a_unit,
    second_process,
    hot_backup,
    cold_backup,
    damaged_backup,
    damage_is_not_backed_up,
    broken_restore,
]
