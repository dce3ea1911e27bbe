"""Opened: a raw network or black-box file, ready to become a teacher."""

import dataclasses
import math
import os
from collections.abc import Sequence

import keras
from keras import layers

from tfkd._core.graphs import has_graph
from tfkd._core.layouts import CHANNELS_FIRST, SERIES, SERIES_INPUT, filled
from tfkd._core.runtimes import SavedModelFolder, TFLiteFile
from tfkd.tasks import Task, mark, output_shape_of
from tfkd.tasks._endings import SIGNS, last_operation, other_activation
from tfkd.tasks._finding import marked_task, name_of_mark
from tfkd.teachers._black_box import BlackBoxTeacher
from tfkd.teachers._deciding import decide, usual_activation
from tfkd.teachers._dequantized import dequantized
from tfkd.teachers._endings import Ending, apply_without, ending_of
from tfkd.teachers._files import from_file
from tfkd.teachers._input_shape import with_input_shape
from tfkd.teachers._layout import decided_layout
from tfkd.teachers._scaling import Preparation

# With fewer values, equal numbers of features and classes are plausible.
_LEAST_OF_AUTOENCODER = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opened:
    """A network with one input and one output.

    Attributes:
        network: the network, or the file.
        name: its name in messages.
        index: index of the output used in a file; a network has only one output.
        layout: meaning of its input axes, one of `LAYOUTS`; None if the shape determines it.
        doubt: a sentence about the layout if it is uncertain.
    """

    network: keras.Model | TFLiteFile | SavedModelFolder
    name: str
    index: int
    layout: str | None
    doubt: str | None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an input of the teacher."""
        return filled(tuple(self.network.input_shape[1:]), self.layout)

    def teacher(
        self, preparation: Preparation, from_logits: bool | None, task: str | type[Task] | Task | None
    ) -> tuple[keras.Model | BlackBoxTeacher, str | None]:
        """The teacher, and a sentence about its task if the user should know that it was assumed.

        Args:
            preparation: preprocessing of its inputs.
            from_logits: as for `load_teacher`.
            task: as for `load_teacher`.
        """
        if isinstance(self.network, keras.Model):
            return _from_keras(self.network, preparation, from_logits, task, self.layout)
        return from_file(self.network, self.index, preparation, from_logits, task, self.name, self.layout)


def opened(
    source: str | os.PathLike | keras.Model,
    loaded: keras.Model | TFLiteFile | SavedModelFolder,
    output: str | int | None,
    layout: str | None,
    input_shape: Sequence[int] | None = None,
) -> Opened:
    """The loaded network or file, with the output and the layout to use.

    Args:
        source: the source it was loaded from.
        loaded: a network for inputs other than texts, or a file.
        output: as for `load_teacher`.
        layout: as for `load_teacher`.
        input_shape: as for `load_teacher`.

    Raises:
        ValueError: if it does not have a single input of known shape, or `output` or `layout` does not fit.
    """
    if isinstance(loaded, keras.Model):
        index, network = 0, with_one_output(dequantized(loaded), output)
        network = network if input_shape is None else with_input_shape(network, input_shape)
        name = network.name
        _check_shapes(name, *_shapes(network))
    else:
        network = loaded if input_shape is None else with_input_shape(loaded, input_shape)
        name = os.path.splitext(os.path.basename(os.path.abspath(os.fspath(source))))[0]  # pyright: ignore
        index = _index(list(loaded.output_shapes), output, name)
        _check_shapes(name, loaded.input_shape, list(loaded.output_shapes.values())[index])
    layout, doubt = decided_layout(layout, network, name)
    return Opened(network=network, name=name, index=index, layout=layout, doubt=doubt)


def _from_keras(model, preparation, from_logits, task, layout):
    """The teacher, and the warning about its task, if any."""
    shape = output_shape_of(model)
    ending = ending_of(model, from_logits, usual_activation(task, shape))
    if task is None:
        task = marked_task(model)
    if task is None and ending.activation != "softmax":
        _check_not_autoencoder(model, shape)
    asked = from_logits is not True and ending.activation is None
    other = other_activation(last_operation(model)) if asked else None
    task, notice = decide(task, ending.activation, shape, from_logits, model.name, other)
    if not task.activations:
        ending = Ending()
    elif other in SIGNS and (shape == (1,) or task.activations[0] == "sigmoid"):
        ending = Ending("sign")
    return _with_logits(model, ending, preparation, task, layout), notice


def _check_not_autoencoder(model, answer):
    """Raises ValueError for a network with as many outputs as inputs, which are hardly classes."""
    values = math.prod(answer)
    if values == math.prod(model.input_shape[1:]) and values >= _LEAST_OF_AUTOENCODER:
        raise ValueError(
            f"`task` is needed: the teacher {model.name!r} returns as many values as it takes, {values}, "
            "like an autoencoder, which has no classes. For numbers pass task='regression', for a class "
            "at each pixel 'segmentation', for that many labels 'multi_label' (--task). Otherwise give a "
            "network that ends in classes."
        )


def _with_logits(model, ending, preparation, task, layout):
    shape = tuple(model.input_shape[1:])
    taken = filled(shape, layout)
    name = "image" if len(taken) == 3 else "example"
    x = inputs = keras.Input(taken, name=SERIES_INPUT if layout == SERIES else name, dtype="float32")
    x = preparation.of_tensor(x)
    if layout == CHANNELS_FIRST:
        x = layers.Permute((3, 1, 2), name="channels_first")(x)
    elif taken != shape:
        x = layers.Reshape(shape, name="without_channels")(x)
    x = apply_without(ending, model, x)
    if task.binary_as_pair and x.shape[-1] == 1:
        x = _as_pair(x)
    teacher = keras.Model(inputs, x, name=model.name)
    if name := name_of_mark(teacher, task):
        teacher = keras.Model(inputs, layers.Activation("linear", name=name)(x), name=model.name)
    return mark(teacher, task)


def _as_pair(x):
    """Two logits, 0 and the output, for a single output or a map of them."""
    if len(x.shape) > 2:
        return layers.Concatenate(name="binary_pair")([layers.Rescaling(0.0, name="binary_zero")(x), x])
    x = layers.Reshape((1, 1), name="binary")(x)
    x = layers.ZeroPadding1D((1, 0), name="binary_pair")(x)
    return layers.Flatten(name="binary_logits")(x)


def with_one_output(model: keras.Model, output: str | int | None) -> keras.Model:
    """The model, restricted to the requested output if it has several."""
    if isinstance(model, keras.Sequential) or not has_graph(model):
        _index([model.name], output, model.name)
        return model
    index = _index(_output_names(model), output, model.name)
    plain = not (keras.tree.is_nested(model.input) or keras.tree.is_nested(model.output))
    if plain or len(model.inputs) > 1:
        return model
    return keras.Model(model.inputs[0], model.outputs[index], name=model.name)


def _output_names(model):
    if isinstance(model.output, dict):
        return keras.tree.flatten({key: key for key in model.output})
    return model.output_names


def _index(names, output, teacher):
    """The index of a teacher's requested output."""
    if output is None and len(names) == 1:
        return 0
    if output in names:
        return names.index(output)
    if isinstance(output, int) and 0 <= output < len(names):
        return output
    raise ValueError(
        f"`output` must select an output of the teacher {teacher!r}, by name or index (--teacher_output). "
        f"Its outputs: {names}. Received: output={output!r}."
    )


def _shapes(model):
    try:
        return model.input_shape, model.output_shape
    except (AttributeError, ValueError):
        return None, None


def _check_shapes(name, inputs, outputs):
    if not isinstance(inputs, tuple) or not isinstance(outputs, tuple) or len(outputs) < 2:
        raise ValueError(
            f"The teacher {name!r} must have one input, an image or another of known shape, and one output "
            f"per input. Received: input {inputs}, output {outputs}. Build it on an example first, or wrap "
            "it in a model with one input and output."
        )
    if len(inputs) < 2 or None in inputs[1:]:
        raise ValueError(
            f"The teacher {name!r} must take inputs of a known size: images (batch, height, width, "
            "channels) or (batch, height, width), vectors (batch, features), series (batch, time, "
            f"channels) or spectrograms (batch, frequency, time, channels). Received: input {inputs}. Give "
            "the size used in its training: input_shape=(224, 224, 3) (--input_shape=224,224,3)."
        )
