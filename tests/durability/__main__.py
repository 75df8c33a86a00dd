"""What is acknowledged stays, whatever happens to the process and its files.

    python3 tests/durability [NAME...]

Starts target/release/sangam (or SANGAM_BIN) on folders of its own and free
ports; names choose tests, such as `always` or `damage`. DURABILITY_TMP is where
the folders are made.
"""

import inspect
import os
import pathlib
import sys
import tempfile
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import commands  # noqa: E402
import damage  # noqa: E402
import every_type  # noqa: E402
import full_disk  # noqa: E402
import kill  # noqa: E402
import requests  # noqa: E402
import sdk  # noqa: E402

MODULES = [kill, requests, damage, every_type, commands, sdk, full_disk]


def main():
    names = sys.argv[1:]
    if any(name.startswith("-") for name in names):
        raise SystemExit(__doc__)
    passed = failed = 0
    for module in MODULES:
        for test in module.TESTS:
            if names and module.__name__ not in names and test.__name__ not in names:
                continue
            began = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="sangam-durability-", dir=os.environ.get("DURABILITY_TMP")) as scratch:
                try:
                    said = test(pathlib.Path(scratch))
                    passed, verdict = passed + 1, "ok  "
                except Exception:
                    said = traceback.format_exc(limit=5)
                    failed, verdict = failed + 1, "FAIL"
            print(f"{verdict} {inspect.getdoc(test)} ({time.monotonic() - began:.1f} s)", flush=True)
            if said:
                print("     " + said.replace("\n", "\n     "), flush=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(bool(failed))


main()
