"""Callbacks that save a run's state and images as it goes."""

import os

import keras

from tfkd._core import files
from tfkd._core.replicas import from_all
from tfkd.export import _pictures as pictures
from tfkd.pipelines._run_folder import RunFolder


class FolderCheck(keras.callbacks.Callback):
    """Ends training if the folder of the run was removed, instead of recreating it half empty.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self.folder = folder

    def on_epoch_end(self, epoch, logs=None):
        self.folder.check()


class SaveState(keras.callbacks.Callback):
    """Saves everything the distiller needs to resume, after each epoch, atomically.

    Args:
        path: a `.weights.h5` file.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        with files.replacing(self.path) as temporary:
            self.model.save_weights(temporary)
            # If workers are killed, all have saved the same epoch.
            from_all(self.model.distribute_strategy, epoch)


class ImageGrids(keras.callbacks.Callback):
    """Saves a labelled grid of synthesized images a few times per run.

    Args:
        folder: folder for the PNG files.
        epochs: number of epochs in the run.
        times: approximate number of grids.
    """

    def __init__(self, folder: str, epochs: int, times: int = 4) -> None:
        super().__init__()
        self.folder = folder
        self.every = max(1, epochs // times)

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0 or (epoch + 1) % self.every == 0:
            distiller = self.model
            with distiller.preserving_state():
                images = distiller.synthesize(32)
            png = pictures.image_grid(images, distiller.teacher, columns=8)
            files.write_bytes(os.path.join(self.folder, f"epoch_{epoch + 1:04d}.png"), png)
