"""Which names and files an example is given, by the public name that it explains."""

import importlib
import pathlib
import re
from collections.abc import Iterable
from functools import cache, cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import generators
import tfkd
from tests.examples.images import CLASSES, SHAPE, Images, network
from tests.examples.texts import VOCABULARY, LanguageModels, Texts, backbone
from tfkd.datafree import objectives

EVERYWHERE = {
    "generators": generators,
    "keras": keras,
    "np": np,
    "objectives": objectives,
    "ops": keras.ops,
    "pathlib": pathlib,
    "tf": tf,
    "tfkd": tfkd,
}


@cache
def _resnet():
    return tfkd.students.resnet(14, SHAPE, CLASSES)


class ResNets(Images):
    """A teacher as the library makes them, and a distiller without data."""

    @property
    def teacher(self):
        return _resnet()

    @cached_property
    def distiller(self):
        recipe = tfkd.datafree.Procedural(
            batch_size=16, memory=32, refine_steps=0, epochs=1, steps_per_epoch=1
        )
        distiller = tfkd.DataFreeDistiller(network(8, "taught"), self.student, recipe)
        distiller.compile()
        return distiller

    @property
    def pruned_teacher(self):
        model = tfkd.students.resnet(8, SHAPE, CLASSES)
        for layer in model.layers:
            if isinstance(layer, keras.layers.Conv2D):
                kernel = layer.kernel.numpy()
                layer.kernel.assign(kernel * (np.abs(kernel) > np.median(np.abs(kernel))))
        return model

    conv = property(lambda self: self.model.get_layer("conv1").kernel.numpy())
    dense = property(lambda self: self.model.get_layer("dense").kernel.numpy())
    branch = shortcut = property(lambda self: keras.Input((8, 8, 4)))


class SmallResNets(ResNets):
    """A teacher of few layers."""

    teacher = property(lambda self: tfkd.students.resnet(8, SHAPE, CLASSES))


class Pruned(ResNets):
    """A student that is being pruned."""

    student = property(lambda self: tfkd.compression.prune(self.model, 0.8))


class ImagesAndTexts(ResNets):
    """Networks of both."""

    texts = cached_property(lambda self: Texts())
    text_student = property(lambda self: self.texts.student)
    tokenizer = property(lambda self: self.texts.tokenizer)
    sentences = property(lambda self: self.texts.sentences)
    labels = property(lambda self: self.texts.labels)


class SureTeacher(Images):
    """A teacher that knows its examples by heart, and so is sure of every class."""

    @cached_property
    def teacher(self):
        means = [(self.x[self.y == label] - 0.5).mean(0) for label in range(CLASSES)]
        nearest = keras.layers.Dense(CLASSES, name="logits")
        model = keras.Sequential(
            [keras.Input(SHAPE), keras.layers.Rescaling(1, -0.5), keras.layers.Flatten(), nearest]
        )
        nearest.set_weights([np.reshape(means, (CLASSES, -1)).T, np.zeros(CLASSES)])
        return model


class OneLayer(ResNets):
    """A model with one kernel."""

    @property
    def model(self):
        convolution = keras.layers.Conv2D(4, 3, strides=8)
        return keras.Sequential([keras.Input(SHAPE), convolution, keras.layers.GlobalAveragePooling2D()])


class Exits(Images):
    """Networks with exits."""

    @cached_property
    def distiller(self):
        exits = ["block1", "block2"]
        distiller = tfkd.schemes.SelfDistiller(self.student, exits, method="byot")
        distiller.compile("adam", self.labels_loss, metrics=["accuracy"])
        return distiller

    network = model_with_exits = with_exits = property(lambda self: self.distiller.network)
    chosen = (0.9, 0.8)

    @property
    def early(self):
        return tfkd.schemes.early_exit(self.network, self.chosen)


