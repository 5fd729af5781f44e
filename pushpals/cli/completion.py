"""``pushpals completion``: click writes the script; this says where it goes."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_WHERE = {
    "bash": 'add to ~/.bashrc:  eval "$(pushpals completion bash)"',
    "zsh": 'add to ~/.zshrc:  eval "$(pushpals completion zsh)"',
    "fish": "save where fish looks:  pushpals completion fish > ~/.config/fish/completions/pushpals.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(sorted(_WHERE)))
def completion(shell: str) -> None:
    """Print the completion script of your shell.

    \b
    bash: add to ~/.bashrc   eval "$(pushpals completion bash)"
    zsh:  add to ~/.zshrc    eval "$(pushpals completion zsh)"
    fish: pushpals completion fish > ~/.config/fish/completions/pushpals.fish
    """
    from pushpals.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(f"# {_WHERE[shell]}")
    click.echo(kind(cli, {}, "pushpals", "_PUSHPALS_COMPLETE").source())
