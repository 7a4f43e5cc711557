"""A network from its configuration: any importable constructor, torchvision's weights, or a checkpoint."""

from pathlib import Path

import torch
from hydra.errors import InstantiationException
from torch import nn

from relsplit.bench.configuration.parts import Named
from relsplit.bench.configuration.settings import Model, Settings
from relsplit.bench.configuration.validation import validated
from relsplit.bench.models.attention_branch import AttentionBranchNetwork
from relsplit.bench.models.checkpoint import fill, load_checkpoint, read_state_dict
from relsplit.bench.models.named_weights import named_state
from relsplit.errors import InputError


def load_model(settings: Settings, num_classes: int) -> nn.Module:
    """The network to be explained, in eval mode on the CPU, with the checkpoint of ``model``, else its weights.

    With neither, the constructor is trusted to have loaded its own; if it has not, its parameters are random, from
    ``seed``.

    Args:
        settings: reads ``model``, ``dataset.name``, ``dataset.image_size`` and ``seed``.
        num_classes: the number of classes of the dataset.

    Raises:
        InputError: nothing importable, weights that do not fit or are missing, or another number of classes.
    """
    model, network = settings.model, _construct(settings, num_classes)
    if model.checkpoint is not None:
        load_checkpoint(network, Path(model.checkpoint), made_by=training_command(settings))
    elif model.weights is not None:
        _load_weights(network, model, model.weights, new_head=False)
    _check_outputs(network, settings, num_classes)
    return network.eval()


def initial_model(settings: Settings, num_classes: int) -> nn.Module:
    """The network that training starts from: seeded random parameters, then ``model.weights`` if given.

    Parameters that differ from the weights in the number of classes only keep their random values.

    Args:
        settings: reads ``model``, ``dataset.image_size`` and ``seed``.
        num_classes: the number of classes of the dataset.

    Raises:
        InputError: as :func:`load_model`.
    """
    network = _construct(settings, num_classes)
    if settings.model.weights is not None:
        _load_weights(network, settings.model, settings.model.weights, new_head=True)
    _check_outputs(network, settings, num_classes)
    return network.train()


def number_of_outputs(settings: Settings) -> int:
    """Return how many classes the configured network has, where nobody says how many there are.

    ``model.num_classes`` says it, or what the constructor makes. Where that is to be as many as the dataset has, the
    checkpoint's last parameter, which is the last layer's, has an entry for each.

    Args:
        settings: see :func:`load_model`.

    Raises:
        InputError: the network cannot be built, or nothing says it.
    """
    count, model = 0, settings.model
    if _has_as_many_classes_as_the_dataset(model):
        if model.checkpoint is None:
            raise InputError(f"model={model.name} has as many classes as its dataset: say model.num_classes=N")
        state = read_state_dict(Path(model.checkpoint), made_by=training_command(settings))
        count = next((len(value) for value in reversed(state.values()) if value.ndim > 0), 0)
    return int(_blank_answer(_construct(settings, count), settings).shape[1])


def training_command(settings: Settings) -> str:
    """The command line that trains the configured model on the configured dataset."""
    return f"relsplit task=train dataset={settings.dataset.name} model={settings.model.name} seed={settings.seed}"


def _has_as_many_classes_as_the_dataset(model: Model) -> bool:
    return "num_classes" in model.arguments and model.arguments["num_classes"] is None


def _construct(settings: Settings, num_classes: int) -> nn.Module:
    """Random parameters follow from ``seed``, so that a network without weights is the same in every run."""
    model = settings.model
    classes = {"num_classes": num_classes} if _has_as_many_classes_as_the_dataset(model) else {}
    target = model.import_path
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network = model.build("model", **classes)
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, InputError):
            raise cause from None
        raise InputError(
            f"model._target_={target}: cannot be built ({' '.join(str(cause).split())}); "
            "check the import path and the model.* arguments"
        ) from error
    if not isinstance(network, nn.Module):
        raise InputError(
            f"model._target_={target}: makes a {type(network).__name__}; name something that makes a torch.nn.Module"
        )
    return network


def _load_weights(network: nn.Module, model: Model, weights: str, new_head: bool) -> None:
    """Fill with ``model.weights``: a file, or a name that torchvision or timm knows for ``model._target_``.

    To start training, a network with an attention branch takes those of its backbone.
    """
    if Path(weights).is_file():
        load_checkpoint(network, Path(weights), new_head=new_head)
        return
    backbone = model.arguments.get("backbone")
    if new_head and isinstance(network, AttentionBranchNetwork) and backbone is not None:
        state = network.completed(named_state(validated(Named, backbone, "model.backbone."), weights))
    else:
        state = named_state(model, weights)
    fill(network, state, source=f"model.weights={weights}", new_head=new_head)


def _check_outputs(network: nn.Module, settings: Settings, num_classes: int) -> None:
    shape = tuple(_blank_answer(network, settings).shape)
    if shape != (1, num_classes):
        raise InputError(
            f"model={settings.model.name}: answers one image with {shape}, but dataset={settings.dataset.name} has "
            f"{num_classes} classes, so (1, {num_classes}) is needed; choose another model= or dataset=, or, where the "
            "dataset has some of the network's classes, name all of these in order with dataset.class_names=FILE"
        )


def _blank_answer(network: nn.Module, settings: Settings) -> torch.Tensor:
    """The answer to one blank image, because only that tells the number of outputs of any network."""
    size = int(settings.dataset.image_size)
    training = network.training
    try:
        with torch.no_grad():
            outputs = network.eval()(torch.zeros(1, 3, size, size))
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise InputError(
            f"model={settings.model.name}: fails on a {size}x{size} image ({str(error).splitlines()[0]}); "
            "check dataset.image_size and the model.* arguments"
        ) from error
    finally:
        network.train(training)
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2:
        shape = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else f"a {type(outputs).__name__}"
        raise InputError(
            f"model={settings.model.name}: answers one image with {shape} instead of scores (1, classes): choose "
            "another"
        )
    return outputs
