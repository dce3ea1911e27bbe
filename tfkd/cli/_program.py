"""Program: a pipeline run by flags."""

import dataclasses
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf
from absl import flags

from tfkd.cli import _help, _terminal
from tfkd.cli._endings import BAD_INPUT, DONE, NOT_TRUSTWORTHY, UNEXPECTED, Interruptions, status_of
from tfkd.cli._flag_group import FlagGroup
from tfkd.pipelines import Compressed, Diagnosis, Distilled, Inspection, Searched
from tfkd.pipelines._run_folder import Interrupted

# These locate a run and say what to do with an earlier one; they do not describe the run.
_PASSING = ("output_dir", "resume", "overwrite")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """A program: its flags become the arguments of a pipeline.

    Its exit statuses are defined in `tfkd.cli._endings`.

    Args:
        name: its name in messages.
        purpose: what it does, in one line.
        example: a command line.
        pipeline: takes the groups' arguments, `verbose`, `flags` and `command`; its result is None in a
            worker that is not the chief.
        groups: its flags; they include `flag_groups.run` if a run can be resumed.
        needed: required flags.
        positional: the required flag that may be given without its name.
    """

    name: str
    purpose: str
    example: str
    pipeline: Callable[..., Distilled | Compressed | Searched | Inspection | Diagnosis | None]
    groups: Sequence[FlagGroup]
    needed: Sequence[str]
    positional: str | None = None

    @property
    def flags(self) -> list[str]:
        """The names of its flags."""
        return [name for group in self.groups for name in group.names]

    def define_flags(self) -> None:
        """Defines its flags and does nothing else."""
        for group in self.groups:
            group(module=self.name)

    def run(self, typed: Sequence[str] | None = None) -> int:
        """Runs the program; returns its exit status.

        Args:
            typed: the command line, starting with the program's name; None for the command line of this
                process.
        """
        typed = sys.argv if typed is None else typed
        self.define_flags()
        with (
            _terminal.lasting_output(),
            _terminal.short_warnings(self._in_flags),
            Interruptions() as interruptions,
        ):
            try:
                return self._run(typed)
            except KeyboardInterrupt as error:
                go_on = isinstance(error, Interrupted)
            except Exception as error:
                if interruptions.number is None:
                    return self._failed(error)
                # A library has turned the interruption into another error.
                go_on = self._has_begun()
            if sys.stderr.isatty():
                # After the ^C shown by the terminal.
                print(file=sys.stderr)
            self._say(
                self._how_to_go_on(typed)
                if go_on
                else "interrupted before training began: start the run again."
            )
            return interruptions.status

    def _run(self, typed):
        if (text := self._asked_for(typed)) is not None:
            print(text)
            return DONE
        try:
            self._read(typed)
        except (flags.Error, ValueError) as error:
            self._say(f"{error} See {self.name} --help.")
            return BAD_INPUT
        if not flags.FLAGS["verbosity"].present:
            _terminal.only_errors()
        # Show everything about an unexpected error.
        keras.config.disable_traceback_filtering()
        tf.debugging.disable_traceback_filtering()
        result = self._result()
        if result is None:
            return DONE
        # The summary starts with the problem, if there is one.
        print(f"\n{self._in_flags(result.summary())}")
        return NOT_TRUSTWORTHY if result.problem else DONE

    def _has_begun(self):
        """Whether there is a run to resume."""
        if "output_dir" not in self.flags:
            return False
        return os.path.exists(os.path.join(flags.FLAGS["output_dir"].value or "", "run.json"))

    def _asked_for(self, typed):
        """The text to show instead of running, regardless of the other arguments; None to run."""
        asked = {_name(word) for word in typed[1:] if word.startswith("-")}
        if "version" in asked:
            return _help.version(self.name)
        if not asked & {"help", "helpshort", "helpfull", "h", "?"}:
            return None
        text = _help.short_help(
            self.name, self.purpose, self.needed, self.example, self.groups, self.positional
        )
        return _help.full_help(text, self.name) if "helpfull" in asked else text

    def _read(self, typed):
        """Parses the flags, or raises an error."""
        left = flags.FLAGS(typed)[1:]
        if self.positional and len(left) == 1 and not flags.FLAGS[self.positional].present:
            flags.FLAGS[self.positional].parse(left.pop())
        if left:
            raise ValueError(f"Unexpected arguments: {' '.join(left)}. Flags start with two dashes.")
        if missing := [f"--{flag}" for flag in self.needed if not flags.FLAGS[flag].value]:
            raise ValueError(f"{self.name} needs {' and '.join(missing)}.")

    def _result(self):
        arguments, values = {}, {}
        for group in self.groups:
            arguments |= group.arguments()
            values |= {name: v for name, v in group.values().items() if name not in _PASSING}
        return self.pipeline(
            **arguments, flags=values, command=self._command(), verbose=1 if sys.stdout.isatty() else 2
        )

    def _command(self):
        """The command line of this run, including flags read from files."""
        given = (flags.FLAGS[name] for name in self.flags if name not in ("resume", "overwrite"))
        return shlex.join([self.name, *(word for flag in given if flag.present for word in _typed(flag))])

    def _failed(self, error):
        status = status_of(error)
        if status != UNEXPECTED:
            self._say(self._in_flags(str(error)))
            return status
        traceback.print_exception(error)
        self._say(
            "this is an unexpected error. Please report it with the lines above, the command, and what "
            f"{self.name} --version shows."
        )
        return status

    def _in_flags(self, message):
        """Rewrites a message about arguments to name flags: `folder` becomes --output_dir."""
        flag_of = {name: name for name in self.flags}
        for group in self.groups:
            flag_of |= group.named

        def replaced(match):
            return f"--{flag_of[match[1]]}" if match[1] in flag_of else match[0]

        return re.sub(r"`(\w+)`", replaced, message)

    def _how_to_go_on(self, typed):
        """The command that resumes a run."""
        # If the script is not on the path, as it was called.
        name = typed[0] if os.path.basename(typed[0]) == self.name else self.name
        dropped = ("overwrite", "nooverwrite", "resume", "noresume")
        words = [word for word in typed[1:] if not word.startswith("-") or _name(word) not in dropped]
        # A flag file may contain it, too.
        kept = ["--nooverwrite"] * (flags.FLAGS.overwrite and any(_name(w) == "flagfile" for w in words))
        return f"interrupted; continue with: {shlex.join([name, *words, *kept, '--resume'])}"

    def _say(self, message):
        print(f"{self.name}: {message}", file=sys.stderr)


def _name(word):
    """The flag that a word of the command line refers to."""
    return word.lstrip("-").partition("=")[0]


def _typed(flag):
    """A flag as typed; a repeatable flag once for each value."""
    first, *others = flag.serialize().split(f"\n--{flag.name}=")
    return [first, *(f"--{flag.name}={value}" for value in others)]
