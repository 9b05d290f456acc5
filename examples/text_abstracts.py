"""Theory or experiment? A network reads raw abstracts whose words say nothing, but whose order does.

"We predicted the mass which others have measured" is theory, "we measured the mass which others have predicted" is
experiment, and both have the same words. A network that counts words must fail; one that reads them in order can tell.
The abstracts, `kphys.datasets.abstracts`, come in pairs that share all their words.

    python examples/text_abstracts.py abstracts.png
"""

import sys

import keras
import matplotlib.pyplot as plt

from kphys import mlp_classifier
from kphys.datasets import abstracts
from kphys.models.texts import text_classifier


def main(plot=None, quick=False):
    """Trains both networks and gives back their accuracies on pairs of new abstracts; saves a figure to `plot`."""
    (texts, labels), (new, truth) = abstracts.load_data(1600 if quick else 3000, 1000 / (1600 if quick else 3000))

    keras.utils.set_random_seed(0)
    vectorization = keras.layers.TextVectorization()
    vectorization.adapt(texts)
    reader = text_classifier(vectorization, 2, embedding_dim=16, units=32, learning_rate=0.01, seed=0)
    reader.fit(texts, labels, epochs=6 if quick else 4, verbose=0)

    counts = keras.layers.TextVectorization(output_mode="count")
    counts.adapt(texts)
    counter = mlp_classifier(counts.vocabulary_size(), 2, seed=0)
    counter.fit(counts(texts).numpy(), labels, epochs=6 if quick else 4, verbose=0)
    accuracy = {
        "words in order": reader.evaluate(new, truth, verbose=0, return_dict=True)["accuracy"],
        "words counted": counter.evaluate(counts(new).numpy(), truth, verbose=0, return_dict=True)["accuracy"],
    }
    for name, value in accuracy.items():
        print(f"{name}: {value:.1%} of {len(new)} new abstracts")

    if plot:
        figure, panels = plt.subplots(2, figsize=(9, 6), sharey=True, layout="constrained")
        pair = next(index for index in range(0, len(new), 2) if new[index].startswith("After"))
        for panel, text, kind in zip(panels, new[pair : pair + 2], ("theory", "experiment"), strict=True):
            words = text.split()
            beginnings = [" ".join(words[:number]) for number in range(1, len(words) + 1)]
            panel.plot(reader.predict(beginnings, verbose=0)[:, 0], "o-")
            panel.axhline(0.5, color="0.7", lw=0.8)
            panel.set_xticks(range(len(words)), words, rotation=40, ha="right")
            panel.set(ylim=(-0.05, 1.05), ylabel="p(experiment)", title=kind)
        figure.suptitle("What the network thinks after every word, of two abstracts with the same words")
        figure.savefig(plot)
        plt.close(figure)
    return accuracy


if __name__ == "__main__":
    main(*sys.argv[1:2])
