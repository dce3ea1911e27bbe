"""Programs: what is typed reaches the pipeline, and what comes back ends the program."""

import dataclasses
import json
import math
import re
import shlex
import types
import warnings

import pytest

from tests.cli import running
from tfkd.cli import compress, data_free, distill, search
from tfkd.pipelines._automatic import AutomaticRecipe
from tfkd.pipelines._run_folder import Interrupted
from tfkd.searching import Budget
from tfkd.teachers import TaskWarning


class Pipeline:
    """Stands for a pipeline: notes its arguments, then raises or returns what it was made with."""

    def __init__(self, error=None, problem=None, warned=()):
        self.error, self.problem, self.warned = error, problem, warned

    def __call__(self, **arguments):
        self.arguments = arguments
        for warning in self.warned:
            warnings.warn(warning, stacklevel=1)
        if self.error:
            # As if from the library.
            exec("raise error", {"__name__": "tfkd.stand_in", "error": self.error})
        return types.SimpleNamespace(problem=self.problem, summary=lambda: "98 % at last")


def run(module, *typed, status=0, **pipeline):
    """Runs a program with a stand-in for its pipeline; returns the arguments and what was printed."""
    made = Pipeline(**pipeline)
    done = running.run(dataclasses.replace(module.PROGRAM, pipeline=made), *typed, status=status)
    return made.arguments, done


def test_flags_are_the_arguments_of_distil(tmp_path):
    typed = ["--teacher=t.h5", f"--output_dir={tmp_path}"]
    arguments, done = run(data_free, *typed)
    assert "98 % at last" in done.stdout
    flags = arguments.pop("flags")
    assert flags["teacher"] == "t.h5" and flags["student"] == "0.5x"
    # What would be another run when it is resumed.
    assert not {"output_dir", "resume", "overwrite"} & flags.keys()
    json.dumps(flags)
    recipe = arguments.pop("recipe")
    overrides = dict.fromkeys(("epochs", "steps_per_epoch", "batch_size", "memory", "pictures"))
    assert recipe == AutomaticRecipe([], overrides)
    assert arguments == {
        "teacher": "t.h5",
        "teacher_options": {
            "weights": None,
            "input_range": None,
            "mean": 0.0,
            "std": 1.0,
            "channel_order": "rgb",
            "input_shape": None,
            "from_logits": None,
            "output": None,
            "task": None,
            "trust_files": False,
            "layout": None,
        },
        "students": "0.5x",
        "inherit": False,
        "evaluation_data": None,
        "tflite": "int8",
        "min_agreement": 0.9,
        "labels": None,
        "folder": str(tmp_path),
        "resume": False,
        "overwrite": False,
        "seed": 0,
        "jit_compile": "auto",
        "strategy": None,
        "verbose": 2,
        "command": f"tfkd-data-free --teacher=t.h5 --output_dir={tmp_path}",
    }


def test_the_command_repeats_the_run(tmp_path):
    file = tmp_path / "run.flags"
    file.write_text("--teacher=my teacher.h5\n--seed=3\n")
    typed = [f"--flagfile={file}", "--output_dir=out", "--overwrite", "--inherit", "--labels=a,b c"]
    typed += ["--recipe_options=memory=2", "--recipe_options=epochs=1"]
    arguments, _ = run(data_free, *typed)
    words = shlex.split(arguments["command"])
    assert words[0] == "tfkd-data-free" and not any("overwrite" in word for word in words)
    again, _ = run(data_free, *words[1:])
    assert again.pop("overwrite") is False and arguments.pop("overwrite")
    assert again == arguments
    assert {"--recipe_options=memory=2", "--recipe_options=epochs=1", "--labels=a,b c"} <= {*words}


