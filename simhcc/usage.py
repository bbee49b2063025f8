"""How the command line answers: wrong words with the nearest right ones, errors for people or machines, completion.

A command that fails says why in one form, whoever found it: `InputError` of ours, or a usage error of the library that
reads the command line. With `--json` among the words it is one JSON object on the last line of standard error.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from simhcc.errors import InputError, ModelError, SimhccError, SimulationError

FIELDS = ("file", "line", "key", "found", "expected")
# Newer releases of typer carry their own copy of click, older ones use click itself; this is the right class in both.
UsageError: Any = typer.BadParameter.__mro__[1]
JSON = "--json"
BAD_NAMES = (errno.ENAMETOOLONG, errno.EILSEQ)
VERBATIM = "\b\n"
"""before a paragraph of help that is not to be wrapped"""


class Commands(TyperGroup):
    """The group of all commands; what is wrong with a command line is said as any other wrong input is."""

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line; ends the process with its exit code unless `standalone_mode` is False."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, **extra)
        words = sys.argv[1:] if args is None else list(args)
        as_json = JSON in words
        try:
            code = super().main(args, prog_name, complete_var, False, **extra)
        except SimhccError as error:
            code = tell(error, as_json)
        except OSError as error:
            if error.filename is None:
                raise
            code = tell(_of_a_file(error), as_json)
        except UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                error.show()
                code = error.exit_code
            else:
                code = tell(_in_our_form(error, words), as_json, _help_of(error))
        except typer.Abort:
            typer.echo("interrupted", err=True)
            code = 1
        sys.exit(code if isinstance(code, int) else 0)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name, None where there is none. Its example is printed as it stands, to be copied."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and command.epilog and not command.epilog.startswith(VERBATIM):
            command.epilog = VERBATIM + command.epilog
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command of the first word. Raises InputError with the nearest one where there is none."""
        known = ctx.resilient_parsing or not args or args[0].startswith("-")  # resilient: completion, which asks gently
        if not known and self.get_command(ctx, args[0]) is None:
            from simhcc.inputs.reader import one_of

            raise InputError(
                "a command that does not exist", one_of(self.list_commands(ctx), args[0]), key=f"simhcc {args[0]}"
            )
        return super().resolve_command(ctx, args)


def tell(error: SimhccError, as_json: bool, more: str = "") -> int:
    """Say an error on standard error, for people with a line `more`, or for machines; returns the exit code."""
    wrong = isinstance(error, InputError | ModelError)
    if as_json:
        if isinstance(error, InputError):
            content: dict[str, Any] = {name: getattr(error, name) for name in FIELDS}
        else:
            content = dict.fromkeys(FIELDS) | {"found": str(error)}
        typer.echo(json.dumps({"error": content}, ensure_ascii=False), err=True)
    else:
        typer.echo(f"{'wrong input' if wrong else 'stopped'}: {error}", err=True)
        for note in [*getattr(error, "__notes__", []), *([more] if more else [])]:
            typer.echo(f"  {note}", err=True)
    return 2 if wrong else 1


@contextmanager
def errors(as_json: bool = False) -> Iterator[None]:
    """Turn our errors into words and an exit code; anything else is a defect and keeps its traceback."""
    try:
        yield
    except SimhccError as error:
        raise typer.Exit(tell(error, as_json)) from None
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(1) from None


def _of_a_file(error: OSError) -> SimhccError:
    """What the system says of a file, as wrong input where its name alone is at fault."""
    reason = (error.strerror or str(error)).lower()
    if error.errno in BAD_NAMES:
        name = str(error.filename)
        return InputError(f"{name[:60]!r}{'...' if len(name) > 60 else ''} ({reason})", "the name of a file or folder")
    return SimulationError(f"{error.filename}: {reason}")


def _in_our_form(error: Any, words: Sequence[str]) -> InputError:
    """A usage error of the library, with the field names of our own."""
    from simhcc.inputs.reader import one_of

    command = error.ctx.command_path if error.ctx is not None else "simhcc"
    name = getattr(error, "option_name", None)
    if name is not None and type(error).__name__ == "NoSuchOption":
        known = [word for found in error.ctx.command.params for word in (*found.opts, *found.secondary_opts)]
        options = [word for word in known if word.startswith("--")]
        return InputError(f"an option that `{command}` does not have", one_of(options, name), key=name)
    parameter = getattr(error, "param", None)
    key = name if parameter is None else _name_of(parameter)
    if type(error).__name__ == "MissingParameter":
        return InputError("nothing", getattr(parameter, "help", None) or "", key=key)
    if key is None:
        return InputError(error.format_message())
    value = _after(key, words) if parameter is not None else None
    return InputError(error.message if value is None else f"{value!r} ({error.message})", key=key)


def _after(option: str, words: Sequence[str]) -> str | None:
    """The value that an option got on the command line."""
    for number, word in enumerate(words):
        if word == option:
            return words[number + 1] if number + 1 < len(words) else None
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None


def _name_of(parameter: Any) -> str:
    options = [word for word in parameter.opts if word.startswith("--")]
    return options[0] if options else str(parameter.metavar or parameter.name.upper())


def _help_of(error: Any) -> str:
    return f"more: {error.ctx.command_path if error.ctx is not None else 'simhcc'} --help"


# ---------------------------------------------------------------------------------------------------------------------
# Completion in the shell. A shell that asks must get an answer, so wrong files give nothing rather than an error.


def _beginning(names: Callable[[], Iterable[str]], incomplete: str) -> list[str]:
    try:
        return [name for name in names() if name.startswith(incomplete)]
    except (SimhccError, OSError):
        return []


def _ids(kind: str, incomplete: str) -> list[str]:
    from simhcc.inputs.locate import list_inputs

    return _beginning(lambda: list_inputs(kind), incomplete)


def scenario_ids(incomplete: str) -> list[str]:
    """Ids of scenarios that begin so."""
    return _ids("scenario", incomplete)


def trial_ids(incomplete: str) -> list[str]:
    """Ids of trials that begin so."""
    return _ids("trial", incomplete)


def claim_ids(incomplete: str) -> list[str]:
    """Ids of claims that begin so."""
    return _ids("claim", incomplete)


def countries(incomplete: str) -> list[str]:
    """Country packs that begin so."""
    from simhcc.inputs import list_countries

    return _beginning(list_countries, incomplete)


def strategy_ids(incomplete: str) -> list[str]:
    """Ids of the strategies of the scenario on the command line, else of all, that begin so."""
    from simhcc.inputs import list_scenarios, load_scenario

    # The words before the unfinished one, which the shell hands over; an option without value hides them from typer.
    words = (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()
    scenario = next((word for word in words if word in list_scenarios() or word.endswith(".yaml")), None)
    if scenario is None:
        return _ids("strategy", incomplete)
    return _beginning(lambda: [strategy.id for strategy in load_scenario(scenario).strategies], incomplete)


def parameter_names(incomplete: str) -> list[str]:
    """Dotted names of numbers that begin so."""
    from simhcc.inputs import load_parameters

    return _beginning(load_parameters, incomplete)
