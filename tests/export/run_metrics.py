"""What `metrics.json` holds of runs, made up, for tests of pages and model cards."""

from tfkd.tasks import Task


def metrics_of(task: Task, scores=None, **others) -> dict:
    """Metrics of a run without data."""
    return {
        **_shared("distil", task, scores),
        "agreement": 0.876,
        "agreement_on": "real inputs" if scores else "synthesized inputs",
        "rarest_class_share": 0.3,
        "synthetic_images": 50,
        "images_generated": 100,
        "student_updates": 10,
        "epochs": 1,
        "steps_per_epoch": 10,
        "synthesis_seconds": 1.0,
        "student_seconds": 2.0,
        "recipe": {"name": "procedural", "batch_size": 8},
        "recipe_reason": "It was requested.",
        "stopped": None,
        "health": {"findings": []},
        "batch_statistics": None,
        **others,
    }


def metrics_with_data(task: Task, scores=None, **others) -> dict:
    """Metrics of a run with training data, measured on others."""
    return {
        **_shared("distil_with_data", task, scores),
        "agreement": 0.876,
        "agreement_on": "evaluation examples",
        "measured_images": 50,
        "training_images": 90,
        "validation_images": 10,
        "scheme": {"name": "eskd", "options": {}},
        "epochs": 1,
        "networks": [{"name": "teacher_1", "params": 9, **_scored(scores)}],
        **others,
    }


def compression_metrics(task: Task, scores=None, **others) -> dict:
    """Metrics of a compression."""
    shared = _shared("compress", task, scores)
    sizes = {"name": "net", "sparsity": 0.5, "latency_2_threads_ms": 0.1}
    rows = [{**row, **sizes, "gzip_bytes": 100 + i} for i, row in enumerate(shared["variants"] * 2)]
    return {
        **shared,
        "variants": rows,
        "model": {"name": "net", "file": "net.keras", "params": 9},
        "teacher": "folder/net.keras",
        "recipe": {"name": "procedural"},
        "sparsity": 0.5,
        "training_images": None,
        "synthetic_images": 50,
        "stages": [{"name": "pruned", "seconds": 1.0, "updates": 3, "loss": 0.5, "agreement": 0.9}],
        **others,
    }


def search_metrics(task: Task, scores=None, **others) -> dict:
    """Metrics of a search of two trials."""
    trials = [
        {
            "point": {"width": width},
            "objective": width,
            "parameters": 100,
            "flops": 2000,
            "milliseconds": 0.1,
            "seconds": 1.0,
        }
        for width in (0.25, 0.5)
    ]
    point = trials[1]["point"]
    return {
        **_shared("search", task, scores),
        "search": {
            "objective": "agreement",
            "budget": {"quantization": "float32"},
            "trials": trials,
            "best": point,
            "front": [point],
            "over_budget": 1,
            "impossible": [],
        },
        "strategy": "random",
        "recipe": {"name": "procedural"},
        "training_images": None,
        "synthetic_images": 50,
        **others,
    }


def _scored(scores):
    return {"accuracy": (scores or {}).get("accuracy"), "scores": scores or {}}


def _shared(pipeline, task, scores):
    network = {"name": "net", "file": "net.keras", "params": 9, **_scored(scores)}
    tflite = {
        "quantization": "int8",
        "size_bytes": 2048,
        "agreement": 0.987,
        "max_difference": 0.123,
        "latency_ms": 0.1,
        "model_scores": scores or {},
        **_scored(scores),
    }
    return {
        "pipeline": pipeline,
        "command": f"tfkd-{pipeline} --teacher='my teacher.keras' --output_dir=out",
        "flags": {"teacher": "my teacher.keras"},
        "teacher": network,
        "student": network,
        "task": task.name,
        "classes": task.classes,
        "class_names": None,
        "params": {"teacher": 9, "student": 7},
        "tflite": tflite,
        "variants": [{"model": "student", "params": 7, **tflite}],
        "evaluation_images": 50 if scores else None,
        "problem": None,
        "seed": 0,
        "device": "2 CPU cores",
        "versions": {"tfkd": "0"},
        "wall_seconds": 70.0,
    }
