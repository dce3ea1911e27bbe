"""The examples in docstrings run, and show what comes out."""

import pytest

from tests.examples import finding, running, worlds
from tests.examples.short import short_training as short_training

pytestmark = [pytest.mark.slow, pytest.mark.eager]

# Numbers that the authors of examples measured, on networks of their own.
MEASURED = {
    "tfkd.analysis.agreement",
    "tfkd.analysis.expected_calibration_error",
    "tfkd.analysis.fidelity",
    "tfkd.compression.sparsity",
    "tfkd.tasks.Segmentation",
    "tfkd.tasks.SentenceEmbedding",
}
# What is still to be given names and files that it runs with.
NOT_YET = [
    "tfkd.DataFreeDistiller",
    "tfkd.analysis.log_likelihood",
    "tfkd.compression.BridgedModel",
    "tfkd.compression.allocate_sparsity",
    "tfkd.compression.calibrate",
    "tfkd.compression.equalize_layers",
    "tfkd.compression.from_tf_keras",
    "tfkd.compression.iterative_pruning",
    "tfkd.compression.learn_rounding",
    "tfkd.compression.quantize_aware",
    "tfkd.compression.to_tf_keras",
    "tfkd.datafree.ProceduralText",
    "tfkd.datafree.reestimate_statistics",
    "tfkd.export.export_tflite",
    "tfkd.export.read_vocabulary",
    "tfkd.export.run_tflite",
    "tfkd.losses.MaskedLanguageModeling",
    "tfkd.schemes.NoisyStudent",
    "tfkd.schemes.SelfDistiller",
    "tfkd.schemes.pseudo_labels",
    "tfkd.tasks.CausalLanguageModel",
    "tfkd.tasks.MaskedLanguageModel",
    "tfkd.tasks.SentenceEmbedding",
    "tfkd.tasks.TextClassification",
    "tfkd.testing.check_recipe",
    "tfkd.text.BERTToBiLSTM",
    "tfkd.text.DistilBERT",
    "tfkd.text.DistilGPT2",
    "tfkd.text.EmbeddingDistillation",
    "tfkd.text.GeneratedText",
    "tfkd.text.OnPolicyDistiller",
    "tfkd.text.TextRecipe",
    "tfkd.text.TinyBERT",
    "tfkd.text.TokenPooling",
    "tfkd.text.augment_by_predictions",
    "tfkd.text.augment_words",
    "tfkd.text.bilstm_classifier",
    "tfkd.text.causal_language_model",
    "tfkd.text.classifier",
    "tfkd.text.mask_tokens",
    "tfkd.text.masked_language_model",
    "tfkd.text.sentence_encoder",
    "tfkd.text.tokenizer_of",
]
# What is not run, and why.
WHOLE_JOB = "a whole job, which tests/pipelines and tests/searching run at a size for tests"
NOT_RUN = {
    **dict.fromkeys(NOT_YET, "no stand-ins yet that it is known to run with"),
    "tfkd.export.read_calibration": "reads what a whole job has left",
    "tfkd.search": WHOLE_JOB,
    "tfkd.searching.SearchResult": WHOLE_JOB,
    "tfkd.text.exact_gelu": "downloads a network",
}
EXAMPLES = finding.in_docstrings()
NOT_RUN |= {name: WHOLE_JOB for name in EXAMPLES if name.startswith("tfkd.pipelines.")}


def runs(name: str) -> bool:
    """Whether the example of a name is run here."""
    return name not in NOT_RUN


# The stand-ins for trained networks are not trained, and runs are cut short.
@pytest.mark.filterwarnings("ignore::tfkd.teachers.TeacherWarning", "ignore::tfkd.datafree.HealthWarning")
@pytest.mark.parametrize("name", filter(runs, EXAMPLES))
def test_example_runs(name, tmp_path, monkeypatch, short_training):
    monkeypatch.chdir(tmp_path)
    module, _, _ = name.rpartition(".")
    names = worlds.names_for(EXAMPLES[name], worlds.world_of(name), module)
    running.run_session(EXAMPLES[name], names, any_fractions=name in MEASURED)


def test_what_is_left_out_or_measured_has_an_example():
    assert {*NOT_RUN, *MEASURED, *worlds.WORLDS} - {*EXAMPLES, *worlds.PACKAGES} == set()
