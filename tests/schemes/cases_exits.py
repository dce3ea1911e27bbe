"""How networks with exits train, for the contract of schemes."""

import keras

from tests.schemes.cases import LABELS_LOSS, Case, Ran, Setting
from tfkd.losses import KnowledgeLoss, within
from tfkd.schemes import SelfDistiller

EXITS = ["relu1", "conv2"]


def _within(loss: KnowledgeLoss) -> KnowledgeLoss:
    """The loss between two layers of a small network with exits, the deep one as its teacher."""
    deep, shallow = ("logits", "exit_1") if loss.teacher_layer is None else (loss.teacher_layer, "relu1")
    return within(
        type(loss).from_config({**loss.get_config(), "teacher_layer": deep, "student_layer": shallow})
    )


def self_distillation(method):
    """Runs one network by a method, or by the loss of a setting."""

    def run(setting: Setting) -> Ran:
        own = {"method": method}
        if setting.loss is not None:
            own = {"method": None, "losses": _within(setting.loss)}
        distiller = SelfDistiller(setting.student("network"), EXITS, **own)
        distiller.compile(
            keras.optimizers.Adam(1e-3), LABELS_LOSS, ["accuracy"], jit_compile=setting.jit_compile
        )
        history = setting.fit(distiller)
        return Ran(history, [distiller.network], distiller)

    return run


_LEAVE_OUT = {
    "test_compressed_students": "exits are attached to a graph, which wrapped layers do not show; a "
    "trained student, without its exits, is pruned in test_self_distiller.py"
}
CASES = {
    "self_distillation": Case(self_distillation("multi_exit"), leave_out=_LEAVE_OUT),
    "self_distillation_byot": Case(self_distillation("byot"), leave_out=_LEAVE_OUT),
}
