"""Every loss of the registry keeps the contract that `tfkd.testing.check_loss` holds losses to."""

import functools
import inspect
import re

import numpy as np
import pytest

from tests.losses import oracles
from tests.losses.methods import LABELS, LOGITS, METHODS, labels_like
from tfkd import losses
from tfkd._core import names
from tfkd.testing import LOSS_CLAUSES, check_loss

CASES = [(name, case) for name, method in METHODS.items() for case in method.shapes]
FUNCTIONS = {name: getattr(losses, name) for name in losses.__all__ if name.islower()}
SEQUENCE = (4, 6, 5)
SEQUENCES = [name for name, method in METHODS.items() if not method.no_sequences]


def only(*clauses):
    return set(LOSS_CLAUSES) - set(clauses)


def check(method, values, leave_out):
    teacher, student = values
    labels = None if method.at else labels_like(teacher)
    oracle = None if method.trained else functools.partial(method.oracle, **method.other)
    check_loss(
        method.make(**method.other),
        teacher,
        student,
        labels=labels,
        index=np.arange(len(student)),
        oracle=oracle,
        leave_out={*leave_out, *method.leave_out, *method.never},
    )


def test_the_registry_is_complete():
    known = names.members(losses, losses.KnowledgeLoss, keep=lambda cls: cls is not losses.FeatureLoss)
    assert known.keys() <= METHODS.keys()
    # What is around other losses, and what helps them.
    others = {"as_float32", "as_float32_pair", "confidence_of_teacher", "with_rotations", "within"}
    functions = FUNCTIONS.keys() - others
    # One word for a method: its class, its function, its line here and its oracle.
    assert functions == known.keys() - {"paraphrasing", "confidence_weighted"}
    assert all(hasattr(oracles, name) for name in functions)
    assert all(isinstance(METHODS[name].make(), cls) for name, cls in known.items())


@pytest.mark.parametrize(("name", "case"), CASES)
def test_functions(name, case):
    method = METHODS[name]
    # The logarithm of a score of 0 is infinite.
    leave_out = {"compiled", *method.never} | ({"extremes"} if method.positive else set())
    check_loss(method.function, *method.values(case), oracle=method.oracle, leave_out=leave_out)


@pytest.mark.parametrize("name", METHODS)
def test_losses(name):
    method = METHODS[name]
    check(method, method.inputs(), {"compiled"})


@pytest.mark.xla
@pytest.mark.parametrize("name", [name for name in METHODS if "compiled" not in METHODS[name].leave_out])
def test_losses_in_a_graph_and_under_xla(name):
    method = METHODS[name]
    check(method, method.inputs(), only("compiled"))


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences(name):
    method = METHODS[name]
    check(method, method.inputs(SEQUENCE), only("precision", "values", "padding"))


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].itself is not None])
def test_nothing_to_learn_from_itself(name):
    method = METHODS[name]
    same, _ = method.values(seed=3)
    np.testing.assert_allclose(method.function(same, same), method.itself, atol=2e-5)


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].shapes in (LOGITS, LABELS)])
def test_logits_of_one_class_are_harmless(name):
    value = METHODS[name].function(np.ones((3, 1), "float32"), np.zeros((3, 1), "float32"))
    assert np.isfinite(value).all()


@pytest.mark.parametrize(
    "kind",
    [
        losses.VariationalInformation,
        losses.Overhaul,
        losses.PrimeAware,
        losses.MaskedGenerative,
        losses.AttentionGuided,
    ],
)
def test_several_layers_have_parts_of_their_own(kind):
    teacher, student = np.random.default_rng(0).normal(size=(2, 2, 4, 3, 3, 5)).astype("float32")
    never = METHODS[names.snake_case(kind.__name__)].never
    loss = kind(*(["a", "b"],) * 2)
    check_loss(loss, [*teacher], [*student], leave_out={"compiled", *never})


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if "  # [" in FUNCTIONS[name].__doc__])
def test_numbers_in_docstrings(name):
    """Of an example such as `>>> hint([[1.0, 2.0]], [[0.0, 0.0]])  # [2.5]`."""
    call, expected = re.search(r">>> (.*)  # \[(.*?)\]", FUNCTIONS[name].__doc__).groups()
    # Digits that are cut off, not rounded.
    atol = 10.0 ** -(len(expected.partition(".")[2]) - 3) if expected.endswith("...") else 1e-6
    received = eval(call, vars(losses))
    np.testing.assert_allclose(received, [eval(expected.removesuffix("..."))], rtol=0, atol=atol)


def test_functions_say_what_they_take():
    for name, function in FUNCTIONS.items():
        for parameter in inspect.signature(function).parameters:
            assert f"\n    {parameter}: " in inspect.getdoc(function), (name, parameter)
