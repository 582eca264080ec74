"""`completions`: the script by which a shell completes commands, and the ids and names that it offers.

Completion never fails: if the daemon is slow or absent, or the inbox cannot be read, it offers and prints nothing.
"""

from collections.abc import Iterable

import click
from click.shell_completion import BashComplete, add_completion_class, get_completion_class

from dreamd.ctl.terminal.output import emit_json, json_option

SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Print a script that completes dreamctl in a shell.")
@click.argument("shell", type=click.Choice(SHELLS))
@json_option
@click.pass_context
def completions(context: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete dreamctl: commands, options, and what they take: dialogues,
    checkpoints, traces, sessions, methods.

    \b
    dreamctl completions bash > ~/.local/share/bash-completion/completions/dreamctl
    dreamctl completions zsh > ~/.zfunc/_dreamctl
    dreamctl completions fish > ~/.config/fish/completions/dreamctl.fish

    zsh reads its script if `fpath=(~/.zfunc $fpath)` stands before `compinit` in ~/.zshrc.
    """
    found = get_completion_class(shell)
    assert found is not None, "click has all of SHELLS"
    script = found(context.find_root().command, {}, "dreamctl", "_DREAMCTL_COMPLETE").source()
    if context.obj.as_json:
        emit_json({"shell": shell, "script": script})
    else:
        click.echo(script, nl=False)


@add_completion_class
class WholeWords(BashComplete):
    """Completion for bash, which splits words at "=" and ":" (as in `--state-dir=DIR`) before it passes them on."""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        return join_words(args), incomplete


def join_words(words: Iterable[str]) -> list[str]:
    """Return the words as they were typed: join each lone "=", ":" or "@" with the words beside it."""
    whole: list[str] = []
    behind_sign = False
    for word in words:
        is_sign = word in (":", "@") or (word == "=" and bool(whole) and whole[-1].startswith("--"))
        if whole and (is_sign or behind_sign):
            whole[-1] += word
        else:
            whole.append(word)
        behind_sign = is_sign
    if behind_sign and whole[-1].endswith("="):  # the user is typing its value now
        whole[-1] = whole[-1][:-1]
    return whole
