"""How long 20,000 configurations of 40 × 40 Ising spins across the critical temperature take, and how much memory.

    python benchmarks/ising.py

The aim is less than 60 seconds on two cores. Memory before the call is Python with Keras and TensorFlow; the result
itself takes 128 MB.
"""

from __future__ import annotations

import resource
import sys
import time

from kphys.datasets import ising


def main() -> None:
    """Times one call and prints seconds, configurations per second and peak memory."""
    before = peak_memory()
    start = time.perf_counter()
    (x_train, _), (x_test, _) = ising.load_data(size=40, num_samples=20_000)
    seconds = time.perf_counter() - start
    count = len(x_train) + len(x_test)
    print(f"{count} configurations of 40 x 40, T = 1.0 to 3.5: {seconds:.1f} s, {count / seconds:.0f} a second,")
    print(f"peak memory {peak_memory():.0f} MB, of which {before:.0f} MB before the call.")


def peak_memory() -> float:
    """Gives the most memory that this process has held, in MB."""
    # Linux counts in kilobytes, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


if __name__ == "__main__":
    main()
