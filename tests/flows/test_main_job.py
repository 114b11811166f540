"""The main job, in its short form: real processes, a real kill."""

import subprocess
import sys

import orjson


def test_the_main_job_loses_nothing():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "main-job", "--events", "20000"],
        capture_output=True,
        timeout=110,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    last = orjson.loads(done.stdout.splitlines()[-1])
    assert last.keys() == {
        "events",
        "delivered",
        "received",
        "lost",
        "duplicates",
        "out_of_order_keys",
        "seconds",
    }
    assert (last["events"], last["delivered"], last["received"]) == (20_000, 20_000, 20_000)
    assert (last["lost"], last["out_of_order_keys"]) == (0, 0)
    assert b"reader killed with kill -9" in done.stdout
