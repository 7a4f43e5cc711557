"""Whether the code that a configuration names takes the arguments that it gives; it is imported for that."""

from relsplit.bench.configuration.folders import is_to_be_trained
from relsplit.bench.configuration.parts import imported
from relsplit.bench.configuration.settings import Conservation, Explain, Settings
from relsplit.options import check_options


def check_code(settings: Settings) -> None:
    """Check the arguments of everything that the configuration names and the task uses.

    Raises:
        InputError: something cannot be imported, or does not take an argument or its value.
    """
    settings.explainer.check("explainer")
    settings.map.check("map")
    for group, parts in (("protocol", settings.protocol), ("metric", settings.metric)):
        for name, part in parts.items():
            part.check(f"{group}.{name}")
    settings.dataset.catalogue.check("dataset.catalogue")
    settings.dataset.transform.check("dataset.transform")
    imported(settings.model.import_path, "model._target_")
    trains_at_most = isinstance(settings.task, Explain | Conservation)  # then Lightning is only for a missing network
    if not trains_at_most or is_to_be_trained(settings):
        _check_training(settings)


def _check_training(settings: Settings) -> None:
    trainer = settings.trainer
    if settings.dataset.datamodule is not None:
        settings.dataset.datamodule.check("dataset.datamodule")
    check_options(imported("pytorch_lightning.Trainer", "trainer"), trainer.lightning_arguments(), "trainer.")
    trainer.optimizer.check("trainer.optimizer")
    if trainer.lr_scheduler is not None:
        trainer.lr_scheduler.scheduler.check("trainer.lr_scheduler.scheduler")
    if trainer.module is not None:
        trainer.module.check("trainer.module")
