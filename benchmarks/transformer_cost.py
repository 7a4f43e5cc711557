"""What a map of a transformer costs, beside LXT's and the network's own passes, in one run.

    python benchmarks/transformer_cost.py             # ViT-B/16 (torchvision) and a GPT-2 of 12 layers (transformers)
    python benchmarks/transformer_cost.py --quick     # two layers of each
    pip install lxt "transformers<5"                  # LXT's rows, in an environment of its own

Each round times every row once, in turn, so that a busy moment of the machine meets all alike; ratios are medians over
the rounds of one row's time over the same round's forward pass, in inference mode. Memory is the peak above the loaded
network, each row in a process of its own: resident memory, on a GPU allocated memory. Random weights; images of noise
at 224x224, random tokens. The last two columns are the greatest gap between a map's sum and its start, and the
amplification, sum of |R| over |sum of R|.

``attn_lrp`` and ``cp_lrp`` are the rules of conf/explainer; LXT's row is what its ``monkey_patch`` makes of a network:
CP-LRP in the attention of the ViT, AttnLRP everywhere else. All rows explain the logit of the likeliest class, or of
the likeliest next token.
"""

import argparse
import functools
import multiprocessing
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
import torchvision
import transformers
from _measuring import add_machine, arguments, in_rounds, medians, peak_memory, ratios, use_threads
from torch import Tensor, nn

from relsplit import LRP
from relsplit.targets import NextToken

FORWARD, LXT = "forward", "LXT"
ROWS = (FORWARD, "forward + input gradient", "relsplit", "relsplit attn_lrp", "relsplit cp_lrp", LXT)
EPSILON: dict[str, Any] = {"split": "proportional", "rule": "epsilon", "input_rule": "epsilon", "stabilizer": 1e-6}
OPTIONS: dict[str, dict[str, Any]] = {
    "relsplit": {},
    "relsplit attn_lrp": EPSILON | {"attention": "attn_lrp"},
    "relsplit cp_lrp": EPSILON | {"attention": "cp_lrp"},
}
VIT, GPT2 = "vit_b_16", "gpt2"


@dataclass(frozen=True)
class Setting:
    """What is explained, and where."""

    network: str
    layers: int
    length: int
    device: str
    threads: int


def main() -> None:
    args = parse_arguments()
    threads = use_threads(args.threads)
    rows = ROWS if can_import_lxt() else tuple(row for row in ROWS if row != LXT)
    for name in args.networks:
        setting = Setting(name, args.layers, args.length, args.device, threads)
        network = build(setting)
        runs = {row: runner(row, network) for row in rows}
        where = f"{args.device}, {threads} threads, torch {torch.__version__}"
        size = f"{args.length} tokens" if name == GPT2 else "224x224"
        print(f"\n{name} of {args.layers} layers at {size}, {where}, {args.repeats} rounds", flush=True)
        for batch in args.batches:
            inputs = batch_of(batch, setting)
            seconds = in_rounds({row: functools.partial(run, inputs) for row, run in runs.items()}, args.repeats)
            median, forwards = medians(seconds), ratios(seconds, FORWARD)
            print(f"batch {batch:<19}{'ms / sample':>12}{'forwards':>10}{'lowest':>8}{'highest':>9}", end="")
            print(f"{'peak MiB':>10}{'gap':>10}{'amplified':>11}")
            for row in rows:
                memory = memory_of(row, setting, batch)
                explains = row in OPTIONS or row == LXT
                print(
                    f"{row:25}{1e3 * median[row] / batch:12.1f}{statistics.median(forwards[row]):10.2f}"
                    f"{min(forwards[row]):8.2f}{max(forwards[row]):9.2f}{memory / 2**20:10.0f}"
                    f"{quality(runs[row], network, inputs) if explains else ''}",
                    flush=True,
                )


def parse_arguments() -> argparse.Namespace:
    parser = arguments(__doc__, quick="two layers, 3 rounds")
    parser.add_argument("--networks", nargs="+", choices=(VIT, GPT2), default=[VIT, GPT2])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--length", type=int, default=128, help="tokens of a text")
    parser.add_argument("--batches", type=int, nargs="+", default=[1])
    parser.add_argument("--repeats", type=int, default=9)
    add_machine(parser)
    args = parser.parse_args()
    if args.quick:
        args.layers, args.repeats = 2, 3
    return args


def can_import_lxt() -> bool:
    try:
        import lxt.efficient  # noqa: F401
    except ImportError as error:
        print(f"without LXT, relsplit alone: {str(error).splitlines()[0]}")
        return False
    return True


