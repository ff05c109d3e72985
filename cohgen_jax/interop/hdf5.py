"""Whether an HDF5 file can be gone through from end to end.

The HDF5 library believes what it reads: of a file with a few wrong bits it may crash, loop for ever
or ask for more memory than there is, and take the process with it. So a process of its own goes
through the file first, a piece at a time, and what becomes of it is told.

    python cohgen_jax/interop/hdf5.py FILE
"""

import signal
import subprocess
import sys
from pathlib import Path

STALLED = 20
"""Seconds after which a piece counts as endless."""
PIECE = 1 << 24
"""Bytes."""
MOST = 5000
"""Times its own size that a file may hold; what compresses best does so by 1,000."""


def flaw(path: Path) -> str | None:
    """In a few words, why the file cannot be read to its end, if so."""
    command = [sys.executable, "-I", __file__, str(path)]
    walk = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if walk.returncode == 0:
        return None
    if walk.returncode < 0:
        stalled = walk.returncode == -signal.SIGALRM
        return "the HDF5 library " + ("does not come to an end" if stalled else "crashes on it")
    return (walk.stderr.strip().splitlines() or ["it is damaged"])[-1]


def _walk(path: str) -> None:
    """Reads everything once."""
    import h5py
    import numpy as np

    most = MOST * Path(path).stat().st_size

    def attributes(item: "h5py.HLObject") -> None:
        signal.alarm(STALLED)
        for name in item.attrs:
            item.attrs[name]

    def visit(name: str, item: "h5py.HLObject") -> None:
        attributes(item)
        if not isinstance(item, h5py.Dataset):
            return
        if item.nbytes > most:
            raise ValueError(f"{name} would take {item.nbytes} bytes, more than the file can hold")
        if not item.ndim:
            item[()]
            return
        step = max(1, PIECE // max(1, item.nbytes // max(1, len(item))))
        for first in range(0, len(item), step):
            signal.alarm(STALLED)
            np.asarray(item[first : first + step])

    signal.alarm(STALLED)
    with h5py.File(path, "r") as file:
        attributes(file)
        file.visititems(visit)
    signal.alarm(0)


if __name__ == "__main__":
    try:
        _walk(sys.argv[1])
    except Exception as error:
        sys.exit(f"{error}" or type(error).__name__)
