"""Program: a pipeline that is asked for by flags."""

import dataclasses
import re
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from tfkd.cli._flag_group import FlagGroup
from tfkd.pipelines import Compressed, Distilled

# They say where a run is and what to do with an earlier one, not what this one is.
_PASSING = ("output_dir", "resume", "overwrite")


@dataclasses.dataclass(frozen=True)
class Program:
    """A program: its flags become the arguments of a pipeline.

    Bad input ends it with a message and exit status 2, a result that lacks something with 1.

    Args:
        name: what messages call it.
        pipeline: takes the groups' arguments, `verbose` and `flags`.
        groups: its flags.
        needed: flags that have to be given.
    """

    name: str
    pipeline: Callable[..., Distilled | Compressed]
    groups: Sequence[FlagGroup]
    needed: Sequence[str]

    @property
    def flags(self) -> list[str]:
        """The names of its flags."""
        return [name for group in self.groups for name in group.names]

    def define_flags(self) -> None:
        """Defines its flags, and nothing else does."""
        for group in self.groups:
            # `--help` shows the flags of the script that was started.
            group(module=sys.argv[0])

    def run(self) -> None:
        """Runs the program from the command line."""
        self.define_flags()
        app.run(self.main)

    def main(self, argv: list[str]) -> None:
        """Runs the program once its flags are read.

        Args:
            argv: what absl left of the command line.
        """
        if len(argv) > 1:
            raise app.UsageError(f"Unexpected arguments: {argv[1:]}. Options start with two dashes.")
        if missing := [f"--{flag}" for flag in self.needed if not flags.FLAGS[flag].value]:
            raise app.UsageError(f"{self.name} needs {' and '.join(missing)}.")
        if not flags.FLAGS["verbosity"].present:
            # TensorFlow tells at length how it saves and converts.
            logging.set_verbosity(logging.WARNING)
        try:
            result = self._result()
        except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
            self._end(2, self._in_flags(str(error)))
        print(f"\n{result.summary()}")
        if result.problem:
            self._end(1, result.problem)

    def _result(self):
        arguments, values = {}, {}
        for group in self.groups:
            arguments |= group.arguments()
            values |= {name: v for name, v in group.values().items() if name not in _PASSING}
        return self.pipeline(**arguments, flags=values, verbose=1 if sys.stdout.isatty() else 2)

    def _in_flags(self, message):
        """A message about arguments as one about flags: `folder` is --output_dir here."""
        flag_of = {name: name for name in self.flags}
        for group in self.groups:
            flag_of |= group.named

        def replaced(match):
            return f"--{flag_of[match[1]]}" if match[1] in flag_of else match[0]

        return re.sub(r"`(\w+)`", replaced, message)

    def _end(self, status, message):
        print(f"{self.name}: {message}", file=sys.stderr)
        sys.exit(status)