def test_flags_that_say_something_else(tmp_path):
    preset = tmp_path / "run.flags"
    preset.write_text("--recipe=DFAD\n--recipe_options=filters=4\n--epochs=3\n")
    typed = ["--teacher=t.h5", "--output_dir=out", f"--flagfile={preset}", "--recipe_options=latent_size=5"]
    typed += [
        "--input_range=0,255",
        "--input_mean=1,2,3",
        "--input_std=4",
        "--channel_order=bgr",
        "--input_shape=32,32,3",
        "--task=multi_label",
        "--layout=series",
        "--from_logits=false",
        "--teacher_output=1",
        "--student=resnet20",
        "--inherit",
        "--resume",
        "--trust_files",
    ]
    typed += ["--tflite=none", "--labels=a,b", "--eval_data=e.npz", "--seed=7", "--jit_compile=true"]
    arguments, _ = run(data_free, *typed)
    recipe = arguments["recipe"]
    assert (recipe.name, recipe.filters, recipe.latent_size, recipe.epochs) == ("dfad", 4, 5, 3)
    assert arguments["teacher_options"] == {
        "input_range": (0.0, 255.0),
        "mean": [1.0, 2.0, 3.0],
        "std": 4.0,
        "channel_order": "bgr",
        "input_shape": (32, 32, 3),
        "from_logits": False,
        "output": 1,
        "task": "multi_label",
        "trust_files": True,
        "layout": "series",
        "weights": None,
    }
    expected = {"students": "resnet20", "inherit": True, "resume": True, "tflite": None, "seed": 7}
    expected |= {"labels": ["a", "b"], "evaluation_data": "e.npz", "jit_compile": True}
    assert {name: arguments[name] for name in expected} == expected
    assert run(data_free, *typed[:2], "--teacher_output=kind")[0]["teacher_options"]["output"] == "kind"


