"""What holds for every file in conf/explainer."""

import copy
import io
import multiprocessing
import pickle
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from changes import CHANGES, Change, plain_network
from explainer_configs import NAMES, build, configuration, distinct_methods
from hydra.utils import instantiate
from small_networks import seeded_images, small_network
from torch import Tensor, nn

from relsplit.errors import InputError

HOOKS = [name for name in vars(nn.Module()) if "hooks" in name]
METHODS = distinct_methods()
AGAINST_OTHERS = ("abs_lrp", "class_competition", "contrastive_lrp", "softmax_gradient_lrp")
"""Set one class against the others."""


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
    bad: list[tuple[Tensor, Tensor | int | None]] = [(images[:0], None), (broken, 0)]
    if name not in ("center", "one_pixel", "random"):  # which map whatever has places: signals and tokens, too
        bad += [(images[0], 0), (images.long(), 0)]
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


def same(found: Tensor, expected: Tensor) -> None:
    """As different as the order of sums makes it."""
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8 * float(expected.abs().max()))


def attempt(action: Callable[[], Tensor]) -> Tensor | None:
    """What an explainer returns; None where it refuses the network in one line."""
    try:
        return action()
    except InputError:
        return None


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
@pytest.mark.parametrize("name", METHODS)
def test_the_network_that_answers_is_the_one_explained(name: str, change: Change) -> None:
    network, images = small_network(name), seeded_images(2)
    if not change.fits(network):
        pytest.skip("the network has no such layer")
    plain = plain_network(change, network)
    change.prepare(network)
    explainer = build(name, network)
    with torch.no_grad():
        before = network(images)
    if (first := attempt(lambda: explainer.attribute(images, 1))) is not None:
        assert first.isfinite().all()
    change.apply(network)
    with torch.no_grad():
        answer = network(images)
        assert not torch.allclose(answer, before)
        torch.testing.assert_close(answer, plain(images))

    found = attempt(lambda: explainer.attribute(images, 1))
    expected = attempt(lambda: build(name, plain).attribute(images, 1))
    if expected is not None:
        assert found is not None
        same(found, expected)
    if found is not None:
        same(found, build(name, network).attribute(images, 1))


def guarded(network: nn.Module, forward: Callable[[Any, Tensor], Tensor]) -> nn.Module:
    """The network, whose forward pass is given what ``forward`` makes of the images."""
    kind = type(network)
    network.__class__ = type(kind.__name__, (kind,), {"forward": lambda self, x: kind.forward(self, forward(self, x))})
    return network


def by_type(_network: Any, images: Tensor) -> Tensor:
    return images * 2 if type(images) is Tensor else images


def by_attempt(_network: Any, images: Tensor) -> Tensor:
    try:
        factor = 2 if float(images.detach().sum()) < float("inf") else 1
    except Exception:
        factor = 1
    return images * factor


def by_mode(network: Any, images: Tensor) -> Tensor:
    return images if network.training else images * 2


@pytest.mark.parametrize("guard", [by_type, by_attempt, by_mode])
@pytest.mark.parametrize("name", METHODS)
def test_the_arm_that_the_network_takes_is_explained(name: str, guard: Any) -> None:
    images = seeded_images(2)
    network = guarded(small_network(name), guard)
    plain = guarded(small_network(name), lambda _, images: images * 2)
    torch.testing.assert_close(network(images), plain(images))
    network.train()
    found = attempt(lambda: build(name, network).attribute(images, 1))
    expected = attempt(lambda: build(name, plain).attribute(images, 1))
    if found is not None and expected is not None:
        same(found, expected)


@pytest.mark.parametrize("name", METHODS)
def test_a_network_that_asks_for_the_gradient_mode_is_explained_as_it_answers_without_or_refused(name: str) -> None:
    images = seeded_images(2)
    network = guarded(small_network(name), lambda _, images: images * 2 if torch.is_grad_enabled() else images)
    with torch.no_grad():
        found = attempt(lambda: build(name, network).attribute(images, 1))
    if found is not None:
        same(found, build(name, small_network(name)).attribute(images, 1))


