"""TeacherReference: a teacher that is not saved, or its fingerprint until it is set again."""

import keras

from tfkd._core.fingerprints import fingerprint


class TeacherReference:
    """Refers to a distiller's teacher without making it part of the distiller.

    Args:
        model: the teacher; None if the distiller has none, or not yet.
        expected: the fingerprint of the teacher that a distiller from a file needs; None if it was saved
            before its teacher had weights, so that any teacher is accepted.
        awaited: whether the distiller still needs its teacher.
    """

    def __init__(
        self, model: keras.Model | None, expected: str | None = None, awaited: bool = False
    ) -> None:
        self.model, self.awaited = model, awaited
        self._fingerprint = expected

    @classmethod
    def from_config(cls, config: dict | None) -> "TeacherReference":
        """A reference to the teacher that `get_config` described, until the teacher itself is set."""
        return cls(None) if config is None else cls(None, config["fingerprint"], awaited=True)

    def get_config(self) -> dict | None:
        """The description of the teacher for a file; None if there is none."""
        return {"fingerprint": self.fingerprint()} if self.model is not None or self.awaited else None

    def fingerprint(self) -> str | None:
        """The teacher's fingerprint, computed once; None if it is not known yet."""
        # A black box has no weights and is identified by its outputs.
        known = self.model is not None and (self.model.weights or getattr(self.model, "black_box", False))
        if self._fingerprint is None and known:
            self._fingerprint = fingerprint(self.model)
        return self._fingerprint

    def check_replacement(self, teacher: keras.Model) -> None:
        """Raises ValueError if the distiller needs another teacher than this one."""
        if self.awaited and self._fingerprint not in (None, fingerprint(teacher)):
            raise ValueError(
                f"`teacher` must be the one the distiller was saved with. Received: {teacher.name!r} with "
                "other weights. To use another teacher, build a new Distiller with distiller.student."
            )
