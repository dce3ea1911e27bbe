"""The sentences of a model card on how far its network can be trusted."""

from tfkd.export._trust import UNMEASURED, trust, trust_in_file
from tfkd.tasks import Task

# The inputs on which files were compared with their networks.
_JUDGED_ON = {"distil_with_data": "held-out training examples", "distil_text": "held-out texts"}
_NO_DATA = (
    "It has never seen real data: it was trained only on synthesized inputs and its teacher's outputs for "
    "them."
)
_TEACHER = "It has also learned its teacher's mistakes; tfkd does not know what the teacher was trained on."
_OTHER_INPUTS = (
    "It also gives outputs for inputs of a kind that it was not made for, without any sign of how wrong "
    "they are."
)
_TRIAL = "It was trained only as long as a trial of the search; longer training improves it."


def judged_on(metrics: dict) -> str:
    """The inputs on which TFLite files were compared with their networks, in the plural."""
    return _JUDGED_ON.get(metrics["pipeline"], "synthesized inputs")


def examples(metrics: dict) -> str | None:
    """The inputs on which networks were measured; None if there were no real ones."""
    if "measured_images" in metrics:
        return f"{metrics['measured_images']:,} {metrics['agreement_on']}"
    count = metrics["evaluation_images"]
    return None if count is None else f"{count:,} real inputs"


def learned_from(metrics: dict) -> str | None:
    """The data that a network was trained on; None if it was not trained."""
    if metrics["pipeline"] == "compress" and not metrics["stages"]:
        return None
    return "real data" if metrics.get("training_images") else "synthesized inputs"


def limits(metrics: dict, task: Task) -> list[str]:
    """What users of a network need to know.

    Args:
        metrics: the contents of `metrics.json`.
        task: the network's task.

    Returns:
        A list of sentences.
    """
    sentences = [f"Attention: {metrics['problem']}."] if metrics["problem"] else []
    if learned_from(metrics) == "synthesized inputs":
        sentences.append(_NO_DATA)
    if learned_from(metrics) and metrics["teacher"]:
        sentences.append(_TEACHER)
    sentences.append(_OTHER_INPUTS)
    if metrics["pipeline"] == "search":
        sentences.append(_TRIAL)
    if metrics["pipeline"] == "distil":
        findings = metrics["health"]["findings"]
        return [
            *sentences,
            *trust(metrics, task),
            *(f"Epoch {each['epoch']}: {each['message']}" for each in findings),
        ]
    sentences.append(_measured(metrics))
    if metrics["tflite"]:
        sentences += trust_in_file(metrics["tflite"], task, judged_on(metrics))
    return sentences


def _measured(metrics):
    """A sentence about the data that the figures were measured on."""
    if (measured := examples(metrics)) is None:
        return UNMEASURED
    if metrics["evaluation_images"]:
        return f"Figures were measured on {measured}, which were not used for training or selection."
    return (
        f"Figures were measured on {measured}, which were not used for training. Anything selected by them "
        "looks slightly better than it is."
    )
