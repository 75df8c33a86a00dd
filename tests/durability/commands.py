"""The subcommands' settings, exit statuses and leavings."""

from damage import fill, kept
from server import Server, sangam, sangam_json


def settings(scratch):
    """the data folder comes from flag, environment, file, as for serve; errors name the setting"""
    with Server(scratch / "data") as server:
        fill(server, 100)
        server.stop()
    data, empty = str(server.folder), scratch / "empty"
    empty.mkdir()
    (scratch / "sangam.toml").write_text(f"data = '{data}'\n")
    for where, args, env in (
        (empty, ["--data", data], {"SANGAM_DATA": "/nowhere"}),
        (empty, [], {"SANGAM_DATA": data}),
        (scratch, [], {}),
        (empty, ["--config", scratch / "sangam.toml"], {}),
    ):
        status, out, err = sangam("check", *args, cwd=where, env=env)
        assert status == 0 and out.startswith(f"{data}/engine:"), (args, env, out, err)
    for status, named, args in (
        (1, "setting `data`", ["check"]),
        (1, "setting `data`", ["check", "--repair", "--data", "nowhere"]),
        (1, "setting `data`", ["backup", "file", "--data", "nowhere"]),
        (1, "no-such-file", ["restore", "no-such-file", "--data", "nowhere"]),
        (2, "setting `data`", ["check", "--data", "memory"]),
        (2, "setting `data`", ["check", "--data", ""]),
        (2, "setting `config`", ["check", "--config", "nowhere.toml"]),
        (2, "--repair", ["check", "--last", "5"]),
        (2, "<FILE>", ["backup"]),
        (2, "--seconds", ["bench-disk", "--seconds", "0"]),
    ):
        got, out, err = sangam(*args, cwd=empty)
        assert got == status and named in err and not out, (args, got, out, err)
    assert not list(empty.iterdir()), "something was made on the way to an error"


def backups_leave_nothing(scratch):
    """a backup that fails leaves no file, and one that was killed is replaced"""
    with Server(scratch / "data") as server:
        fill(server, 100)
        server.stop()
    status, _, err = sangam("backup", scratch / "no" / "backup", "--data", server.folder)
    assert status == 1 and "no/backup.tmp" in err, err
    (scratch / "backup.tmp").write_bytes(b"x" * 1_000_000)
    status, answer = sangam_json("backup", scratch / "backup", "--data", server.folder)
    assert status == 0 and answer["last"] == 101, answer
    assert not (scratch / "backup.tmp").exists()
    status, answer = sangam_json("restore", scratch / "backup", "--data", scratch / "other")
    assert status == 0 and answer["last"] == 101, answer
    with Server(scratch / "other") as other:
        assert kept(other, 100) == 100
        other.stop()


def bench_disk(scratch):
    """bench-disk measures, promises, and leaves nothing"""
    data = scratch / "data"
    status, measured = sangam_json("bench-disk", "--seconds", 2, "--data", data)
    assert status == 0, measured
    for name in ("sync_allocated", "sync_filled"):
        times = measured[name]
        assert times["count"] > 0 and 0 < times["p50_ms"] <= times["p99_ms"] <= times["max_ms"], measured
    assert [group["writers"] for group in measured["always"]] == [1, 10, 50], measured
    assert all(group["writes_per_second"] > 0 for group in measured["always"]), measured
    assert measured["everysec"]["writes_per_second"] > measured["always"][0]["writes_per_second"], measured
    assert measured["sequential_bytes_per_second"] > 0 and measured["free_bytes"] > 0
    assert any("always" in line for line in measured["promises"]) and any("everysec" in line for line in measured["promises"])
    assert not list(scratch.iterdir()), list(scratch.iterdir())
    return measured["promises"][0]


TESTS = [settings, backups_leave_nothing, bench_disk]
