"""What a training that is killed loses: every family, killed at ten random moments, against one left alone.

    OPENBLAS_NUM_THREADS=1 python benchmarks/kill_and_resume.py [--kills 10] [--seed 0] [--rows ROW ...] [--stock]

Every row of the promises' table named here trains 24 epochs with `BackupAndRestore`, two `ModelCheckpoint`s and
`TrainingRecord`, gets SIGKILL at random moments, most of them while files are written, and is started again until it
is done. Before each attempt every file in its place is loaded. In the end all weights, optimizers and random states
must be those of a training that was left alone, bit by bit, and so the history, without its clocks. `--stock`: the same
with Keras' own BackupAndRestore and ModelCheckpoint. Needs Linux.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from _compare import print_table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from kill_process import survive

ROWS = (
    "mlp_classifier[dropout]",
    "vae[bernoulli]",
    "dcgan[replay]",
    "word_vectors[skip_gram-negative_sampling]",
    "char_rnn[lstm]",
    "dqn[prioritized]",
    "reinforce[value]",
    "mlp_regressor[gaussian_nll-normalized]",
    "cnn_classifier[batch-normalization]",
    "cnn_regressor[gaussian_nll]",
    "rnn_classifier[dropout]",
    "rnn_regressor[mse]",
    "autoencoder[noise]",
    "conv_autoencoder[tied]",
    "conv_vae[images]",
    "seq2seq[attention]",
    "text_classifier[dropout]",
)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10, help="default 10")
    parser.add_argument("--seed", type=int, default=0, help="of the moments, default 0")
    parser.add_argument("--rows", nargs="+", default=ROWS, help="rows of tests/contract_table.py, default one a family")
    parser.add_argument("--stock", action="store_true", help="with Keras' own callbacks")
    given = parser.parse_args()
    table = [["", "killed", "while writing", "then"]]
    for row in given.rows:
        with tempfile.TemporaryDirectory() as folder:
            outcome = survive(Path(folder), row, given.kills, given.seed, stock=given.stock)
        found = "; ".join(outcome.failures) or "as if nothing had happened"
        table.append([row, str(outcome.kills), str(outcome.while_writing), found])
        print(" ", *table[-1], sep="  ", file=sys.stderr, flush=True)
    print_table(table)
