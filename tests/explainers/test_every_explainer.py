"""What holds for every file in conf/explainer."""

from typing import Any

import pytest
import torch
from explainer_configs import NAMES, build, configuration, distinct_methods
from hydra.utils import instantiate
from small_networks import seeded_images, small_network
from torch import Tensor, nn

from relsplit.errors import InputError

HOOKS = [name for name in vars(nn.Module()) if "hooks" in name]
METHODS = distinct_methods()


def state(network: nn.Module) -> dict[str, Any]:
    """All that an explainer could leave behind on a network."""
    found: dict[str, Any] = {}
    for name, module in network.named_modules():
        found[f"{name} attributes"] = sorted(vars(module))
        found[f"{name} mode"] = (module.training, getattr(module, "inplace", None))
        found[f"{name} hooks"] = [len(vars(module)[kind]) for kind in HOOKS if vars(module)[kind] is not None]
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        found[f"{name} tensor"] = (id(tensor), tensor.data_ptr(), tensor._version, tensor.requires_grad)
        found[f"{name} gradient"] = None if tensor.grad is None else tensor.grad.tolist()
    return found


@pytest.mark.parametrize("name", METHODS)
def test_leaves_no_state_and_does_not_depend_on_the_batch(name: str) -> None:
    network, images, target = small_network(name), seeded_images(5), torch.tensor([0, 1, 2, 3, 4])
    # Whatever the caller has set stays: train mode, frozen parameters, gradients half collected, a graph under way.
    network.train()
    next(network.parameters()).requires_grad_(False)
    network(images).sum().backward()
    pending = network(images).sum()
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    before, generator, inputs = state(network), torch.random.get_rng_state(), images.clone()

    explainer = build(name, network)
    single = torch.cat([explainer.attribute(inputs[i : i + 1], target[i : i + 1]) for i in range(5)])

    assert state(network) == before
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert torch.equal(inputs, images)
    assert not inputs.requires_grad
    assert not single.requires_grad
    pending.backward()  # raises when a weight's version has changed

    together = build(name, network.eval()).attribute(images, target)  # train mode made no difference
    torch.testing.assert_close(single, together, rtol=1e-6, atol=1e-8 * float(together.abs().max()))


@pytest.mark.parametrize("name", NAMES)
def test_map_is_deterministic_and_as_configured(name: str) -> None:
    network, images = small_network(name), seeded_images(2)
    explainer, content = build(name, network), configuration(name)
    first = explainer.attribute(images)
    assert first.shape in (images.shape, images[:, 0].shape) or (first.ndim == 3 and len(first) == len(images))
    assert first.dtype == images.dtype
    assert torch.equal(first, build(name, network).attribute(images))
    predicted = network(images).argmax(dim=1)
    assert torch.equal(first, explainer.attribute(images, predicted))
    assert content["name"] == name
    assert content["target"] in ("predicted", "label")
    maps = instantiate(content["map"])(first, (64, 64))
    assert maps.shape == (2, 64, 64)
    if content["map"]["heat_quantization"]:
        assert all(len(m.unique()) <= 8 for m in maps)
    assert isinstance(explainer.forward_equivalents, float)
    assert explainer.forward_equivalents == 0 or explainer.forward_equivalents >= 1


@pytest.mark.parametrize("name", METHODS)
def test_refuses_what_cannot_be_explained(name: str) -> None:
    explainer = build(name, small_network(name))
    images = seeded_images(2)
    broken = images.clone()
    broken[1, 0, 3, 3] = float("nan")
    bad: list[tuple[Tensor, Tensor | int | None]] = [
        (images[0], 0),
        (images.long(), 0),
        (images[:0], None),
        (broken, 0),
    ]
    if explainer.forward_equivalents:  # what does not use the network does not know its classes
        bad += [(images, 5), (images, -1), (images, torch.tensor([0, 1, 2])), (images, torch.tensor([0.5, 1.0]))]
    for inputs, target in bad:
        with pytest.raises(InputError) as caught:
            explainer.attribute(inputs, target)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", METHODS)
def test_works_where_gradients_are_off_and_sees_new_weights(name: str) -> None:
    network, images = small_network(name), seeded_images(1)
    explainer = build(name, network)
    expected = explainer.attribute(images, 1)
    with torch.inference_mode():
        torch.testing.assert_close(explainer.attribute(images, 1), expected)
    with torch.no_grad():
        network.fc.weight.mul_(-1)
        [weight for weight in network.parameters() if weight.ndim > 1][1].mul_(0.5)
    torch.testing.assert_close(explainer.attribute(images, 1), build(name, network).attribute(images, 1))
    network.float()
    assert explainer.attribute(images.float(), 1).dtype == torch.float32
