"""A language with known relations: countries and capitals, one and many, men and women."""

import functools

import numpy as np

RELATIONS = {
    # Forms of a pair, and the words that tell which of the two it is.
    "capital": (("country{}", "nation border export people"), ("capital{}", "city mayor street tower")),
    "plural": (("noun{}", "a one this each"), ("noun{}s", "many some these all")),
    "gender": (("man{}", "he his him sir"), ("woman{}", "she hers her madam")),
}


@functools.cache
def language(seed, size, pairs):
    """Sentences such as "nation capital_3_a country3 capital_3_b border": a word, what it is about, and its role."""
    generator = np.random.default_rng(seed)
    sentences = []
    for _ in range(size):
        relation = list(RELATIONS)[generator.integers(3)]
        number = generator.integers(pairs)
        form, signs = RELATIONS[relation][generator.integers(2)]
        first, last = generator.choice(signs.split(), 2)
        before, after = generator.choice(list("abcde"), 2)
        about = f"{relation}_{number}_"
        sentences.append(f"{first} {about}{before} {form.format(number)} {about}{after} {last}")
    return sentences


def write_questions(path, pairs):
    """Writes all analogies between two pairs of one relation, as a file of them has it, and gives its path."""
    lines = []
    for relation, ((one, _), (other, _)) in RELATIONS.items():
        lines.append(f": {relation}")
        lines += [
            f"{one.format(i)} {other.format(i)} {one.format(j)} {other.format(j)}"
            for i in range(pairs)
            for j in range(pairs)
            if i != j
        ]
    path.write_text("\n".join(lines))
    return path
