"""What examples about texts take for granted."""

import pathlib
import shutil
from functools import cache, cached_property

import keras
import numpy as np
import tensorflow as tf

import tfkd
from tests import text_folder

_FILES = pathlib.Path(__file__).parents[1] / "text/checkpoints"
CHECKPOINTS = {"bert-base-uncased": _FILES / "masked_bert", "gpt2": _FILES / "gpt2"}
LAYERS, HEADS, WIDTH, POSITIONS = 6, 12, 192, 64
VOCABULARY = len(text_folder.VOCABULARY)


@cache
def backbone(kind: str, vocabulary: int, width: int = WIDTH, heads: int = HEADS) -> keras.Model:
    """A small backbone of keras-hub, the same one for all."""
    import keras_hub

    return getattr(keras_hub.models, kind)(
        vocabulary_size=vocabulary,
        num_layers=LAYERS,
        num_heads=heads,
        hidden_dim=width,
        intermediate_dim=4 * width,
        max_sequence_length=POSITIONS,
    )


class Texts:
    """Names of examples about texts; each is made when it is first asked for."""

    @property
    def backbone(self):
        return backbone("BertBackbone", VOCABULARY)

    @cached_property
    def tokenizer(self):
        return tfkd.text.Tokenizer(self.folder)

    @cached_property
    def folder(self):
        return text_folder.write_folder(pathlib.Path("folder"))

    @cached_property
    def teacher(self):
        return tfkd.text.classifier(self.backbone, classes=2)

    classifier = property(lambda self: self.teacher)

    @property
    def model(self):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.teacher.compile("adam", loss)
        return self.teacher

    @cached_property
    def student(self):
        return tfkd.students.from_layers(self.teacher, 3)

    text_student = property(lambda self: self.student)

    @property
    def encoder(self):
        return tfkd.text.sentence_encoder(self.backbone)

    @property
    def masked_model(self):
        return tfkd.text.masked_language_model(self.backbone)

    pretrained = masked_model

    @cached_property
    def sentences(self):
        return text_folder.sentences(8)[0]

    @property
    def labels(self):
        return text_folder.sentences(8)[1]

    @property
    def inputs(self):
        return self.tokenizer(self.sentences)

    x = inputs

    @property
    def data(self):
        return tfkd.text.batches(self.sentences, self.labels, tokenizer=self.tokenizer)

    task_data = data

    @property
    def general_data(self):
        return tfkd.text.batches(self.sentences, tokenizer=self.tokenizer)

    @property
    def hidden(self):
        return np.random.default_rng(0).random((2, 5, WIDTH), "float32")

    padding_mask = np.ones((2, 5), "int32")
    embedding = property(lambda self: keras.layers.ReversibleEmbedding(20, WIDTH))

    @property
    def examples(self):
        return tf.data.Dataset.from_tensor_slices((self.inputs, self.labels))

    def shuffled(self, dataset, size, seed):
        return dataset.shuffle(size, seed=tf.cast(seed[0], "int64"))

    def write(self, name: str) -> None:
        """Writes the file or folder of that name."""
        path = pathlib.Path(name)
        if path.suffix == ".tflite":
            checked = self.tokenizer(self.sentences, length=64)
            tfkd.export.export_tflite(
                self.student, name, vocabulary=self.tokenizer, verification_data=checked
            )
        elif path.suffix == ".tsv":
            text_folder.write_tsv(path, self.sentences, self.labels)
        elif name in CHECKPOINTS:
            shutil.copytree(CHECKPOINTS[name], path)
        else:
            width = 384 if "MiniLM" in name else 16
            text_folder.write_folder(path, LAYERS, width, POSITIONS)


class LanguageModels(Texts):
    """Those that predict the next token."""

    @property
    def backbone(self):
        return backbone("GPT2Backbone", 50257, 48)

    @cached_property
    def teacher(self):
        return tfkd.text.causal_language_model(self.backbone)

    @property
    def task(self):
        return tfkd.tasks.task_of(self.teacher)
