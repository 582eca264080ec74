"""`inbox schema`: print the schema of a node."""

import click

from dreamd.ctl.terminal.output import emit_json, json_option


@click.command()
@json_option
def schema() -> None:
    """Print the JSON Schema of a MATADA node.

    \b
    dreamctl inbox schema > matada_node.json
    """
    from dreamd.inbox import node_schema

    emit_json(node_schema())
