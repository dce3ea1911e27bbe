"""How far a network of a run can be trusted: the sentences of its model card."""

from tfkd.export._trust import UNMEASURED, trust, trust_in_file
from tfkd.tasks import Task

# What files were compared with their networks on.
_JUDGED_ON = {"distil_with_data": "held-out training examples", "distil_text": "held-out texts"}
_NO_DATA = (
    "It has never seen real data: it has learned from synthesized inputs alone, and from what its teacher "
    "answered to them."
)
_TEACHER = (
    "It has learned the mistakes of its teacher, too; tfkd does not know what that was trained on before."
)
_OTHER_INPUTS = (
    "Inputs of another kind than it was made for get an answer, too, and nothing says how right it is."
)
_TRIAL = "It has learned for as long as a trial of the search; a longer training makes it better."


def judged_on(metrics: dict) -> str:
    """What TFLite files were compared with their networks on, in the plural."""
    return _JUDGED_ON.get(metrics["pipeline"], "synthesized inputs")


def examples(metrics: dict) -> str | None:
    """What networks were measured on; None if nothing real was there."""
    if "measured_images" in metrics:
        return f"{metrics['measured_images']:,} {metrics['agreement_on']}"
    count = metrics["evaluation_images"]
    return None if count is None else f"{count:,} real inputs"


def learned_from(metrics: dict) -> str | None:
    """What a network has learned from; None if it was not trained."""
    if metrics["pipeline"] == "compress" and not metrics["stages"]:
        return None
    return "real data" if metrics.get("training_images") else "synthesized inputs"


def limits(metrics: dict, task: Task) -> list[str]:
    """What whoever wants to use a network has to know.

    Args:
        metrics: what `metrics.json` holds.
        task: what its outputs mean.

    Returns:
        Sentences.
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
    """What the figures are of."""
    if (measured := examples(metrics)) is None:
        return UNMEASURED
    if metrics["evaluation_images"]:
        return f"Figures are of {measured}, which taught and chose nothing."
    return (
        f"Figures are of {measured}. They taught nothing; what is chosen by them looks a little better "
        "than it is."
    )
