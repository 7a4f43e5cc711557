"""Explain token ids: short reviews, each with one word that says whether it is a good one.

``python examples/explain_a_text.py`` trains a network on them in seconds, prints which share of the positive relevance
lies on that word, and shows a few reviews with the relevance of each word.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relsplit import LRP

PLAIN = "the a film story actor music scene ending was is seemed and but with of some very rather quite long short new"
GOOD = "wonderful superb moving brilliant"
BAD = "dreadful boring awful clumsy"
WORDS = ["<pad>", *PLAIN.split(), *GOOD.split(), *BAD.split()]
LONGEST = 12


def reviews(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw reviews (N, T) with padding behind shorter ones, whether they are good (N,), and where it is said (N,)."""
    generator = torch.Generator().manual_seed(seed)

    def below(stop: int) -> int:
        return int(torch.randint(stop, (), generator=generator))

    labels = torch.arange(count) % 2
    ids, places = torch.zeros(count, LONGEST, dtype=torch.long), torch.zeros(count, dtype=torch.long)
    for review in range(count):
        length = 6 + below(LONGEST - 5)
        ids[review, :length] = torch.randint(1, 1 + len(PLAIN.split()), (length,), generator=generator)
        places[review] = below(length)
        ids[review, places[review]] = WORDS.index((GOOD if labels[review] else BAD).split()[below(4)])
    return ids, labels, places


class Reader(nn.Module):
    """Looks at every word and its neighbours, and answers with one logit."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.words = nn.Embedding(len(WORDS), width, padding_idx=0)
        self.phrases = nn.Conv1d(width, width, 3, padding=1)
        self.head = nn.Linear(width, 1)

    def forward(self, ids: Tensor) -> Tensor:
        """Return (N, 1) logits of token ids (N, T)."""
        logits: Tensor = self.head(self.phrases(self.words(ids).transpose(1, 2)).relu().amax(2))
        return logits


def trained(ids: Tensor, labels: Tensor) -> nn.Module:
    """Train a network."""
    torch.manual_seed(0)
    network = Reader()
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(15):
        for batch in torch.randperm(len(ids)).split(50):
            loss = F.binary_cross_entropy_with_logits(network(ids[batch])[:, 0], labels[batch].float())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network.eval()


def share_on_the_word(relevance: Tensor, places: Tensor) -> Tensor:
    """Return which share of the positive relevance (N, T) lies at ``places`` (N,), for each review."""
    positive = relevance.clamp(min=0)
    return positive.gather(1, places[:, None])[:, 0] / positive.sum(1)


def main() -> None:
    """Train, explain, and show."""
    network = trained(*reviews(600, seed=0)[:2])
    ids, labels, places = reviews(100, seed=1)
    print(f"accuracy {float(((network(ids)[:, 0] > 0) == labels).float().mean()):.2f}")
    good = labels == 1
    explainer = LRP(network, rule="gamma", max_pool="winner")
    relevance, sums = explainer.attribute(ids[good], target=1, return_sums=True)
    print(f"gap {float((relevance.sum(1) - sums['output']).abs().max()):.0e}")
    print(f"share of the positive relevance on the word {float(share_on_the_word(relevance, places[good]).mean()):.2f}")
    for review, shares in zip(ids[good][:4].tolist(), relevance[:4].tolist(), strict=True):
        print(" ".join(f"{WORDS[word]}({share:.2f})" for word, share in zip(review, shares, strict=True) if word))


if __name__ == "__main__":
    main()
