"""The network that a task explains: with its weights, which are trained first where that is small work."""

from collections.abc import Sequence

from torch import nn

from relsplit.bench.configuration.folders import is_to_be_trained
from relsplit.bench.configuration.settings import Settings
from relsplit.bench.data.catalogue import Catalogue
from relsplit.bench.explain.explanation import ConfiguredExplainer
from relsplit.bench.machine.terminal import say
from relsplit.bench.models.build import initial_model, load_model
from relsplit.bench.models.named_weights import check_preprocessing
from relsplit.bench.train.unfinished import check_trained


def explained_network(settings: Settings, catalogue: Catalogue, others: Sequence[Settings] = ()) -> nn.Module:
    """Load ``model``; train it first if it is one that is trained by itself and is missing or unfinished.

    Args:
        settings: of the task.
        catalogue: the dataset.
        others: settings with further explainers of the same network.

    Raises:
        InputError: the model cannot be used, its weights expect other images, or an explainer's options are wrong.
    """
    if is_to_be_trained(settings):
        # Here and not above: Lightning is imported where something is trained.
        from relsplit.bench.train.training import train

        # Training takes minutes: wrong options of an explainer shall show before it.
        for each in (settings, *others):
            ConfiguredExplainer(each, initial_model(each, catalogue.num_classes).eval())
        train(settings, waiting=True)
    check_trained(settings)
    warning = check_preprocessing(settings.model, settings.dataset)
    if warning is not None:
        say(warning)
    return load_model(settings, catalogue.num_classes)