def test_names_of_classes_may_come_from_a_file(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("0 card board\n1 plastic\n")
    typed = ["--teacher=t.h5", f"--output_dir={tmp_path}", f"--labels={path}"]
    assert run(data_free, *typed)[0]["labels"] == ["card board", "plastic"]
    path.write_text("")
    done = running.run(data_free.PROGRAM, *typed, status=2)
    assert "labels" in done.stderr and "it is empty" in done.stderr


def test_flags_are_the_arguments_of_compress():
    typed = [
        "--model=m.keras",
        "--output_dir=out",
        "--prune=0.8",
        "--prune_distribution=erk",
        "--cluster=8",
    ]
    typed += ["--quantize", "--train_data=t.npz", "--learning_rate=0.01", "--min_agreement=0.5"]
    arguments, _ = run(compress, *typed, "--tokenizer=words")
    expected = {
        "model": "m.keras",
        "tokenizer": "words",
        "teacher": None,
        "prune": 0.8,
        "prune_distribution": "erk",
        "cluster": 8,
    }
    expected |= {"quantize": True, "training_data": "t.npz", "learning_rate": 0.01, "min_agreement": 0.5}
    assert {name: arguments[name] for name in expected} == expected
    arguments, _ = run(compress, "--model=m.keras", "--output_dir=out")
    expected = {"prune": None, "prune_distribution": "lamp", "cluster": None, "quantize": False}
    expected |= {"training_data": None, "learning_rate": 2e-3, "min_agreement": 0.9, "tflite": "int8"}
    expected |= {"tokenizer": None}
    assert {name: arguments[name] for name in expected} == expected
    assert isinstance(arguments["recipe"], AutomaticRecipe)


def test_flags_are_the_arguments_of_search():
    typed = ["--teacher=t.keras", "--output_dir=out", "--width=0.25,0.5,own", "--depth=0.6,1"]
    typed += ["--kernel=3,own", "--exit=relu1,block/relu2", "--max_params=1000", "--max_flops=2000"]
    typed += ["--max_ms=0.5", "--timed_as=int8", "--trials=7", "--strategy=bayesian", "--inherit"]
    typed += ["--train_data=t.npz", "--epochs=2", "--batch_size=32"]
    arguments, _ = run(search, *typed)
    expected = {
        "space": {
            "width": [0.25, 0.5, None],
            "depth": [0.6, 1.0],
            "kernel": [3, None],
            "exit": ["relu1", "block/relu2"],
        },
        "budget": Budget(parameters=1000, flops=2000, milliseconds=0.5, quantization="int8"),
        "trials": 7,
        "strategy": "bayesian",
        "inherit": True,
        "training_data": "t.npz",
        "epochs": 2,
        "batch_size": 32,
    }
    assert {name: arguments[name] for name in expected} == expected
    assert arguments["recipe"].epochs == 2
    arguments, _ = run(search, *typed[:2], "--width=0.5")
    expected = {"space": {"width": [0.5]}, "budget": Budget(milliseconds=math.inf), "trials": 20}
    expected |= {"strategy": "random", "inherit": False, "training_data": None, "epochs": None}
    assert {name: arguments[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ([], "give at least one of --width, --depth, --kernel, --exit"),
        (["--width=half"], "--width takes numbers, or own. Received: half."),
        (["--kernel=3,2.5"], "--kernel takes integers, or own. Received: 3,2.5."),
        (["--width=0.5", "--max_ms=0"], "--max_ms must be above 0"),
    ],
)
def test_choices_that_cannot_be_read(typed, message):
    done = running.run(search.PROGRAM, "--teacher=t.keras", "--output_dir=out", *typed, status=2)
    assert message in done.stderr and "Traceback" not in done.stderr


def test_flags_are_the_arguments_of_distil_with_data():
    needed = ("--train_data=t.npz", "--output_dir=out")
    arguments, _ = run(distill, *needed, "--teacher=t.keras")
    expected = {"teacher": ["t.keras"], "students": None, "scheme": "distil", "scheme_options": []}
    expected |= {"losses": None, "loss_weights": None, "student_loss_weight": None, "inherit": False}
    expected |= {"training_data": "t.npz", "validation_split": 0.1, "unlabelled_data": None, "epochs": 10}
    expected |= {"batch_size": 128, "optimizer": "adam", "learning_rate": 1e-3, "tflite": "int8"}
    assert {name: arguments[name] for name in expected} == expected
    typed = ["--teacher=a.keras", "--teacher=b.h5", "--student=0.5x,net.keras", "--scheme=mutual"]
    typed += ["--scheme_options=together=false", "--losses=dist,hint:teacher_layer=a", "--losses=fsp"]
    typed += ["--loss_weights=1,0.5", "--student_loss_weight=0.25", "--unlabelled_data=more", "--epochs=3"]
    arguments, _ = run(distill, *needed, *typed, "--input_range=0,255", "--optimizer=sgd:momentum=0.9")
    expected = {"teacher": ["a.keras", "b.h5"], "students": ["0.5x", "net.keras"], "scheme": "mutual"}
    expected |= {"scheme_options": ["together=false"], "losses": ["dist,hint:teacher_layer=a", "fsp"]}
    expected |= {"loss_weights": [1.0, 0.5], "student_loss_weight": 0.25, "unlabelled_data": "more"}
    expected |= {"epochs": 3, "optimizer": "sgd:momentum=0.9"}
    assert {name: arguments[name] for name in expected} == expected
    assert arguments["teacher_options"]["input_range"] == (0.0, 255.0)
    json.dumps(arguments["flags"])
    assert run(distill, *needed, "--loss_weights=published")[0]["loss_weights"] == "published"


def test_flags_are_the_arguments_of_distil_text():
    needed = ("--task=text", "--teacher=encoder", "--train_data=t.tsv", "--output_dir=out")
    arguments, _ = run(distill, *needed)
    assert arguments["text"] == {
        "teacher": "encoder",
        "student": None,
        "training_data": "t.tsv",
        "evaluation_data": None,
        "unlabelled_data": None,
        "tokenizer": None,
        "recipe": None,
        "recipe_options": [],
        "text_column": None,
        "label_column": None,
        "labels": None,
        "max_length": 64,
        "teacher_epochs": 3,
        "augment": False,
        "validation_split": 0.1,
        # What the recipe says, and what suits texts, not what images have.
        "epochs": None,
        "batch_size": None,
        "learning_rate": None,
        "tflite": "dynamic",
        "min_agreement": 0.9,
        "folder": "out",
        "resume": False,
        "overwrite": False,
        "seed": 0,
        "jit_compile": "auto",
    }
    json.dumps(arguments["flags"])
    typed = ["--student=0,2,5", "--recipe=TinyBERT", "--recipe_options=stage=task", "--tokenizer=words"]
    typed += ["--epochs=10", "--batch_size=128", "--learning_rate=0.001", "--tflite=none", "--augment"]
    typed += ["--text_column=said", "--label_column=2", "--max_length=32", "--teacher_epochs=1"]
    arguments, _ = run(distill, *needed, *typed, "--unlabelled_data=more.txt", "--eval_data=e.tsv")
    expected = {"student": "0,2,5", "recipe": "TinyBERT", "recipe_options": ["stage=task"]}
    expected |= {"tokenizer": "words", "epochs": 10, "batch_size": 128, "learning_rate": 1e-3}
    expected |= {"tflite": None, "augment": True, "text_column": "said", "label_column": "2"}
    expected |= {"max_length": 32, "teacher_epochs": 1, "unlabelled_data": "more.txt"}
    assert {name: arguments["text"][name] for name in expected} == expected
    assert arguments["text"]["evaluation_data"] == "e.tsv"
    assert run(distill, "--train_data=t.npz", "--output_dir=out", "--teacher=t")[0]["text"] is None


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (
            ["--scheme=mutual", "--input_range=0,255"],
            "--scheme, --input_range cannot be used with --task=text. Leave",
        ),
        (["--losses=dist"], "--losses cannot be used with --task=text. Leave it out; --recipe"),
        (["--teacher=b"], "--teacher: --task=text needs a .keras file"),
        (["--task=auto", "--recipe=tiny_bert"], "--recipe: only with --task=text. Add that flag"),
        (["--task=auto", "--noaugment"], "--augment: only with --task=text"),
    ],
)
def test_flags_of_texts_and_of_images_do_not_mix(typed, message):
    needed = ("--task=text", "--teacher=a", "--train_data=t", "--output_dir=out")
    done = running.run(distill.PROGRAM, *needed, *typed, status=2)
    assert message in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("module", "message", "shown"),
    [
        (data_free, "`folder`: 'x' is not empty", "--output_dir: 'x' is not empty"),
        (data_free, "`resume` needs `seed`=1", "--resume needs --seed=1"),
        (data_free, "`students`: `evaluation_data`", "--student: --eval_data"),
        (data_free, "`std` must be above 0", "--input_std must be above 0"),
        (data_free, "`training_data` and `temperature`", "`training_data` and `temperature`"),
        (compress, "`training_data` and `prune`", "--train_data and --prune"),
        (distill, "`students`: give `training_data`", "--student: give --train_data"),
    ],
)
def test_messages_name_flags(module, message, shown):
    needed = ("--teacher=t", "--model=t", "--train_data=t", "--output_dir=x")
    typed = [flag for flag in needed if flag[2:].split("=")[0] in module.PROGRAM.flags]
    _, done = run(module, *typed, status=2, error=ValueError(message))
    assert done.stderr == f"{module.PROGRAM.name}: {shown}\n"


