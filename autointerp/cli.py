"""The command line: every file in `commands/` is a command of the same name.

A command module has either a function `command` or, with subcommands, a Typer `app`. It imports
what is heavy inside its functions, so that `autointerp --help` stays quick.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys

import click
import typer

from autointerp import __version__, commands
from autointerp.errors import AutointerpError


def build_app() -> typer.Typer:
    """Return the application with one command for each module in `commands/`."""
    app = typer.Typer(
        name="autointerp",
        help="Are these units interpretable, and more so than those?",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        rich_markup_mode=None,
    )

    @app.callback()
    def main_options(
        version: bool = typer.Option(False, "--version", is_eager=True, help="Print the version."),
    ) -> None:
        if version:
            typer.echo(__version__)
            raise typer.Exit

    for found in pkgutil.iter_modules(commands.__path__):
        module = importlib.import_module(f"{commands.__name__}.{found.name}")
        name = found.name.replace("_", "-")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(module.command)
    return app


def main() -> None:
    """Run the command line: 0 done, 1 failed, 2 bad input, 130 stopped by Ctrl-C."""
    try:
        code = build_app()(standalone_mode=False)
    except AutointerpError as error:
        print(f"autointerp: {error}", file=sys.stderr)
        code = error.exit_code
    except click.exceptions.NoArgsIsHelpError as shown:
        print(shown.format_message())
        code = 2
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.exceptions.Abort):
        print("autointerp: stopped; the same command goes on from here", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        code = 1
    sys.exit(code or 0)
