"""The tests of optimised.py, in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import LIGHTLY, OPTIMISED

FILE = Path(__file__).with_name("optimised.py")


def test_what_users_run():
    flags = os.environ.get("XLA_FLAGS", "").replace(LIGHTLY, "")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", FILE, "-p", "no:cacheprovider"],
        env={**os.environ, "XLA_FLAGS": flags, OPTIMISED: "1"},
        cwd=FILE.parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
