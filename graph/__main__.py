"""The command line: the commands of `graph.commands`, put together.

What goes in: arguments, and the environment through `graph.environment`. What comes out: what the command says it does, and an
exit status. What may be refused here: nothing; each command refuses for itself.
"""

from __future__ import annotations

import click

from graph.commands import databases, exchange_files, key_commands, launch, schema_text, shop_commands, sql_plans
from graph.commands.common import Commands

EXIT = """\b
Exit status:
  0  done
  1  it could not be done; one line on the error stream says why
  2  the arguments are wrong"""


@click.group(cls=Commands, epilog=EXIT)
@click.version_option(package_name="ordergraph")
def main() -> None:
    """A GraphQL order backend. DATABASE_URL names its database (an SQLite file unless set); all settings: docs/settings.md."""


for command in (
    launch.serve,
    databases.migrate,
    databases.sample,
    exchange_files.import_,
    exchange_files.export,
    databases.backup,
    databases.purge_keys,
    databases.purge_changes,
    key_commands.key,
    shop_commands.shop,
    schema_text.schema,
    sql_plans.explain,
):
    main.add_command(command)


if __name__ == "__main__":
    main(prog_name="ordergraph")
