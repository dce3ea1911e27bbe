"""How well a student's features predict its teacher's, by variational information distillation."""

import math
from typing import Any

import keras
import numpy as np
from keras import tree

from tfkd._core.asking import in_parts
from tfkd.analysis._tapped import tapped
from tfkd.losses import VariationalInformation
from tfkd.losses._features import as_list


def log_likelihood(
    loss: VariationalInformation, teacher: keras.Model, student: keras.Model, inputs: Any
) -> float:
    """How well the student's features predict the teacher's, as a Gaussian log-likelihood.

    Up to the entropy of the teacher's features, it is a lower bound on the mutual information between the
    networks' features. It rises while a student learns from its teacher. It depends on the loss's taps and
    regressors.

    Args:
        loss: a built `tfkd.losses.VariationalInformation`, such as one from a trained distiller; its
            regressors and variances are used unchanged.
        teacher: the teacher.
        student: the student.
        inputs: an array `(n, ...)`, or several in the structure of the models' inputs.

    Returns:
        The mean over examples and feature elements, in nats, summed over pairs of taps.

    Raises:
        TypeError: for another loss.
        ValueError: if the loss is not built or names no layers.

    Example:
        >>> vid = tfkd.losses.VariationalInformation("relu2", "conv2")
        >>> distiller = tfkd.Distiller(teacher, student, vid)
        >>> distiller.compile("adam", labels_loss)
        >>> measure = keras.callbacks.LambdaCallback(
        ...     on_epoch_end=lambda epoch, logs: print(log_likelihood(vid, teacher, student, x_test))
        ... )
        >>> distiller.fit(x, y, epochs=10, callbacks=[measure])

    Reference:
        Ahn et al., "Variational Information Distillation for Knowledge Transfer", 2019; with the Gaussian's
        constant, which the loss leaves out.
    """
    if not isinstance(loss, VariationalInformation):
        raise TypeError(
            f"`loss` must be a VariationalInformation. Received: {loss!r} of type {type(loss)}."
        )
    if not loss.built or loss.teacher_layer is None:
        raise ValueError(
            "`loss` must name layers and be built: pass the loss of a distiller that has been trained for "
            f"at least one step. Received: built={loss.built}, teacher_layer={loss.teacher_layer!r}."
        )
    names = [as_list(layers) for layers in (loss.teacher_layer, loss.student_layer)]
    asked = tapped(teacher, names[0]), tapped(student, names[1])
    total, n = 0.0, 0
    for part in in_parts(teacher, inputs):
        values = loss(*(features(part) for features in asked), training=False)
        total += float(np.sum(values))
        n += len(tree.flatten(part)[0])
    return -total / n - 0.5 * math.log(2 * math.pi) * len(names[0])