@pytest.mark.parametrize("name", METHODS)
def test_threads_share_an_explainer_and_the_network(name: str) -> None:
    network, images = small_network(name), seeded_images(8)
    explainer = build(name, network)
    alone = [explainer.attribute(images[i : i + 1], i % 5) for i in range(8)]
    with torch.no_grad():
        answer = network(images)
    done = threading.Event()
    state_before = {key: value.clone() for key, value in network.state_dict().items()}

    def predict() -> int:
        count = 0
        with torch.no_grad():
            while not done.is_set() or not count:
                torch.testing.assert_close(network(images), answer, rtol=0, atol=0)
                count += 1
        return count

    def explain(i: int) -> Tensor:
        # Some make an explainer of their own meanwhile.
        mine = build(name, network) if i % 4 == 0 else explainer
        result: Tensor = mine.attribute(images[i : i + 1], i % 5)
        return result

    with ThreadPoolExecutor(10) as pool:
        predicting = [pool.submit(predict) for _ in range(2)]
        try:
            together = list(pool.map(explain, range(8)))
        finally:
            done.set()
        assert all(each.result() for each in predicting)
    for found, expected in zip(together, alone, strict=True):
        same(found, expected)
    assert all(torch.equal(value, state_before[key]) for key, value in network.state_dict().items())


def through_a_file(explainer: Any) -> Any:
    content = io.BytesIO()
    torch.save(explainer, content)
    content.seek(0)
    return torch.load(content, weights_only=False)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e)), through_a_file])
@pytest.mark.parametrize("name", METHODS)
def test_an_explainer_can_be_copied_and_stored(name: str, way: Callable[[Any], Any]) -> None:
    network, images = small_network(name), seeded_images(1)
    explainer = build(name, network)
    again = way(explainer)  # before it has been used
    expected = explainer.attribute(images, 1)
    same(again.attribute(images, 1), expected)
    same(way(explainer).attribute(images, 1), expected)


def explained_elsewhere(content: bytes) -> list[Any]:
    torch.set_num_threads(1)
    found = []
    for stored in pickle.loads(content):
        try:
            found.append(pickle.loads(stored).attribute(seeded_images(1), 1).numpy())
        except Exception as error:
            found.append(repr(error))
    return found


def test_spawned_workers_can_use_every_explainer() -> None:
    explainers = [build(name, small_network(name)) for name in METHODS]
    stored = []
    for name, explainer in zip(METHODS, explainers, strict=True):
        try:
            stored.append(pickle.dumps(explainer))
        except Exception as error:
            raise AssertionError(f"{name} cannot be pickled") from error
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(explained_elsewhere, (pickle.dumps(stored),))
    for name, explainer, result in zip(METHODS, explainers, found, strict=True):
        assert not isinstance(result, str), (name, result)
        same(torch.from_numpy(result), explainer.attribute(seeded_images(1), 1))


class Flat(nn.Module):
    """One score an image."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)[:, 0]


@pytest.mark.parametrize("name", METHODS)
def test_one_logit_speaks_for_two_classes(name: str) -> None:
    network, images = small_network(name), seeded_images(3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network.fc = nn.Linear(16, 1).double()
        nn.init.zeros_(network.fc.bias)
    with torch.no_grad():
        network.fc.bias.sub_(network(images)[:, 0].sort().values[:2].mean())  # both classes are predicted
        predicted = (network(images)[:, 0] > 0).long()
    explainer = build(name, network)
    if name in AGAINST_OTHERS:
        with pytest.raises(InputError, match="one number for two"):
            explainer.attribute(images, 1)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a logit is nothing to be said
        warnings.filterwarnings("ignore", "LRP: no position speaks for the class")  # that there is no evidence is
        maps = [explainer.attribute(images, target) for target in (0, 1)]
    chosen = torch.stack(maps)[predicted, torch.arange(3)]
    same(explainer.attribute(images), chosen)
    assert all(each.isfinite().all() for each in maps)
    if explainer.forward_equivalents:
        with pytest.raises(InputError, match=r"\[0, 1\]"):
            explainer.attribute(images, 2)
    network.fc = Flat(network.fc)
    same(build(name, network).attribute(images, 1), maps[1])


@pytest.mark.parametrize("end", [nn.Softmax(dim=1), nn.Sigmoid()], ids=["softmax", "sigmoid"])
@pytest.mark.parametrize("name", METHODS)
def test_probabilities_are_used_as_such_and_said_once(name: str, end: nn.Module) -> None:
    network, images = small_network(name), seeded_images(2)
    network.fc = nn.Sequential(network.fc, end)
    explainer = build(name, network)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = [attempt(lambda: explainer.attribute(images, 1)) for _ in range(2)]
    said_of_it = [each for each in said if "used as probabilities" in str(each.message)]
    if found[0] is not None and explainer.forward_equivalents and name != "abn":  # whose map is of no class
        assert len(said_of_it) == 1, [str(each.message) for each in said]
        assert found[1] is not None
        assert torch.equal(found[0], found[1])
