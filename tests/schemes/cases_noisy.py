"""How Noisy Student trains in the contract of schemes."""

from tests.schemes.cases import Case, Ran
from tfkd.schemes import NoisyStudent


def noisy_student(setting):
    """Two students, one after the other; a quarter of the examples has labels."""
    count = len(setting.x) // 4
    scheme = NoisyStudent(
        setting.teacher,
        lambda number: setting.student(f"student_{number}"),
        setting.loss,
        least=None,
        iterations=2,
        unlabelled_ratio=3,
        augment=None,
    )
    history = scheme.fit(
        (setting.x[:count], setting.y[:count]),
        setting.x[count:],
        epochs=setting.epochs,
        batch_size=8,
        metrics=["accuracy"],
        callbacks=setting.callbacks,
        backup_dir=setting.folder,
        jit_compile=setting.jit_compile,
        verbose=0,
    )
    return Ran(history, scheme.students)


CASES = {"noisy_student": Case(noisy_student)}
