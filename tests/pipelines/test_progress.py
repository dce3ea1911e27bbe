"""What is shown of training: lines that fit 80 columns, and a bar in a terminal."""

import io
import re

import keras
import numpy as np
import pytest
import rich.progress
from rich.console import Console

from tests.conftest import small_network
from tfkd.datafree import DataFreeDistiller, Procedural
from tfkd.pipelines._progress import ShownProgress

LOGS = {"loss": 0.0012345, "agreement": 1.0, "objective": 3.0, "health_agreement": 1.0, "health_guess": 0.3}
LOGS |= {"val_loss": 1.5, "val_mean_absolute_error": 1234.5678}


class Judge:
    """Stands for `Health`."""

    def __init__(self, healthy):
        self.healthy = healthy


def show(verbose, healthy=True, logs=LOGS, epochs=1000, steps=2):
    with ShownProgress(verbose, Judge(healthy)) as progress:
        progress.set_params({"epochs": epochs, "steps": steps, "verbose": 0})
        progress.on_train_begin()
        for epoch in (0, epochs - 1):
            progress.on_epoch_begin(epoch)
            for batch in range(steps):
                progress.on_train_batch_end(batch, logs)
            progress.on_epoch_end(epoch, logs)


@pytest.mark.parametrize("verbose", [1, 2])
def test_a_line_for_each_epoch(verbose, capsys):
    show(verbose)
    first, *epochs = capsys.readouterr().out.splitlines()
    assert first == "first step: compiling, may take a minute"
    figures = "loss 0.00123  agree 100.0%  health good 100%  val 1235"
    assert epochs == [f"epoch    1/1000  0 s  {figures}", f"epoch 1000/1000  0 s  {figures}"]
    assert max(map(len, epochs)) <= 76


def test_health_is_a_word_and_a_figure(capsys):
    show(2, healthy=False, logs={**LOGS, "health_agreement": 0.314})
    assert "health poor 31%" in capsys.readouterr().out


def test_figures_that_are_not_there_or_not_finite(capsys):
    show(2, logs={"loss": np.nan, "agreement": np.nan})
    assert capsys.readouterr().out.splitlines()[1].endswith("0 s  loss nan  agree nan%")
    show(2, logs={})
    assert capsys.readouterr().out.splitlines()[1].endswith("0 s")


def test_nothing_is_shown(capsys):
    show(0)
    assert capsys.readouterr() == ("", "")


def test_a_bar_fits_a_terminal_and_is_gone_at_the_end(monkeypatch):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(rich.progress, "get_console", lambda: console)
    with ShownProgress(1) as progress:
        progress.set_params({"epochs": 100000, "steps": 10, "verbose": 0})
        progress.on_train_begin()
        progress.on_epoch_begin(49999)
        progress._bar.refresh()
        with pytest.raises(ValueError), ShownProgress(1):
            raise ValueError
    drawn = screen.getvalue()
    assert "epoch 50000/100000 " in drawn and "50%" in drawn and "━" in drawn
    shown = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", drawn).replace("\r", "\n")
    assert 60 < max(map(len, shown.splitlines())) <= 80
    # The cursor is seen again, also after an error.
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")


@pytest.mark.parametrize("verbose", ["auto", 1, 2, 0])
def test_fit_says_that_its_first_step_takes_long(teacher, capsys, verbose):
    keras.utils.set_random_seed(0)
    recipe = Procedural(epochs=1, steps_per_epoch=1, batch_size=8, memory=0, refine_steps=0)
    distiller = DataFreeDistiller(teacher, small_network(2), recipe, seed=0)
    distiller.compile()
    for said in (True, False):
        distiller.fit(verbose=verbose)
        # The second time it is compiled.
        assert ("first step: compiling, may take a minute\n" in capsys.readouterr().out) == (
            said and verbose != 0
        )