class Arrays(Images):
    """What pure functions of losses compare."""

    teacher_maps, student_maps = np.random.default_rng(0).random((2, 8, 4, 4, 6), "float32")
    teacher_low, teacher_high = np.random.default_rng(1).random((2, 8, 4, 4, 6), "float32")
    student_low, student_high = np.random.default_rng(2).random((2, 8, 4, 4, 6), "float32")
    teacher_embeddings, student_embeddings = np.random.default_rng(3).random((2, 8, 6), "float32")
    embeddings, first_embeddings, second_embeddings = np.random.default_rng(4).random((3, 8, 6), "float32")
    teacher_features, student_features = teacher_embeddings, student_embeddings
    teacher_factors, student_factors = teacher_maps, student_maps
    teacher_logits, student_logits = np.random.default_rng(5).random((2, 8, CLASSES), "float32")
    teacher_values, student_values = np.random.default_rng(6).random((2, 8, 5, 1, 48), "float32")
    logits = np.random.default_rng(7).random((8, 5, 12), "float32")
    token_ids = np.arange(40).reshape(8, 5) % 12


class MaskedModels(Texts):
    """Those that predict masked tokens."""

    backbone = property(lambda self: backbone("BertBackbone", 30522, 48))
    teacher = property(lambda self: self.masked_model)
    theirs, ours = "transformer_layer_5", "transformer_layer_2"


class MaskedTexts(Texts):
    """A teacher that predicts masked tokens of texts there are."""

    teacher = property(lambda self: self.masked_model)


class FewHeads(Texts):
    """A teacher whose heads are soon projected to another width."""

    backbone = property(lambda self: backbone("BertBackbone", VOCABULARY, heads=1))


class Writers(LanguageModels):
    """Those that write, in few words."""

    backbone = property(lambda self: backbone("GPT2Backbone", VOCABULARY, 48))


class VisionTransformers(Images):
    """Teachers without batch normalization."""

    teacher = property(lambda self: self.vit)


class Values(Images):
    """A network of vectors, which knows their ranges."""

    @property
    def teacher(self):
        ranges = keras.layers.Normalization(mean=[0.0, 1.0, 2.0], variance=[1.0, 2.0, 3.0])
        return keras.Sequential([keras.Input((3,)), ranges, keras.layers.Dense(2)])


class Segmentation(Images):
    """A network that answers for each pixel."""

    student = property(lambda self: keras.Sequential([keras.Input((64, 64, 3)), keras.layers.Conv2D(4, 1)]))
    images = np.random.default_rng(0).random((4, 64, 64, 3), "float32")
    masks = np.random.default_rng(1).integers(0, 4, (4, 64, 64))


class Sentences(Texts):
    """An encoder of sentences that answers as its teacher."""

    @cached_property
    def teacher(self):
        return keras.Sequential([keras.Input((8,)), keras.layers.Dense(384)])

    student = property(lambda self: self.teacher)
    x = np.random.default_rng(0).random((16, 8), "float32")


