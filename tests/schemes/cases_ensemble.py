"""How schemes of several teachers train, for the contract of all schemes."""

import keras

import tfkd
from tests.conftest import small_network
from tests.schemes.cases import LABELS_LOSS, Case, Ran, Setting
from tfkd import losses
from tfkd.schemes import EnsembleTeacher


def ensemble_of(setting: Setting, **options) -> EnsembleTeacher:
    """The setting's teacher and two networks of other widths."""
    others = [small_network(width, name=f"other_{width}") for width in (4, 6)]
    return EnsembleTeacher([setting.teacher, *others], [2, 1, 1], **options)


def run_ensemble(setting: Setting) -> Ran:
    ensemble, student = ensemble_of(setting, of="probabilities"), setting.student("student")
    loss = losses.SoftTargets(4.0) if setting.loss is None else setting.loss
    if loss.teacher_layer is not None:
        # Layers belong to the members.
        loss = ensemble.per_teacher(loss)
    return _trained(tfkd.Distiller(ensemble, student, loss), setting)


def run_per_teacher(setting: Setting) -> Ran:
    ensemble, student = ensemble_of(setting), setting.student("student")
    hint = losses.Hint("conv2", "conv2", projector=True)
    kinds = [
        ensemble.per_teacher(losses.SoftTargets(4.0), "confidence"),
        ensemble.per_teacher(hint, "learned"),
        losses.RelativeDissimilarity(
            [f"{member.name}/flat" for member in ensemble.teachers], "flat", triplets=64, seed=1
        ),
    ]
    return _trained(tfkd.Distiller(ensemble, student, kinds), setting)


def _trained(distiller, setting):
    distiller.compile(keras.optimizers.Adam(1e-2), LABELS_LOSS, jit_compile=setting.jit_compile)
    history = setting.fit(distiller)
    return Ran(history, [distiller.student], distiller)


CASES = {
    "ensemble": Case(run_ensemble),
    "ensemble, a loss for each teacher": Case(run_per_teacher, takes_losses=False),
}
