"""Every call of the vendor's older Python SDK, unchanged, against `aiodis serve`.

A drill, since the SDK is installed for it, into an environment of its own.
"""

import json
import subprocess
from pathlib import Path

import pytest
from programs import ACCESS_KEY, PROJECT, SECRET_KEY, ServerProcess

from benchmarks.vendor import v2_python

PROGRAM = Path(__file__).parents[1] / "support" / "vendor_v2.py"


@pytest.mark.drill
@pytest.mark.parametrize("signing", ["derives", "plain"])
def test_every_call_of_the_vendors_older_sdk_works(tmp_path, signing):
    with ServerProcess(tmp_path / "data") as server:
        server.start()
        endpoint = server.client_settings["endpoint"]
        done = subprocess.run(
            [v2_python(), str(PROGRAM), endpoint, ACCESS_KEY, SECRET_KEY, PROJECT, signing],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=tmp_path,
        )
        server.stop()
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["missing"] == []
    assert len(found["done"]) == 23