def test_a_result_that_lacks_something_has_an_exit_status_of_its_own():
    typed = ("--teacher=t", "--output_dir=x")
    _, done = run(data_free, *typed, status=3, problem="there is no student.tflite")
    assert done.stderr == "" and "98 %" in done.stdout


def test_an_error_nobody_expected_is_shown_whole():
    # Raised by this module, which is not of the library.
    def broken(**arguments):
        raise ValueError("deep inside")

    program = dataclasses.replace(data_free.PROGRAM, pipeline=broken)
    done = running.run(program, "--teacher=t", "--output_dir=x", status=1)
    *trace, last = done.stderr.splitlines()
    assert trace[0].startswith("Traceback") and trace[-1] == "ValueError: deep inside"
    assert last.startswith("tfkd-data-free: this is an unexpected error. Please report it")
    assert "tfkd-data-free --version" in last


def test_warnings_are_lines_without_sources():
    ours = TaskWarning("assumed, as `students` says;\n  set `task`"), UserWarning("look out")
    hidden = DeprecationWarning("old name"), FutureWarning("of numpy"), RuntimeWarning("overflow")
    _, done = run(data_free, "--teacher=t", "--output_dir=x", warned=(*ours, *ours, *hidden))
    assert done.stderr == "Warning: assumed, as --student says; set --task\nWarning: look out\n"


def test_an_option_that_has_a_new_name_is_a_warning():
    _, done = run(
        data_free, "--teacher=t", "--output_dir=x", "--recipe=procedural", "--recipe_options=accumulate=2"
    )
    assert re.fullmatch(r"Warning: .*accumulate.* microbatches; .*\n", done.stderr)


@pytest.mark.parametrize("asked", ["--help", "-h", "--helpshort", "--help=teacher", "--helpfull"])
@pytest.mark.parametrize("module", [data_free, compress, distill, search])
def test_help_tells_every_flag_and_status_whatever_else_is_typed(module, asked):
    done = running.run(module.PROGRAM, "--nonsense", asked)
    told = re.findall(r"^  --(?:\[no\])?(\w+)$", done.stdout, re.M)
    assert set(told) >= {*module.PROGRAM.flags, "help", "version", "flagfile", "verbosity"}
    assert len(set(told)) == len(told)
    assert all(f"\n  {status}\n" in done.stdout for status in ("0", "1", "2", "3", "130, 143"))
    assert f"{module.PROGRAM.name} --" in done.stdout and done.stderr == ""
    assert ("absl.logging:" in done.stdout) == (asked == "--helpfull")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--overwrite"], ["--resume"]),
        (["--overwrite=true", "--noresume"], ["--resume"]),
        (["--labels=a b,c", "--resume"], ["'--labels=a b,c'", "--resume"]),
        (["--flagfile=FILE"], ["--flagfile=FILE", "--nooverwrite", "--resume"]),
    ],
)
def test_an_interruption_says_how_to_go_on(typed, said, tmp_path):
    preset = tmp_path / "run.flags"
    preset.write_text("--overwrite\n")
    typed, said = ([word.replace("FILE", str(preset)) for word in words] for words in (typed, said))
    _, done = run(data_free, "--teacher=t", "--output_dir=x", *typed, status=130, error=Interrupted())
    expected = " ".join(["tfkd-data-free --teacher=t --output_dir=x", *said])
    assert done.stderr == f"tfkd-data-free: interrupted; continue with: {expected}\n"
    _, done = run(data_free, "--teacher=t", "--output_dir=x", *typed, status=130, error=KeyboardInterrupt())
    assert done.stderr == "tfkd-data-free: interrupted before training began: start the run again.\n"


