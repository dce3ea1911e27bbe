"""TeacherReference: a teacher that no file holds, or what is known of it until it is set again."""

import keras

from tfkd._core.fingerprints import fingerprint


class TeacherReference:
    """Refers to a distiller's teacher without making it part of the distiller.

    Args:
        model: the teacher; None if the distiller has none or waits for it.
        expected: fingerprint of the teacher that a distiller from a file waits for; None if it was saved
            before its teacher had weights, so that any teacher will do.
        awaited: whether the distiller waits for its teacher.
    """

    def __init__(
        self, model: keras.Model | None, expected: str | None = None, awaited: bool = False
    ) -> None:
        self.model, self.awaited = model, awaited
        self._fingerprint = expected

    @classmethod
    def from_config(cls, config: dict | None) -> "TeacherReference":
        """What `get_config` described, to be replaced by the teacher itself."""
        return cls(None) if config is None else cls(None, config["fingerprint"], awaited=True)

    def get_config(self) -> dict | None:
        """What a file says of the teacher; None if there is none."""
        return {"fingerprint": self.fingerprint()} if self.model is not None or self.awaited else None

    def fingerprint(self) -> str | None:
        """The teacher's fingerprint, computed once; None if it is not known yet."""
        # A black box has no weights and is told by its answers.
        known = self.model is not None and (self.model.weights or getattr(self.model, "black_box", False))
        if self._fingerprint is None and known:
            self._fingerprint = fingerprint(self.model)
        return self._fingerprint

    def check_replacement(self, teacher: keras.Model) -> None:
        """Raises ValueError if another teacher than this one is awaited."""
        if self.awaited and self._fingerprint not in (None, fingerprint(teacher)):
            raise ValueError(
                f"`teacher` must be the one the distiller was saved with. Received: {teacher.name!r} with "
                "other weights. To go on with another, build a new Distiller around distiller.student."
            )
