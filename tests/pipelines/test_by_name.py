"""Losses, optimizers and schemes by name, with options as they are typed."""

import keras
import pytest

from tfkd import losses
from tfkd.pipelines._by_name import known_losses, known_optimizers, losses_named, optimizer_named
from tfkd.pipelines._schemes import SCHEMES, options_in_words, scheme_named


def test_losses_with_options_behind_colons():
    soft, hint, plain = losses_named(
        ["soft_targets:temperature=2.5, hint:teacher_layer=a:input:student_layer=b:projector=true", "dist"]
    )
    assert isinstance(soft, losses.SoftTargets) and soft.temperature == 2.5
    assert (hint.teacher_layer, hint.student_layer, hint.projector is not None) == ("a:input", "b", True)
    assert isinstance(plain, losses.DIST)
    given = losses.SoftTargets(3.0)
    assert losses_named(given) == losses_named([given]) == [given]
    assert losses_named(None) is losses_named([]) is None


def test_losses_in_json():
    fsp, weighted = losses_named(
        '[{"name": "fsp", "teacher_layer": ["a", "b"], "student_layer": ["c", "d"]},'
        '{"name": "weighted_teachers", "loss": {"name": "soft_targets", "temperature": 4},'
        '"teachers": ["x", "y"]}]'
    )
    assert fsp.teacher_layer == ["a", "b"] and fsp.student_layer == ["c", "d"]
    assert isinstance(weighted, losses.WeightedTeachers) and weighted.parts[0].temperature == 4


def test_every_loss_that_needs_nothing_is_made_by_name():
    made = 0
    for name in known_losses():
        try:
            (loss,) = losses_named(name)
        except ValueError as error:
            # Says what it needs.
            assert f"`losses`: loss {name!r}" in str(error)
        else:
            made += type(loss) is known_losses()[name]
    assert made > 25


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("soft_target", "Unknown loss in `losses` 'soft_target'. Did you mean 'soft_targets'"),
        (
            "soft_targets:temprature=4",
            "option of loss 'soft_targets' 'temprature'. Did you mean 'temperature'",
        ),
        ("soft_targets:temperature=0", "`losses`: loss 'soft_targets': `temperature` must be above 0"),
        ("soft_targets:4", "`losses` must be name:key=value:key=value. Received: 'soft_targets:4'"),
        ("fsp", "loss 'fsp' needs teacher_layer and student_layer, as in fsp:teacher_layer=...:student"),
        ('{"name": "hint"', "`losses` is not valid JSON"),
        ('{"loss": "hint"}', "JSON must be"),
        ("[3]", "JSON must be"),
    ],
)
def test_losses_that_are_refused(typed, message):
    with pytest.raises(ValueError) as error:
        losses_named(typed)
    assert message in str(error.value)


def test_optimizers():
    sgd = optimizer_named("sgd:momentum=0.9:nesterov=true", 0.1)
    assert isinstance(sgd, keras.optimizers.SGD)
    assert (sgd.momentum, sgd.nesterov, float(sgd.learning_rate)) == (0.9, True, pytest.approx(0.1))
    assert {"adam", "adamw", "rmsprop", "sgd"} <= set(known_optimizers())
    for name in known_optimizers():
        assert isinstance(optimizer_named(name, 0.1), keras.optimizers.Optimizer)
    for typed, message in (
        ("adm", "Did you mean 'adam'"),
        ("adam:beta=1", "Did you mean 'beta_"),
        ("adam:learning_rate=1", "set the learning rate by `learning_rate`"),
    ):
        with pytest.raises(ValueError, match=message):
            optimizer_named(typed, 0.1)


def test_schemes_have_options_of_their_own():
    assert scheme_named("generations", ["generations=2", "tolerance=0.5"]).tolerance == 0.5
    assert scheme_named("self", ["exits=conv1,conv2"]).exits == ("conv1", "conv2")
    assert scheme_named("ensemble", {"weights": [2, 1]}).weights == (2, 1)
    assert scheme_named("ensemble", ["weights=2,1"]).weights == (2.0, 1.0)
    assert scheme_named("eskd", ["stop_epoch=4"]).stop_epoch == 4
    assert all(f"{name}: " in options_in_words() for name, cls in SCHEMES.items() if cls.options())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("distill", [], "Unknown scheme 'distill'. Did you mean 'distil'"),
        ("assistants", ["size=0.5x"], "option of scheme 'assistants' 'size'. Did you mean 'sizes'"),
        ("assistants", {"size": ("0.5x",)}, "Did you mean 'sizes'"),
        ("distil", ["sizes=0.5x"], "Unknown option of scheme 'distil' 'sizes'"),
        ("generations", ["generations=0"], "`generations` must be an integer of at least 1"),
        ("generations", ["generations=many"], "`scheme_options`: generations must be of type int"),
        ("generations", ["k=4"], "`k` has no effect: `tolerance` is 0"),
        ("eskd", ["stop_epoch=2", "patience=5"], "`patience` has no effect: `stop_epoch` says when"),
        ("mutual", ["together"], "`scheme_options` must be key=value"),
        ("self", [], "scheme 'self' needs exits"),
    ],
)
def test_schemes_that_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        scheme_named(name, options)
