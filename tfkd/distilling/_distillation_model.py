"""DistillationModel: the training code that all distillers and schemes share."""

import itertools
import os
from collections.abc import Mapping
from types import MappingProxyType

import keras
import numpy as np
from keras import ops, tree

from tfkd._core import files
from tfkd._core.fit_length import with_length
from tfkd._core.replica_copies import assign_copies, differing
from tfkd._core.replicas import in_one_of_several_workers
from tfkd.distilling._compatibility import check_scope
from tfkd.distilling._loss_set import LossSet
from tfkd.distilling._steps import position_weights

# In weight files, the prefix of values that differ between replicas.
_OF_REPLICAS = "of_replicas_"


class DistillationModel(keras.Model):
    """A Keras model that teaches one or more students: the base class of distillers and schemes.

    Subclasses set `students` and `loss_sets` (see `tfkd.distilling.Distillation`) and implement `call` and
    `train_step`; `tfkd.distilling.forward_pass` and `LossSet.total` do most of the latter. This class makes
    changed options of losses take effect, passes the length of `fit` to students, and makes interrupted
    runs resume exactly.

    Args:
        **kwargs: passed to `keras.Model`.

    Example:
        >>> class Copying(tfkd.distilling.DistillationModel):
        ...     def __init__(self, teacher, student, loss):
        ...         super().__init__()
        ...         self.teacher, self.students = teacher, [student]
        ...         self.loss_sets = [tfkd.distilling.LossSet([loss])]
        ...         self.loss_sets[0].bind(teacher, student)
    """

    students: list[keras.Model]
    loss_sets: list[LossSet]
    _values_of_replicas: Mapping[str, np.ndarray] = MappingProxyType({})

    @property
    def sources(self) -> list[keras.Layer]:
        """The layers that produce inputs; empty if inputs are given to `fit`."""
        return []

    def constants(self) -> tuple:
        """The values that a traced step treats as constants; if they change, it is retraced."""
        return tuple(loss_set.take_changes() for loss_set in self.loss_sets)

    def student_passes(self, steps: int) -> int:
        """The number of forward passes in training mode that a student makes in a number of steps."""
        return steps

    def build_optimizer(self) -> None:
        """Creates the optimizer's variables as soon as everything that it trains has been built."""
        students = all(student.built for student in self.students)
        if not self.optimizer.built and students and all(each.parts_built for each in self.loss_sets):
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose: str | int = "auto",
        callbacks=None,
        **kwargs,
    ):
        if kwargs.get("sample_weight") is not None and y is None:
            raise ValueError(
                "`sample_weight` has no effect without `y`, since Keras then drops it. Pass the labels "
                "too, or a data set of (inputs, labels, weights)."
            )
        with self.distribute_strategy.scope():
            for student in self.students:
                # Check again: a distiller created outside of any strategy uses the one around `fit`.
                check_scope(student, "student")
        callbacks = with_length(callbacks, self.students, self.student_passes)
        return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)

    def labels_loss(self, y, y_pred, sample_weight):
        """The loss passed to `compile`, a scalar; under `tf.distribute` this replica's share of it."""
        sample_weight = position_weights(sample_weight, y_pred)
        return ops.cast(self._compile_loss(y, y_pred, sample_weight), "float32")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        # Only Keras calls this, to build the loss; under `tf.distribute` even without labels.
        if y is None:
            return ops.zeros(())
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None) -> dict:
        if y is None:
            return self.get_metrics_result()
        return super().compute_metrics(x, y, y_pred, position_weights(sample_weight, y_pred))

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if iterator is not None and self._distribute_strategy is not None:
            # Keras would add the replicas' shares of a batch, which may differ in size.
            *_, batches = next(iter(iterator))
            shares_of = self._distribute_strategy.experimental_local_results
            data_batch = tree.map_structure(lambda values: shares_of(values)[0], next(batches))
            iterator = None
        super()._maybe_symbolic_build(iterator, data_batch)

    def _make_function(self, step_function):
        make = super()._make_function(step_function)
        if self.steps_per_execution == 1 or self.distribute_strategy.num_replicas_in_sync == 1:
            return make

        def one_by_one(iterator):
            # With several replicas Keras's loop in the graph fails. From a plain iterator it takes one
            # batch after the other.
            batches = iter(iterator)
            return make(itertools.chain([next(batches)], batches))

        return one_by_one

    def make_train_function(self, force: bool = False) -> None:
        # A step that creates variables would be traced twice.
        self.build_optimizer()
        if self.train_function is None or force:
            super().make_train_function(force=True)
            self.train_function = self._kept_current("train_function", self.make_train_function)

    def make_test_function(self, force: bool = False) -> None:
        if self.test_function is None or force:
            super().make_test_function(force=True)
            self.test_function = self._kept_current("test_function", self.make_test_function)

    def _kept_current(self, name, make):
        """A step that is remade when values that it treats as constants have changed."""
        step, taken = getattr(self, name), self.constants()

        def current(iterator):
            if self.constants() == taken:
                return step(iterator)
            make(force=True)
            return getattr(self, name)(iterator)

        return current

    def compile_from_config(self, config: dict) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.build_optimizer()

    def save(self, filepath: str | os.PathLike, *args, **kwargs) -> None:
        files.check_not_hdf5(filepath, "a distiller", "its student alone: distiller.student.save(...)")
        super().save(filepath, *args, **kwargs)

    def load_weights(self, *args, **kwargs) -> None:
        # Otherwise Keras would skip the state of an optimizer that has not taken a step.
        if self.compiled:
            self.build_optimizer()
        super().load_weights(*args, **kwargs)
        # Layers are loaded after the model itself, and set all copies of a variable to one value.
        state = self.state_of_replicas()
        for name, values in self._values_of_replicas.items():
            assign_copies(state[int(name.removeprefix(_OF_REPLICAS))], values)
        self._values_of_replicas = {}

    def save_own_variables(self, store) -> None:
        super().save_own_variables(store)
        # Keras does not save random states in weight files; without them no run resumes exactly.
        if self._random_states:
            store["random_states"] = np.stack([state.numpy() for state in self._random_states])
        for i, values in differing(self.state_of_replicas()).items():
            store[f"{_OF_REPLICAS}{i}"] = values

    def load_own_variables(self, store) -> None:
        saved = {name: store[name] for name in store.keys()}  # noqa: SIM118
        random_states = saved.pop("random_states", None)
        of_replicas = [name for name in saved if name.startswith(_OF_REPLICAS)]
        self._values_of_replicas = {name: np.asarray(saved.pop(name)) for name in of_replicas}
        super().load_own_variables(saved)
        if self._random_states and random_states is not None:
            for state, value in zip(self._random_states, random_states, strict=True):
                state.assign(value)

    def state_of_replicas(self) -> list[keras.Variable]:
        """The saved variables whose values may differ between replicas."""
        return self.variables

    @property
    def _random_states(self):
        """The states of random generators: of the students' dropout, and of a data-free distiller."""
        return [v for v in self.variables if v.path.endswith("seed_generator_state")]

    def _get_metrics_result_or_logs(self, logs):
        # Keras would use the last step's values if some metrics are missing from the logs.
        results = self.get_metrics_result()
        return {name: results.get(name, value) for name, value in logs.items()}

    def get_metrics_result(self) -> dict:
        # Metrics given to `compile` are built on first use, which without labels is `evaluate`.
        results = {}
        for metric in self.metrics:
            if metric is self._compile_metrics and not metric.built:
                continue
            result = metric.result()
            results.update(result if isinstance(result, dict) else {metric.name: result})
        return tree.map_structure(_with_axis, results) if in_one_of_several_workers() else results


def _with_axis(scalar):
    # Keras averages over workers along this axis, which scalars do not have.
    return ops.reshape(scalar, (1,))
