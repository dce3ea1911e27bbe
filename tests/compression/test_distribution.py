"""How zeros are spread over layers."""

import numpy as np
import pytest

from tests.compression.test_bridge import small
from tfkd import compression
from tfkd.compression._distribution import DISTRIBUTIONS, allocate_sparsity

RNG = np.random.default_rng(0)
KERNELS = {
    "stem": [RNG.normal(0, 0.5, (3, 3, 1, 8))],
    "conv": [RNG.normal(0, 0.1, (3, 3, 8, 64))],
    "dense": [RNG.normal(0, 0.2, (64, 10))],
}


def total(shares, kernels=KERNELS):
    sizes = {name: sum(weight.size for weight in weights) for name, weights in kernels.items()}
    return sum(shares[name] * size for name, size in sizes.items()) / sum(sizes.values())


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.8, 0.98])
def test_together_layers_have_the_sparsity_that_was_asked_for(distribution, sparsity):
    shares = allocate_sparsity(KERNELS, sparsity, distribution)
    assert list(shares) == list(KERNELS)
    assert all(0 <= share < 1 for share in shares.values())
    assert total(shares) == pytest.approx(sparsity, abs=1e-3)


def test_erdos_renyi_densities_by_hand():
    """Kept weights go by the sums of sides: 15, 78 and 74 of kernels of 72, 4,608 and 640 weights."""
    assert allocate_sparsity(KERNELS, 0.8, "erk")["stem"] == 0
    left = 0.2 * (72 + 4608 + 640) - 72
    for name, sides, size in (("conv", 78, 4608), ("dense", 74, 640)):
        kept = min(1.0, left * sides / (78 + 74) / size)
        assert allocate_sparsity(KERNELS, 0.8, "erk")[name] == pytest.approx(1 - kept)
    # Where the small ones are dense, the last has all the zeros.
    assert allocate_sparsity(KERNELS, 0.5, "erk") == pytest.approx(
        {"stem": 0, "dense": 0, "conv": 0.5 * (72 + 4608 + 640) / 4608}
    )


def test_layer_adaptive_scores_by_hand():
    """Squares 1, 4, 4, 16 score 1/25, 4/24, 4/20 and 1; squares 9, 16 score 9/25 and 1."""
    kernels = {"a": [np.array([[-2.0, 1.0], [4.0, 2.0]])], "b": [np.array([[3.0, -4.0]])]}
    for removed, shares in ((1, (0.25, 0)), (2, (0.5, 0)), (3, (0.75, 0)), (4, (0.75, 0.5))):
        expected = dict(zip("ab", shares, strict=True))
        assert allocate_sparsity(kernels, removed / 6, "lamp") == pytest.approx(expected)


def test_layer_adaptive_shares_do_not_depend_on_the_scale_of_a_layer():
    scaled = {**KERNELS, "conv": [100 * KERNELS["conv"][0]]}
    assert allocate_sparsity(scaled, 0.8, "lamp") == pytest.approx(allocate_sparsity(KERNELS, 0.8, "lamp"))
    assert allocate_sparsity({**KERNELS, "dense": [np.zeros((64, 10))]}, 0.8, "lamp")["dense"] < 1


def test_what_is_zero_goes_first_and_nearly_everything_can_go():
    half = np.array([[0.0, 0.0, 0.0, 1.0, 2.0, 3.0]])
    assert allocate_sparsity({"a": [half], "b": [half[:, 3:]]}, 3 / 9, "lamp") == {"a": 0.5, "b": 0.0}
    shares = allocate_sparsity(KERNELS, 0.9999, "lamp")
    assert all(share == 1 - 1 / KERNELS[name][0].size for name, share in shares.items())
    compression.prune(small(), 0.9999, (0, 0), distribution="lamp")


@pytest.mark.parametrize("distribution", ["erk", "lamp"])
def test_a_pruned_model_has_each_layers_share(distribution):
    model = small()
    student = compression.prune(model, 0.7, (0, 0), distribution=distribution)
    student(np.zeros((2, *model.input_shape[1:]), "float32"), training=True)
    stripped = compression.strip(student)
    kernels = {
        layer.name: [layer.kernel.numpy()] for layer in model._flatten_layers() if hasattr(layer, "kernel")
    }
    shares = allocate_sparsity(kernels, 0.7, distribution)
    assert len({round(share, 2) for share in shares.values()}) > 1
    for name, share in shares.items():
        zeros = np.mean(stripped.get_layer(name).kernel.numpy() == 0)
        assert zeros == pytest.approx(share, abs=1 / kernels[name][0].size)
    assert compression.sparsity(stripped) == pytest.approx(0.7, abs=0.01)


def test_bad_input():
    with pytest.raises(ValueError, match="lamp"):
        compression.prune(small(), 0.5, distribution="lamb")
    with pytest.raises(TypeError, match="distribution"):
        compression.prune(small(), 0.5, distribution=None)
    for sparsity in (-0.5, 1.0):
        with pytest.raises(ValueError, match="sparsity"):
            allocate_sparsity(KERNELS, sparsity)
    with pytest.raises(ValueError, match="kernels"):
        allocate_sparsity({}, 0.5)
    with pytest.raises(ValueError, match="distribution"):
        compression.prune(small(), m_by_n=(2, 4), distribution="erk")