@pytest.mark.parametrize(
    ("module", "typed", "message"),
    [
        (compress, [], "tfkd-compress needs --model and --output_dir."),
        (distill, ["--teacher=t"], "tfkd-distill needs --train_data and --output_dir."),
        (distill, ["--losess=dist"], "Unknown command line flag 'losess'. Did you mean: losses"),
        (data_free, ["--teacher=t.keras"], "tfkd-data-free needs --output_dir."),
        (data_free, ["--teachr=t.keras"], "Unknown command line flag 'teachr'. Did you mean: teacher"),
        (data_free, ["--epochs=many"], "flag --epochs=many"),
        (data_free, ["--epochs=0"], "flag --epochs=0"),
        (data_free, ["--tflite=int3"], "flag --tflite=int3"),
        (data_free, ["--flagfile=nowhere.flags"], "nowhere.flags"),
        (compress, ["model.keras", "out"], "Unexpected arguments: model.keras out."),
    ],
)
def test_usage_that_cannot_be_read(module, typed, message):
    done = running.run(module.PROGRAM, *typed, status=2)
    assert message in done.stderr and done.stderr.endswith(f"See {module.PROGRAM.name} --help.\n")
    assert done.stderr.count("\n") == 1 and done.stdout == ""


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("--input_range=0", "--input_range takes two numbers"),
        ("--input_mean=grey", "--input_mean and --input_std"),
        ("--recipe=procedurel", "Did you mean 'procedural'"),
        ("--recipe_options=memory", "--recipe_options must be key=value"),
        ("--recipe_options=memori=3", "Did you mean 'memory'"),
    ],
)
def test_flags_that_cannot_be_read(typed, message):
    done = running.run(
        data_free.PROGRAM, "--teacher=t.keras", "--output_dir=out", "--memory=32", typed, status=2
    )
    assert message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--scheme=assistant"], "Unknown scheme 'assistant'. Did you mean 'assistants'"),
        (["--scheme=mutual", "--student=a.keras"], "--student: scheme 'mutual' needs at least 2"),
        (["--scheme=noisy_student"], "--unlabelled_data is missing"),
        (["--scheme_options=sizes=1"], "Unknown option of scheme 'distil' 'sizes'"),
        (["--losses=soft_target"], "Unknown loss in --losses 'soft_target'. Did you mean 'soft_targets'"),
        (["--loss_weights=a"], "--loss_weights takes numbers, or published. Received: a."),
        (["--optimizer=adm"], "Unknown optimizer in --optimizer 'adm'. Did you mean 'adam'"),
    ],
)
def test_what_distill_refuses(typed, message, tmp_path):
    place = tmp_path / "out"
    given = ("--teacher=t.keras", "--train_data=t.npz", f"--output_dir={place}")
    done = running.run(distill.PROGRAM, *given, *typed, status=2)
    assert message in done.stderr and done.stderr.count("\n") == 1 and not place.exists()
    without = running.run(distill.PROGRAM, *given[1:], status=2)
    assert "--teacher: scheme 'distil' needs one" in without.stderr


@pytest.mark.program
def test_a_whole_program(teacher_file, eval_file, tmp_path):
    typed = (f"--model={teacher_file}", f"--eval_data={eval_file}", f"--output_dir={tmp_path / 'out'}")
    done = running.run(compress.PROGRAM, *typed, "--tflite=float16")
    assert "model accuracy on 200 real examples" in done.stdout
    assert "written file, float16" in done.stdout and str(tmp_path / "out/report.html") in done.stdout
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["flags"]["tflite"] == "float16" and metrics["flags"]["eval_data"] == eval_file
    missing = running.run(
        compress.PROGRAM, "--model=none.keras", f"--output_dir={tmp_path / 'no'}", status=2
    )
    assert missing.stderr.startswith("tfkd-compress: --model: the file 'none.keras' does not exist.")
    again = running.run(compress.PROGRAM, *typed, status=2)
    assert "is not empty; continue it with --resume, or replace it with --overwrite" in again.stderr
