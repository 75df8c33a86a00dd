"""Random commands against Sangam and a real redis-server at once.

    tests/with-redis tests/with-valkey tests/with-sangam python3 tests/differential [options]

Both get the same steps; replies and error texts are compared byte for byte
over RESP2 and RESP3, but where Redis leaves something open (see compare.py).
A difference is shrunk to the fewest steps and printed with its seed. `surface`
is another run: every command that both know, with arguments of every number
and kind, from COMMAND's own list.
"""

import argparse
import os
import pathlib
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import families  # noqa: E402
import hash_ttl  # noqa: E402
import notify  # noqa: E402
import pair  # noqa: E402
import surface  # noqa: E402
import tracking  # noqa: E402
from compare import name_of  # noqa: E402

SEED = 7
COUNT = {"list_waiting": 20, "transaction": 400, "generic": 150, "connection": 300, "pubsub": 150, "dump": 300}
DEFAULT_COUNT = 500
# What is compared in ways of its own.
RUNS = {"surface": surface.run, "notify": notify.run, "tracking": tracking.run}


def text(reply):
    kind, data = reply
    shown = repr(data)
    return f"{kind} {shown if len(shown) < 1200 else shown[:1200] + '...'}"


def command_text(step):
    argv = " ".join(repr(bytes(arg))[1:] if len(arg) < 80 else repr(bytes(arg[:60]))[1:] + f"...({len(arg)})" for arg in step["argv"][:40])
    if len(step["argv"]) > 40:
        argv += f" ... ({len(step['argv'])} arguments)"
    extra = "".join(f" [{key}]" for key in ("loop", "subset") if step.get(key))
    return f"{step['who']}: {argv}{extra}" + (f" [pause {step['pause']} s]" if step.get("pause") else "")


def report(family, protocol, seed, index, steps, difference):
    print(f"\nDIFFERENCE in {family}, RESP{protocol}, --seed {seed} --first {index} {difference.why}")
    for step in steps:
        print("   ", command_text(step))
    print("    ours:  ", text(difference.ours))
    print("    theirs:", text(difference.theirs), flush=True)


def kind_of(difference):
    """What makes two differences the same one, so that each is reported once."""
    sides = [(kind, data[:48] if kind == "-" else None) for kind, data in (difference.ours, difference.theirs)]
    return name_of(difference.step["argv"]), *sides


def random_family(ours, theirs, family, protocol, options):
    """Sequences of one family; how many passed and failed."""
    passed = failed = 0
    known = set()
    count = options.count or COUNT.get(family, DEFAULT_COUNT)
    for index in range(options.first, options.first + count):
        steps = families.sequence(family, options.seed, f"{protocol}.{index}")
        try:
            pair.run(ours, theirs, steps)
            passed += 1
            continue
        except pair.Difference as found:
            difference = found
        failed += 1
        signature = kind_of(difference)
        if signature in known or len(known) >= options.reports:
            continue
        known.add(signature)
        report(family, protocol, options.seed, index, *pair.shrink(ours, theirs, steps, difference))
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", default=SEED, help="what all choices depend on")
    parser.add_argument("--first", type=int, default=0, help="the first sequence's number")
    parser.add_argument("--count", type=int, help="sequences a family and protocol")
    parser.add_argument("--family", action="append", choices=[*families.names(), *RUNS])
    parser.add_argument("--protocol", type=int, action="append", choices=[2, 3])
    parser.add_argument("--reports", type=int, default=6, help="differences to print a family")
    options = parser.parse_args()
    total_passed = total_failed = 0
    for protocol in options.protocol or (2, 3):
        for family in options.family or [*families.names(), *RUNS]:
            began = time.monotonic()
            ours = pair.Server(os.environ["REDIS_URL"], protocol)
            theirs = pair.Server(hash_ttl.oracle_url() if family == "hash_ttl" else os.environ["ORACLE_URL"], protocol)
            try:
                if family in RUNS:
                    passed, failed = RUNS[family](ours, theirs, protocol, options, report)
                else:
                    passed, failed = random_family(ours, theirs, family, protocol, options)
            except (OSError, ConnectionError, RuntimeError) as error:
                traceback.print_exc()
                passed, failed = 0, 1
            ours.close()
            theirs.close()
            total_passed, total_failed = total_passed + passed, total_failed + failed
            print(f"{family:<12} RESP{protocol}  {passed:5} ok {failed:4} differ  {time.monotonic() - began:5.1f} s", flush=True)
    print(f"{total_passed} passed, {total_failed} failed")
    sys.exit(bool(total_failed))


main()
