"""What counting alone achieves on the plays of templates/nanogpt: n-grams, the yardstick for the losses in its README.

`python tests/benchmarks/nanogpt_ngram.py` prints the loss on the whole held-out play for contexts of 0 to 6 characters,
within two minutes. Smoothed as in Witten and Bell, IEEE Trans. Inf. Theory 37(4), 1991: each context mixes its own
counts with the next shorter one's, by the number of different characters that have followed it.
"""

import math
from collections import Counter, defaultdict

from nanogpt_speed import experiment


def loss(train: bytes, held_out: bytes, n: int, characters: int) -> float:
    """Nats a character of the n-gram model."""
    follows = [defaultdict(Counter) for _ in range(n)]  # by length of the context, then context
    for length, counts in enumerate(follows):
        for i in range(length, len(train)):
            counts[train[i - length : i]][train[i]] += 1
    totals = [{context: sum(seen.values()) for context, seen in counts.items()} for counts in follows]
    nats = 0.0
    for i, character in enumerate(held_out):
        chance = 1 / characters
        for length in range(min(n, i + 1)):
            context = held_out[i - length : i]
            if context not in totals[length]:
                break
            seen, total = follows[length][context], totals[length][context]
            chance = (seen[character] + len(seen) * chance) / (total + len(seen))
        nats -= math.log(chance)
    return nats / len(held_out)


if __name__ == "__main__":
    text = experiment.read_text("plays", experiment.torch.device("cpu"))
    train, held_out = (bytes(part.tolist()) for part in (text.train, text.held_out))
    print("| n | nats a character |\n|---|---|")
    for n in range(1, 8):
        print(f"| {n} | {loss(train, held_out, n, len(text.symbols)):.3f} |", flush=True)