# What stands for all names of a package.
PACKAGES = {
    *("tfkd", "tfkd.compression", "tfkd.datafree", "tfkd.export", "tfkd.generators"),
    *("tfkd.losses", "tfkd.pipelines", "tfkd.students", "tfkd.testing", "tfkd.text"),
}
# By the beginning of a name; the longest that fits counts.
WORLDS = {
    "tfkd.generators": Images,
    "tfkd.generators.Uniform": Values,
    "tfkd.generators.feature_ranges": Values,
    "tfkd": Images,
    "tfkd.DataFreeDistiller": Images,
    "tfkd.compression": ResNets,
    "tfkd.compression.iterative_pruning": SmallResNets,
    "tfkd.compression.learn_rounding": OneLayer,
    "tfkd.compression.sparsity": Pruned,
    "tfkd.compression.strip": Pruned,
    "tfkd.datafree": ResNets,
    "tfkd.datafree.BSS": Images,
    "tfkd.datafree.PSAQViT": VisionTransformers,
    "tfkd.datafree.ProceduralText": MaskedTexts,
    "tfkd.export": ResNets,
    "tfkd.export.example_texts": Texts,
    "tfkd.export.export_exits": Exits,
    "tfkd.export.export_tflite": ImagesAndTexts,
    "tfkd.export.read_vocabulary": Texts,
    "tfkd.export.run_tflite": Texts,
    "tfkd.load_teacher": ResNets,
    "tfkd.losses": Arrays,
    "tfkd.losses.AttentionKL": Texts,
    "tfkd.losses.AttentionScores": Texts,
    "tfkd.losses.CLSHint": Texts,
    "tfkd.losses.CausalLanguageModeling": LanguageModels,
    "tfkd.losses.CosineEmbedding": Texts,
    "tfkd.losses.HiddenStates": Texts,
    "tfkd.losses.MaskedLanguageModeling": MaskedModels,
    "tfkd.losses.PatientCLS": Texts,
    "tfkd.losses.SelfAttentionRelations": Texts,
    "tfkd.losses.within": Exits,
    "tfkd.pipelines": ResNets,
    "tfkd.pipelines.distil_text": Texts,
    "tfkd.optimizers.Muon": ResNets,
    "tfkd.schemes.NoisyStudent": SureTeacher,
    "tfkd.schemes.assistants": ResNets,
    "tfkd.schemes.EarlyExit": Exits,
    "tfkd.schemes.choose_thresholds": Exits,
    "tfkd.schemes.drop_exits": Exits,
    "tfkd.schemes.early_exit": Exits,
    "tfkd.schemes.exit_curve": Exits,
    "tfkd.schemes.pseudo_labels": SureTeacher,
    "tfkd.students": ResNets,
    "tfkd.students.from_layers": FewHeads,
    "tfkd.taps.attention_layers": VisionTransformers,
    "tfkd.taps.transformer": Texts,
    "tfkd.tasks.CausalLanguageModel": LanguageModels,
    "tfkd.tasks.MaskedLanguageModel": MaskedModels,
    "tfkd.tasks.Perplexity": LanguageModels,
    "tfkd.tasks.Segmentation": Segmentation,
    "tfkd.tasks.SentenceEmbedding": Sentences,
    "tfkd.tasks.TextClassification": Texts,
    "tfkd.tasks.TokenAccuracy": LanguageModels,
    "tfkd.testing": ResNets,
    "tfkd.testing.check_recipe": Images,
    "tfkd.text": Texts,
    "tfkd.text.DistilBERT": MaskedTexts,
    "tfkd.text.DistilGPT2": LanguageModels,
    "tfkd.text.GeneratedText": Writers,
    "tfkd.text.OnPolicyDistiller": LanguageModels,
    "tfkd.text.TinyBERT": FewHeads,
    "tfkd.text.mask_tokens": MaskedTexts,
}
# What examples read that a reader would have.
FILES = (
    *("age.keras", "model.keras", "resnet.keras", "tagger.keras", "teacher.keras", "third.keras"),
    *("mnist.npz", "train.npz", "labels.txt", "old.h5", "student.tflite", "teacher.tflite"),
    *("all-MiniLM-L6-v2", "bert-base-uncased", "gpt2", "reviews.tsv"),
)


def world_of(name: str) -> Images | Texts:
    """What stands around the example of a public name."""
    return WORLDS[max((start for start in WORLDS if name.startswith(start)), key=len)]()


def names_for(
    code: str, world: Images | Texts, module: str | None = None, files: Iterable[str] = FILES
) -> dict[str, Any]:
    """The names that code uses, out of those there are; the files that it names are written.

    Args:
        code: an example, or several.
        world: what it is about.
        module: whose public names it uses as they are.
        files: those that it may read.
    """
    for file in files:
        if f'"{file}"' in code:
            world.write(file)
    used = {word for word in re.findall(r"[A-Za-z_]\w*", code) if hasattr(type(world), word)}
    package = importlib.import_module(module or "tfkd")
    public = {name: getattr(package, name) for name in package.__all__} if module else {}
    return EVERYWHERE | public | {word: getattr(world, word) for word in used}
