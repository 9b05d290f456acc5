"""Word vectors in the files of other programs: word2vec, GloVe, and TensorBoard's projector."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from kphys import _arguments
from kphys._files import replacing

FORMATS = ("word2vec", "word2vec_binary", "glove")


class WordFiles:
    """Reading and writing, for a model with `words`, an `Embedding`, `vocabulary` and `vectors`."""

    def to_file(self, path: str | os.PathLike[str], format: str = "word2vec") -> None:
        """Writes words and vectors, no more: what else belongs to the model is in the `.keras` file of `save`.

        A file of that name is replaced when the new one is complete, and stays where it cannot be completed.

        Args:
            path: The file to write.
            format: "word2vec", text after a line with the numbers of words and dimensions; "word2vec_binary", the same
                with vectors of float32; "glove", text without that line. Text keeps every digit.
        """
        format = _arguments.choice("format", format, FORMATS)
        words, vectors = self._written_words(), self.vectors
        with replacing(pathlib.Path(path)) as file:
            if format != "glove":
                file.write(f"{len(words)} {self.embedding_dim}\n".encode())
            for word, vector in zip(words, vectors, strict=True):
                if format == "word2vec_binary":
                    file.write(f"{word} ".encode() + vector.astype("<f4").tobytes() + b"\n")
                else:
                    # A float32 in its shortest form comes back as it was.
                    file.write(f"{word} {' '.join(map(str, vector))}\n".encode())

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], format: str = "word2vec", **settings: Any) -> Any:
        """Gives a compiled model with the words and vectors of a file.

        Further training starts from these vectors, and from output vectors of zero, which no such file holds.

        Args:
            path: The file to read.
            format: As in `to_file`.
            **settings: Keywords of `word_vectors`, but `vocabulary_size` and `embedding_dim`, which the file says.

        Raises:
            ValueError: A file of another format; the message names the line.
        """
        from kphys.models.words import word_vectors

        format = _arguments.choice("format", format, FORMATS)
        path = pathlib.Path(path)
        words, vectors = _read_binary(path) if format == "word2vec_binary" else _read_text(path, format)
        model = word_vectors(len(words), vectors.shape[1], **settings)
        model.set_vocabulary(words)
        model.words.set_weights([vectors])
        return model

    def to_projector(self, folder: str | os.PathLike[str]) -> None:
        """Writes the vectors for TensorBoard's projector: `tensorboard --logdir folder`, then the tab "Projector"."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        words = self._written_words()
        np.savetxt(folder / "vectors.tsv", self.vectors, fmt="%.7g", delimiter="\t")
        (folder / "metadata.tsv").write_text("\n".join(words) + "\n", encoding="utf-8")
        (folder / "projector_config.pbtxt").write_text(
            'embeddings {\n  tensor_name: "words"\n  tensor_path: "vectors.tsv"\n  metadata_path: "metadata.tsv"\n}\n'
        )

    def _written_words(self) -> list[str]:
        words = [str(name) for name in self.vocabulary.names(range(len(self.vocabulary)))]
        wrong = next((word for word in words if word.split() != [word]), None)
        if wrong is not None:
            raise ValueError(
                f"The word {wrong!r} holds white space, which separates words from vectors in these files."
            )
        return words


def _read_text(path: pathlib.Path, format: str) -> tuple[list[str], np.ndarray]:
    words: dict[str, int] = {}
    rows: list[np.ndarray] = []
    lines = _lines(path)
    if format == "glove":
        size = dim = None
    else:
        size, dim = _header(path, next(lines, (1, ""))[1])
    for number, line in lines:
        word, *values = line.rstrip().split(" ")
        if number == 1 and word.isdigit() and len(values) == 1 and values[0].isdigit():
            raise ValueError(f"{str(path)!r}, line 1 holds two integers: such a file is of the format 'word2vec'.")
        dim = len(values) if dim is None else dim
        rows.append(_row(path, number, word, values, dim))
        if word in words:
            raise ValueError(f"{str(path)!r}, line {number}: the word {word!r} stands in line {words[word]} too.")
        words[word] = number
    if size not in (None, len(rows)):
        raise ValueError(f"{str(path)!r}, line 1 says that there are {size} words, and there are {len(rows)}.")
    if not rows:
        raise ValueError(f"{str(path)!r} holds no words.")
    return list(words), np.stack(rows)


def _lines(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    # In bytes: other line ends than the line feed may be part of a word.
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield number, line.decode()
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{str(path)!r}, line {number} is not text: is the file of the format 'word2vec_binary'?"
                ) from error


def _row(path: pathlib.Path, number: int, word: str, values: list[str], dim: int) -> np.ndarray:
    if len(values) != dim or not dim or not word:
        raise ValueError(
            f"{str(path)!r}, line {number} must be a word and its vector of {dim}, got {len(values)} numbers."
        )
    try:
        row = np.array(values, "float32")
    except ValueError as error:
        raise ValueError(f"{str(path)!r}, line {number} must be a word and its vector of {dim}: {error}.") from error
    if not np.isfinite(row).all():
        raise ValueError(f"{str(path)!r}, line {number}: the vector of {word!r} holds a number that is not finite.")
    return row


def _header(path: pathlib.Path, line: str) -> tuple[int, int]:
    try:
        size, dim = map(int, line.split())
    except ValueError as error:
        raise ValueError(
            f"{str(path)!r}, line 1 must be the numbers of words and dimensions, got {line.strip()!r:.60}: a file "
            "without this line is of the format 'glove'."
        ) from error
    if size < 1 or dim < 1:
        raise ValueError(f"{str(path)!r}, line 1 must be two positive numbers, got {size} and {dim}.")
    return size, dim


def _read_binary(path: pathlib.Path) -> tuple[list[str], np.ndarray]:
    with path.open("rb") as file:
        size, dim = _header(path, file.readline(100).decode("latin-1"))
        if size * dim * 4 > path.stat().st_size:
            raise ValueError(f"{str(path)!r} is too short for the {size} words of {dim} numbers that its line 1 says.")
        vectors = np.empty((size, dim), "<f4")
        words: dict[str, int] = {}
        for number in range(size):
            word = _word(path, file, number + 1)
            row = file.read(4 * dim)
            if len(row) < 4 * dim:
                raise ValueError(f"{str(path)!r}, word {number + 1} of {size}, {word!r}: the file ends in its vector.")
            vectors[number] = np.frombuffer(row, "<f4")
            if not np.isfinite(vectors[number]).all():
                raise ValueError(f"{str(path)!r}, word {number + 1}, {word!r}: a number of it is not finite.")
            if word in words:
                raise ValueError(f"{str(path)!r}, word {number + 1}: {word!r} is word {words[word]} too.")
            words[word] = number + 1
        if file.read().strip():
            raise ValueError(
                f"{str(path)!r} goes on after its {size} words: is it of the format 'word2vec', which is text?"
            )
    return list(words), vectors.astype("float32")


def _word(path: pathlib.Path, file: BinaryIO, number: int) -> str:
    letters = bytearray()
    # The original program ends a vector by a line feed, others do not.
    while (letter := file.read(1)) not in (b" ", b""):
        letters += letter if letter != b"\n" else b""
    try:
        word = letters.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{str(path)!r}, word {number} is not text: the vector before it has another length."
        ) from error
    if not word:
        raise ValueError(f"{str(path)!r}, word {number} is missing: the file ends before it, or holds text.")
    return word
