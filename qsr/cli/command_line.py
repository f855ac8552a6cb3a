"""The command line that a command was called with, to be shown beside what it made."""

import shlex

import typer


def command_line(context: typer.Context) -> str:
    """Return the command line, with every option that was given.

    Args:
        context: of the command.
    """
    words = ["qsr", str(context.info_name)]
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if value is None or value == parameter.get_default(context):
            continue
        if value is False:
            words += parameter.secondary_opts[:1]
            continue
        option = [parameter.opts[0]] if parameter.param_type_name == "option" else []
        for one in value if isinstance(value, list | tuple) else [value]:
            words += [*option, *([] if one is True else [str(one)])]
    return shlex.join(words)
