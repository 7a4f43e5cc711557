"""Explain token ids: short reviews, most of which hold one word that says whether they are good or bad.

``python examples/explain_a_text.py`` trains a network on them in seconds, prints which share of the positive relevance
lies on that word, and shows reviews on the colours of their relevance: in the terminal, and as a page.

There are three kinds of reviews. Were all of them good or bad, a network could learn one kind and call the rest the
other: its evidence would be that nothing is said, and that lies in no word.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relsplit import LRP
from relsplit.pictures import tokens_html, tokens_terminal

PLAIN = "the a film story actor music scene ending was is seemed and but with of some very rather quite long short new"
GOOD = "wonderful superb moving brilliant"
BAD = "dreadful boring awful clumsy"
WORDS = ["<pad>", *PLAIN.split(), *GOOD.split(), *BAD.split()]
LONGEST = 12
KINDS = ("bad", "neutral", "good")


def reviews(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw reviews (N, T) with padding behind shorter ones, their kinds (N,), and where a word says so (N,)."""
    generator = torch.Generator().manual_seed(seed)

    def below(stop: int) -> int:
        return int(torch.randint(stop, (), generator=generator))

    labels = torch.arange(count) % len(KINDS)
    ids, places = torch.zeros(count, LONGEST, dtype=torch.long), torch.zeros(count, dtype=torch.long)
    for review in range(count):
        length = 6 + below(LONGEST - 5)
        ids[review, :length] = torch.randint(1, 1 + len(PLAIN.split()), (length,), generator=generator)
        places[review] = below(length)
        said = {"bad": BAD, "neutral": PLAIN, "good": GOOD}[KINDS[int(labels[review])]].split()
        ids[review, places[review]] = WORDS.index(said[below(len(said))])
    return ids, labels, places


class Reader(nn.Module):
    """Looks at every word and its neighbours; words begin with small vectors, as in BERT and GPT-2.

    With PyTorch's own, a hundred times as large, those of plain words stay as they are drawn. They then say something
    at random that other features take back, and what speaks for a class is everywhere.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.words = nn.Embedding(len(WORDS), width, padding_idx=0)
        self.phrases = nn.Conv1d(width, width, 3, padding=1)
        self.head = nn.Linear(width, len(KINDS))
        with torch.no_grad():
            self.words.weight *= 0.02

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits (N, 3) of token ids (N, T)."""
        logits: Tensor = self.head(self.phrases(self.words(ids).transpose(1, 2)).relu().mean(2))
        return logits


def trained(ids: Tensor, labels: Tensor) -> nn.Module:
    """Train a network."""
    torch.manual_seed(0)
    network = Reader()
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(20):
        for batch in torch.randperm(len(ids)).split(50):
            loss = F.cross_entropy(network(ids[batch]), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network.eval()


def share_on_the_word(relevance: Tensor, places: Tensor) -> Tensor:
    """Return which share of the positive relevance (N, T) lies at ``places`` (N,), for each review."""
    positive = relevance.clamp(min=0)
    return positive.gather(1, places[:, None])[:, 0] / positive.sum(1)


def main(page: Path) -> None:
    """Train, explain, and show."""
    network = trained(*reviews(900, seed=0)[:2])
    ids, labels, places = reviews(300, seed=1)
    found = network(ids).argmax(1)
    print(f"accuracy on held-out reviews {float((found == labels).float().mean()):.2f}")
    said = (found == labels) & (labels != KINDS.index("neutral"))
    relevance, sums = LRP(network).attribute(ids[said], labels[said], return_sums=True)
    print(f"gap {float((relevance.sum(1) - sums['output']).abs().max()):.0e}")
    print(f"share of the positive relevance on the word {float(share_on_the_word(relevance, places[said]).mean()):.2f}")
    paragraphs = []
    for review, label, shares in zip(ids[said][:3], labels[said], relevance, strict=False):
        words = [WORDS[word] for word in review if word]
        print(f"{KINDS[label]:>5}: {tokens_terminal(words, shares[: len(words)])}")
        paragraphs.append(f"<p>{KINDS[label]}, because</p>{tokens_html(words, shares[: len(words)])}")
    mixed = ["the", "music", "was", "brilliant", "but", "the", "story", "was", "boring"]
    explainer = LRP(network, rule="epsilon", start="logit")
    (shares,) = explainer.attribute(torch.tensor([[WORDS.index(word) for word in mixed]]), KINDS.index("good"))
    print(f"mixed: {tokens_terminal(mixed, shares)}")
    paragraphs.append(f"<p>mixed: what speaks for good, and what against it</p>{tokens_html(mixed, shares)}")
    page.write_text("\n".join(paragraphs), encoding="utf-8")
    print(page)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, default=Path("text.html"))
    main(parser.parse_args().page)
