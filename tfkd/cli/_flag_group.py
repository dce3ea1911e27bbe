"""FlagGroup: flags that belong together, reusable by any program."""

from collections.abc import Callable, Mapping
from typing import Any

from absl import flags


class FlagGroup:
    """Flags that belong together, and the keyword arguments they translate to.

    No flag is defined until the group is called, so programs that do not use it can reuse its flag names.

    Args:
        name: name of the group, for messages.
        define: defines the flags in the given `flags.FlagValues`.
        arguments: reads their values from such an object.
        named: maps arguments to their flags, where the names differ.

    Example:
        >>> speed = FlagGroup(
        ...     "speed",
        ...     lambda values: flags.DEFINE_integer("threads", 1, "how many threads", flag_values=values),
        ...     lambda values: {"threads": values.threads},
        ... )
        >>> speed()
        >>> app.run(lambda argv: work(**speed.arguments()))
    """

    def __init__(
        self,
        name: str,
        define: Callable[[flags.FlagValues], Any],
        arguments: Callable[[flags.FlagValues], dict[str, Any]],
        named: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self._arguments, self.named = name, arguments, dict(named or {})
        self._flags = flags.FlagValues()
        define(self._flags)

    @property
    def names(self) -> list[str]:
        """The names of its flags."""
        return list(self._flags)

    @property
    def flags(self) -> list[flags.Flag]:
        """Its absl flags, with help and defaults."""
        return [self._flags[name] for name in self.names]

    def __call__(self, module: str | None = None) -> "FlagGroup":
        """Defines the flags, or reuses those it has already defined; returns the group.

        Args:
            module: the name of the module whose `--help` shows them; None for the caller's.

        Raises:
            ValueError: if another module has defined a flag of the same name differently.
        """
        for name in self.names:
            self._define(name, module)
        return self

    def _define(self, name, module):
        flag, known = self._flags[name], flags.FLAGS
        if name not in known:
            # An earlier run in this process may have left a value.
            flag.unparse()
            flags.DEFINE_flag(flag, module_name=module)
        elif known[name] is not flag:
            theirs, group = known.find_module_defining_flag(name), f"tfkd's group {self.name!r}"
            raise ValueError(
                f"--{name} has two meanings: {known[name].help!r} in module {theirs}, and {flag.help!r} in "
                f"{group}. Rename the flag in {theirs}, or leave {group} out and give its arguments "
                "yourself."
            )
        elif module is not None:
            known.register_key_flag_for_module(module, flag)

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of a pipeline, after the command line has been parsed."""
        return self._arguments(flags.FLAGS)

    def values(self) -> dict[str, Any]:
        """The values of the flags, by name."""
        return {name: flags.FLAGS[name].value for name in self.names}


# Flags belong to the module that defines them.
flags.disclaim_key_flags()
