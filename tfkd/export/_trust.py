"""Sentences on how far a student can be trusted."""

from tfkd.export._figures import percent, score_name, score_text
from tfkd.tasks import Task

# Used if there were only synthesized inputs to measure on.
UNMEASURED = (
    "No real data was given, so the student's accuracy has not been measured. Agreement on synthesized "
    "inputs shows that it follows its teacher there, but tends to be a poor guide to accuracy on real "
    "inputs: evaluate it on real data before you rely on it."
)


def trust(metrics: dict, task: Task) -> list[str]:
    """Sentences on what the metrics do and do not show.

    Args:
        metrics: the content of `metrics.json`.
        task: the task of the networks.

    Returns:
        Sentences for readers who have to decide whether to use the student.
    """
    measured = metrics["evaluation_images"] is not None
    sentences = [_on_real_inputs(metrics, task) if measured else UNMEASURED]
    share = metrics["rarest_class_share"] * metrics["classes"] if task.has_classes else 1.0
    if share < 0.2:
        sentences.append(
            "The synthesized inputs cover the classes unevenly: the rarest class comes up "
            f"{share:.2f} times as often as in an even mix. Check how the networks compare on this class."
        )
    if tflite := metrics.get("tflite"):
        sentences += trust_in_file(tflite, task, "synthesized inputs")
    return sentences


def trust_in_file(tflite: dict, task: Task, judged_on: str) -> list[str]:
    """Sentences on what the metrics of a TFLite file show.

    Args:
        tflite: the file's part of `metrics.json`.
        task: the task of the networks.
        judged_on: a description, in the plural, of the inputs that the file was compared on.

    Returns:
        Sentences.
    """
    agreeing = task.agreement_text(percent(tflite["agreement"]), judged_on)
    sentences = [
        f"The TFLite file and the Keras model that it was made from {agreeing}; the largest difference of "
        f"an output there is {tflite['max_difference']:.3g}."
    ]
    if tflite.get("bias_corrected"):
        before = task.agreement_text(percent(tflite["uncorrected_agreement"]), "them")
        sentences.append(
            f"Its biases are corrected for rounded kernels; without this correction the two would {before}."
        )
    return sentences


def _on_real_inputs(metrics, task):
    teacher, student = metrics["teacher"], metrics["student"]
    if student["accuracy"] is None:
        compared = (
            f"has a {score_name(student)} of {score_text(student)}, the teacher {score_text(teacher)}"
        )
    else:
        lost = teacher["accuracy"] - student["accuracy"]
        compared = f"is {abs(lost) * 100:.2f} points {'below' if lost >= 0 else 'above'} the teacher"
    kept = "student that was kept" if metrics["stopped"] else "last epoch"
    agreeing = task.agreement_text(percent(metrics["agreement"]), "them")
    return (
        f"On {metrics['evaluation_images']:,} real inputs, used only to measure, the student {compared}; "
        f"both {agreeing}. Nothing was chosen by these figures; they were measured on the {kept}."
    )
