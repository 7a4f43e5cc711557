"""The network that a task explains: with its weights, which are trained first where that is small work."""

from collections.abc import Sequence

from omegaconf import DictConfig
from torch import nn

from relsplit.bench.configuration.configuration import resolved
from relsplit.bench.data.catalogue import Catalogue
from relsplit.bench.explain.explanation import ConfiguredExplainer
from relsplit.bench.machine.terminal import say
from relsplit.bench.models.build import initial_model, load_model
from relsplit.bench.models.named_weights import check_preprocessing
from relsplit.bench.train.training_folder import check_trained, is_to_be_trained


def explained_network(cfg: DictConfig, catalogue: Catalogue, others: Sequence[DictConfig] = ()) -> nn.Module:
    """Load ``cfg.model``; train it first if it is one that is trained by itself and is missing or unfinished.

    Args:
        cfg: the composed configuration.
        catalogue: the dataset.
        others: configurations of further explainers of the same network.

    Raises:
        InputError: the model cannot be used, its weights expect other images, or an explainer's options are wrong.
    """
    if is_to_be_trained(cfg):
        # Here and not above: Lightning is imported where something is trained.
        from relsplit.bench.train.training import train

        # Training takes minutes: wrong options of an explainer shall show before it.
        for each in (cfg, *others):
            ConfiguredExplainer(resolved(each), initial_model(each, catalogue.num_classes).eval())
        train(cfg, waiting=True)
    check_trained(cfg)
    warning = check_preprocessing(resolved(cfg.model), resolved(cfg.dataset))
    if warning is not None:
        say(warning)
    return load_model(cfg, catalogue.num_classes)
