"""How chains of teachers and students train, for the contract of schemes."""

import keras

import tfkd
from tests.conftest import small_network
from tests.schemes.cases import LABELS_LOSS, Case, Ran, Setting
from tfkd import schemes
from tfkd.callbacks import StopDistilling


def fitted(chain: schemes.Chain, setting: Setting) -> Ran:
    """What a chain gives after training on the setting's data."""
    history = chain.fit(
        setting.x,
        setting.y,
        epochs=setting.epochs,
        optimizer=keras.optimizers.SGD(0.05),
        loss=LABELS_LOSS,
        metrics=["accuracy"],
        batch_size=16,
        shuffle=False,
        verbose=0,
        callbacks=setting.callbacks,
        backup_dir=setting.folder,
        jit_compile=setting.jit_compile,
    )
    return Ran(history, chain.students)


def assistants(setting: Setting) -> Ran:
    assistant = small_network(6, name="assistant")
    return fitted(
        schemes.assistants(setting.teacher, setting.student("student"), [assistant], setting.loss), setting
    )


def generations(setting: Setting) -> Ran:
    names = iter(("first", "second"))
    return fitted(
        schemes.generations(setting.teacher, lambda: setting.student(next(names)), 2, setting.loss), setting
    )


def eskd(setting: Setting) -> Ran:
    loss = tfkd.losses.SoftTargets(4.0) if setting.loss is None else setting.loss
    distiller = tfkd.Distiller(setting.teacher, setting.student("student"), loss)
    distiller.compile(keras.optimizers.SGD(0.05), LABELS_LOSS, ["accuracy"], setting.jit_compile)
    # So large a step forward nothing makes: distillation stops after the second epoch.
    history = setting.fit(distiller, [StopDistilling("loss", patience=1, min_delta=100.0)])
    return Ran(history, distiller.students, distiller)


CASES = {
    "assistants": Case(assistants),
    "generations": Case(generations),
    "eskd": Case(eskd),
}
