"""Recipe: a relevance splitting. ``python examples/energy_splitting.py`` evaluates it on the demo.

In the project this file is ``src/relsplit/lrp/splitting/energy.py``, and ``conf/split/energy.yaml`` says
``split: energy``. From outside the project the configuration names the class.
"""

from torch import Tensor

from relsplit.lrp.splitting import SPLITTINGS


@SPLITTINGS.register("energy")
class Energy:
    """``R_s = R h_s^2 / (h_s^2 + h_m^2)`` elementwise; an even split where both are zero."""

    conserves = True

    def share(self, skip: Tensor, branch: Tensor) -> Tensor:
        """Return the skip connection's share, in [0, 1]; the branch receives the rest."""
        total = skip.square() + branch.square()
        return (skip.square() / total).masked_fill(total == 0, 0.5)


if __name__ == "__main__":
    import sys

    from command_line import run

    run("explainer=ours", "split=energy", *sys.argv[1:])
