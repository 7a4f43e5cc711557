"""A network from its configuration: any importable constructor, torchvision's weights, or a checkpoint."""

from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from relsplit.bench.models.attention_branch import AttentionBranchNetwork
from relsplit.bench.models.checkpoint import fill, load_checkpoint, read_state_dict
from relsplit.bench.models.named_weights import named_state
from relsplit.errors import InputError

_NOT_ARGUMENTS = {"name", "weights", "checkpoint", "train_if_missing"}
"""Keys of a model configuration that are about the network; all others are arguments of its constructor."""


def load_model(cfg: DictConfig, num_classes: int) -> nn.Module:
    """The network to be explained, in eval mode on the CPU, with ``cfg.model``'s checkpoint, else its weights.

    With neither, the constructor is trusted to have loaded its own; if it has not, its parameters are random, from
    ``cfg.seed``.

    Args:
        cfg: the whole configuration; reads ``model``, ``dataset.name``, ``dataset.image_size`` and ``seed``.
        num_classes: the number of classes of the dataset.

    Raises:
        InputError: nothing importable, weights that do not fit or are missing, or another number of classes.
    """
    network = _construct(cfg, num_classes)
    if cfg.model.checkpoint is not None:
        load_checkpoint(network, Path(cfg.model.checkpoint), made_by=training_command(cfg))
    elif cfg.model.weights is not None:
        _load_weights(network, cfg.model, new_head=False)
    _check_outputs(network, cfg, num_classes)
    return network.eval()


def initial_model(cfg: DictConfig, num_classes: int) -> nn.Module:
    """The network that training starts from: seeded random parameters, then ``cfg.model.weights`` if given.

    Parameters that differ from the weights in the number of classes only keep their random values.

    Args:
        cfg: the whole configuration; reads ``model``, ``dataset.image_size`` and ``seed``.
        num_classes: the number of classes of the dataset.

    Raises:
        InputError: as :func:`load_model`.
    """
    network = _construct(cfg, num_classes)
    if cfg.model.weights is not None:
        _load_weights(network, cfg.model, new_head=True)
    _check_outputs(network, cfg, num_classes)
    return network.train()


def number_of_outputs(cfg: DictConfig) -> int:
    """Return how many classes the configured network has, where nobody says how many there are.

    ``model.num_classes`` says it, or what the constructor makes. Where that is to be as many as the dataset has, the
    checkpoint's last parameter, which is the last layer's, has an entry for each.

    Args:
        cfg: the whole configuration; see :func:`load_model`.

    Raises:
        InputError: the network cannot be built, or nothing says it.
    """
    count = 0
    if "num_classes" in cfg.model and cfg.model.num_classes is None:
        if cfg.model.checkpoint is None:
            raise InputError(f"model={cfg.model.name} has as many classes as its dataset: say model.num_classes=N")
        state = read_state_dict(Path(cfg.model.checkpoint), made_by=training_command(cfg))
        count = next((len(value) for value in reversed(state.values()) if value.ndim > 0), 0)
    return int(_blank_answer(_construct(cfg, count), cfg).shape[1])


def training_command(cfg: DictConfig) -> str:
    """The command line that trains the configured model on the configured dataset."""
    return f"relsplit task=train dataset={cfg.dataset.name} model={cfg.model.name} seed={cfg.seed}"


def _construct(cfg: DictConfig, num_classes: int) -> nn.Module:
    """Random parameters follow from ``cfg.seed``, so that a network without weights is the same in every run."""
    model = cfg.model
    try:
        settings = OmegaConf.to_container(model, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise InputError(f"model={model.get('name')}: {error.full_key} is not set; give model.KEY=VALUE") from error
    assert isinstance(settings, dict)
    arguments: dict[str, Any] = {str(k): v for k, v in settings.items() if k not in _NOT_ARGUMENTS}
    if "num_classes" in arguments and arguments["num_classes"] is None:
        arguments["num_classes"] = num_classes
    target = arguments["_target_"]
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(cfg.seed)
            network = instantiate(arguments)
    except InstantiationException as error:
        cause = error.__cause__ or error
        raise InputError(
            f"model._target_={target}: cannot be built ({' '.join(str(cause).split())}); "
            "check the import path and the model.* arguments"
        ) from error
    if not isinstance(network, nn.Module):
        raise InputError(
            f"model._target_={target}: makes a {type(network).__name__}; name something that makes a torch.nn.Module"
        )
    return network


def _load_weights(network: nn.Module, model: DictConfig, new_head: bool) -> None:
    """Fill with ``model.weights``: a file, or a name that torchvision or timm knows for ``model._target_``.

    To start training, a network with an attention branch takes those of its backbone.
    """
    weights = str(model.weights)
    if Path(weights).is_file():
        load_checkpoint(network, Path(weights), new_head=new_head)
        return
    branched = network if new_head and isinstance(network, AttentionBranchNetwork) and "backbone" in model else None
    if branched is None:
        state = named_state(model)
    else:
        state = branched.completed(named_state({**model.backbone, "weights": weights}))
    fill(network, state, source=f"model.weights={weights}", new_head=new_head)


def _check_outputs(network: nn.Module, cfg: DictConfig, num_classes: int) -> None:
    shape = tuple(_blank_answer(network, cfg).shape)
    if shape != (1, num_classes):
        raise InputError(
            f"model={cfg.model.name}: answers one image with {shape}, but dataset={cfg.dataset.name} has "
            f"{num_classes} classes, so (1, {num_classes}) is needed; choose another model= or dataset=, or, where the "
            "dataset has some of the network's classes, name all of these in order with dataset.class_names=FILE"
        )


def _blank_answer(network: nn.Module, cfg: DictConfig) -> torch.Tensor:
    """The answer to one blank image, because only that tells the number of outputs of any network."""
    size = int(cfg.dataset.image_size)
    training = network.training
    try:
        with torch.no_grad():
            outputs = network.eval()(torch.zeros(1, 3, size, size))
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise InputError(
            f"model={cfg.model.name}: fails on a {size}x{size} image ({str(error).splitlines()[0]}); "
            "check dataset.image_size and the model.* arguments"
        ) from error
    finally:
        network.train(training)
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2:
        shape = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else f"a {type(outputs).__name__}"
        raise InputError(
            f"model={cfg.model.name}: answers one image with {shape} instead of scores (1, classes): choose another"
        )
    return outputs
