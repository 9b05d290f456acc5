"""What `import kphys` costs on top of `import keras`, in fresh interpreters.

    python benchmarks/import_time.py [--repeats 7]

Each interpreter imports Keras first, then kphys, then asks kphys for its first builder, which is loaded only then.
The seconds are medians; the aim for `import kphys` is less than 0.2 s.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from _compare import arguments, print_table, readable

PROGRAM = """
import json, time
seconds = {}
for statement in ("import keras", "import kphys", "from kphys import mlp_classifier"):
    start = time.perf_counter()
    exec(statement)
    seconds[statement] = time.perf_counter() - start
print(json.dumps(seconds))
"""


def seconds_in_fresh_interpreter() -> dict[str, float]:
    """Gives the seconds that each statement takes, one after the other."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


if __name__ == "__main__":
    runs = [seconds_in_fresh_interpreter() for _ in range(arguments(__doc__, repeats=7).repeats)]
    rows = [["statement", "median [s]", "slowest [s]"]]
    for statement in runs[0]:
        seconds = [run[statement] for run in runs]
        rows.append([statement, readable(statistics.median(seconds)), readable(max(seconds))])
    print_table(rows)