def build(setting: Setting) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module
    if setting.network == GPT2:
        network = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=setting.layers, use_cache=False))
    else:
        network = vit = torchvision.models.VisionTransformer(224, 16, setting.layers, 12, 768, 3072)
        nn.init.normal_(vit.heads.head.weight, std=0.02)  # torchvision's starts from 0, so that all scores are 0
    return network.eval().to(setting.device)


def batch_of(batch: int, setting: Setting) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    if setting.network == GPT2:
        return torch.randint(0, 50257, (batch, setting.length), generator=generator).to(setting.device)
    return torch.randn(batch, 3, 224, 224, generator=generator).to(setting.device)


def runner(row: str, network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return what makes a map (N, 3, H, W) or (N, T) of a batch, or the network's output."""
    if row == FORWARD:
        return torch.inference_mode()(lambda inputs: scores_of(network, inputs))
    if row in OPTIONS:
        target = NextToken() if is_language_model(network) else None
        return functools.partial(LRP(network, start="logit", **OPTIONS[row]).attribute, target=target)
    return functools.partial(lxt_relevance if row == LXT else input_times_gradient, network)


def is_language_model(network: nn.Module) -> bool:
    return isinstance(network, transformers.PreTrainedModel)


def scores_of(network: nn.Module, inputs: Tensor, **given: Tensor) -> Tensor:
    """The scores (N, classes), of a text's next token."""
    output: Any = network(**(given or {"input_ids": inputs})) if is_language_model(network) else network(inputs)
    scores: Tensor = output.logits[:, -1] if is_language_model(network) else output
    return scores


def input_times_gradient(network: nn.Module, inputs: Tensor) -> Tensor:
    # Without the weights' gradients, as the other rows.
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    try:
        if is_language_model(network):
            vectors = network.get_input_embeddings()(inputs).requires_grad_()  # type: ignore[operator]
            scores = scores_of(network, inputs, inputs_embeds=vectors)
        else:
            vectors = inputs.clone().requires_grad_()
            scores = scores_of(network, vectors)
        (gradient,) = torch.autograd.grad(scores.amax(1).sum(), vectors)
    finally:
        for parameter in network.parameters():
            parameter.requires_grad_(True)
    relevance: Tensor = gradient * vectors.detach()
    return relevance.sum(2) if is_language_model(network) else relevance


def lxt_relevance(network: nn.Module, inputs: Tensor) -> Tensor:
    """By LXT, which patches classes of torch and transformers: for this call only."""
    from lxt.efficient import monkey_patch
    from torchvision.models import vision_transformer
    from transformers.models.gpt2 import modeling_gpt2

    module = modeling_gpt2 if is_language_model(network) else vision_transformer
    with put_back(
        (nn.GELU, "forward"),
        (nn.LayerNorm, "forward"),
        (nn.Dropout, "forward"),
        (nn.MultiheadAttention, "forward"),
        (modeling_gpt2.GPT2MLP, "forward"),
        (modeling_gpt2, "eager_attention_forward"),
        (modeling_gpt2, "ALL_ATTENTION_FUNCTIONS"),
    ):
        monkey_patch(module)
        return input_times_gradient(network, inputs)


@contextmanager
def put_back(*places: tuple[type | ModuleType, str]) -> Iterator[None]:
    """Within, attributes may be replaced."""
    kept = [getattr(owner, name) for owner, name in places]
    try:
        yield
    finally:
        for (owner, name), value in zip(places, kept, strict=True):
            setattr(owner, name, value)


def quality(run: Callable[[Tensor], Tensor], network: nn.Module, inputs: Tensor) -> str:
    """The gap to the logit, and the amplification."""
    with torch.no_grad():
        start = scores_of(network, inputs).amax(1).double()
    relevance = run(inputs).double().flatten(1)
    gap = ((relevance.sum(1) - start) / start).abs().max()
    return f"{float(gap):10.1e}{float((relevance.abs().sum(1) / relevance.sum(1).abs()).max()):11.2f}"


def memory_of(row: str, setting: Setting, batch: int) -> int:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(peak_in_this_process, (row, setting, batch))


def peak_in_this_process(row: str, setting: Setting, batch: int) -> int:
    """Of two calls."""
    torch.set_num_threads(setting.threads)
    network, inputs = build(setting), batch_of(batch, setting)
    run = runner(row, network)
    before = peak_memory(setting.device, reset=True)
    for _ in range(2):
        run(inputs)
    return peak_memory(setting.device) - before


if __name__ == "__main__":
    main()
