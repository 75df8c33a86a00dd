import os
import pathlib
import re
import secrets
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from raw.resp import Connection  # noqa: E402
from raw.rest import Gateway  # noqa: E402

# What only our server promises is not asked of another one.
OURS = "SANGAM_PID" in os.environ
ours_only = pytest.mark.skipif(not OURS, reason="needs a server started by tests/with-sangam")


def resident_megabytes():
    status = pathlib.Path(f"/proc/{os.environ['SANGAM_PID']}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024


@pytest.fixture
def key():
    return f"key:{secrets.token_hex(8)}"


@pytest.fixture
def connection():
    with Connection() as connection:
        yield connection


@pytest.fixture
def stranger():
    """A connection that has not authenticated."""
    with Connection(auth=False) as connection:
        yield connection


@pytest.fixture
def gateway():
    gateway = Gateway()
    yield gateway
    gateway.close()


@pytest.fixture(autouse=True)
def still_alive():
    """Whatever a test did, the next client is served."""
    yield
    with Connection() as connection:
        assert connection.ask("PING") == b"PONG"
