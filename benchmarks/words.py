"""Training speed and quality of word vectors beside gensim's, the same text, dimensions, window and noise words.

    python benchmarks/words.py [--repeats 3] [--copies 6] [--epochs 3] [--dimensions 100] [--stream-words 10000000]

The text is `novels3.txt.gz` in the folder that `KPHYS_DATA` names, its sentences repeated `--copies` times and
shuffled: 5 million words. gensim has as many workers as there are processor cores. The ratio is how many times faster
kphys trains an epoch; the first one, which counts the words and compiles, is told apart. ρ is Spearman's correlation
with WordSim-353, repeats are seeds. The last row trains on a stream of made-up words, for its memory. The aim is at
least gensim's speed with skip-gram, half of it with CBOW, ρ within its standard error, and 1.5 times its memory beside
TensorFlow's own 690 MB. Without gensim its rows are left out (pip install gensim).
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import math
import os
import pathlib
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator

from _compare import Clock, Contestant, Figures, arguments, compare, in_folder, peak_megabytes

MIN_COUNT = 5
SECONDS = "epoch [s]"
COLUMNS = ("first epoch [s]", SECONDS, "words/s", "CPU [s]", "peak MB", "ρ")


def text(given: argparse.Namespace) -> list[list[str]]:
    """Gives the sentences, lists of words; made up where the novels are not there."""
    import numpy as np

    generator = np.random.default_rng(given.repeat)
    novels = in_folder("novels3.txt.gz")
    if novels:
        found = [re.findall(r"[a-z']+", s) for s in re.split(r"[.!?;]\s|\n\n", novels.lower())]
        sentences = [sentence for sentence in found if sentence]
    else:
        words = np.minimum(generator.zipf(1.3, (53_000, 16)), 25_000).astype(str)
        sentences = words.tolist()
    return [sentences[i] for _ in range(given.copies) for i in generator.permutation(len(sentences))]


def figures(clock: Clock, sentences: list[list[str]], rho: float) -> Figures:
    """Gives the columns."""
    found = clock.figures(sum(map(len, sentences)))
    return {**found, "words/s": found["samples/s"], "ρ": rho}


def pairs() -> pathlib.Path | None:
    """Gives the file of WordSim-353, if it is there."""
    file = pathlib.Path(os.environ.get("KPHYS_DATA", "")) / "wordsim353.tsv"
    return file if file.is_file() else None


def kphys(objective: str, given: argparse.Namespace) -> Figures:
    """Trains what the builder gives."""
    import keras

    from kphys.models.words import word_vectors

    sentences = text(given)
    size = sum(count >= MIN_COUNT for count in Counter(word for s in sentences for word in s).values())
    vectors = word_vectors(size, given.dimensions, objective=objective, seed=given.repeat)
    clock = Clock()
    callback = keras.callbacks.LambdaCallback(on_epoch_end=clock.mark)
    vectors.fit(sentences, epochs=given.epochs, verbose=0, callbacks=[callback])
    rho = vectors.evaluate_similarity(pairs()).correlation if pairs() else math.nan
    return figures(clock, sentences, rho)


def gensim(objective: str, given: argparse.Namespace) -> Figures:
    """Trains gensim's Word2Vec with its defaults, one worker a core."""
    from gensim.models import Word2Vec
    from gensim.models.callbacks import CallbackAny2Vec

    sentences = text(given)

    class Marks(CallbackAny2Vec):
        def on_epoch_end(self, model: Word2Vec) -> None:
            clock.mark()

    clock = Clock()
    model = Word2Vec(
        sentences,
        vector_size=given.dimensions,
        sg=int(objective == "skip_gram"),
        min_count=MIN_COUNT,
        workers=os.cpu_count() or 1,
        epochs=given.epochs,
        seed=given.repeat,
        callbacks=[Marks()],
    )
    rho = math.nan
    if pairs():
        rho = float(model.wv.evaluate_word_pairs(str(pairs()), case_insensitive=True)[1].statistic)
    return figures(clock, sentences, rho)


def stream(given: argparse.Namespace) -> Figures:
    """Trains one epoch on words that are made as they are read."""
    import numpy as np

    from kphys.models.words import word_vectors

    class Words:
        def __iter__(self) -> Iterator[np.ndarray]:
            generator = np.random.default_rng(0)
            for _ in range(0, given.stream_words, 100_000):
                yield np.minimum(generator.zipf(1.3, 100_000), 25_000) - 1

    vectors = word_vectors(25_000, given.dimensions, seed=0)
    start = time.perf_counter()
    history = vectors.fit(Words(), verbose=0).history
    seconds = time.perf_counter() - start
    return {SECONDS: seconds, "words/s": history["words_per_second"][0], "peak MB": peak_megabytes()}


def contestants(objective: str) -> dict[str, Contestant]:
    """Gives kphys and, if it is installed and has this objective, gensim."""
    found: dict[str, Contestant] = {"kphys": functools.partial(kphys, objective)}
    if objective != "recurrent" and importlib.util.find_spec("gensim"):
        found["gensim"] = functools.partial(gensim, objective)
    return found


if __name__ == "__main__":
    if not importlib.util.find_spec("gensim"):
        print("gensim is not installed: its rows are left out (pip install gensim).", file=sys.stderr)
    groups = {objective: contestants(objective) for objective in ("skip_gram", "cbow", "recurrent")}
    groups["stream"] = {"kphys": stream}
    given = arguments(__doc__, copies=6, epochs=3, dimensions=100, stream_words=10_000_000)
    compare(groups, given, COLUMNS, ratio_of=SECONDS)
