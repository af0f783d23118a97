"""Commands of API keys."""

import json
from typing import Annotated

import typer

from dicomnlp.cli.auditing import audited
from dicomnlp.cli.context import err, moment, open_database, out, write_line
from dicomnlp.cli.tables import print_records
from dicomnlp.errors import UsageError
from dicomnlp.model import utc_text

keys_app = typer.Typer(help="API keys: who may ask over HTTP.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.add_typer(keys_app, name="keys")


@keys_app.command("add")
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Whose key it is: stands in the audit trail.")],
    role: Annotated[str, typer.Option("--role", help="reader, researcher, operator or admin.")],
    scope_ae: Annotated[
        list[str] | None,
        typer.Option("--scope-ae", metavar="TITLE", help="Only reports that this AE title sent; may be repeated."),
    ] = None,
    scope_institution: Annotated[
        list[str] | None,
        typer.Option("--scope-institution", metavar="NAME", help="Only reports of this institution; may be repeated."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="End of its life, 2027-01-01; default: none.")
    ] = None,
) -> None:
    """Make an API key and print it, once: only its hash is kept.

    Example: dicomnlp keys add viewer --role reader --expires 2027-01-01
    """
    from dicomnlp.audit.events import Kind
    from dicomnlp.serve.access import Role
    from dicomnlp.store.keys import add_key
    from dicomnlp.store.scope import Scope

    if role not in set(Role):
        raise UsageError(f"a role is one of {', '.join(Role)}")
    ends = moment(expires) if expires is not None else None
    scope = Scope(
        frozenset(title.strip() for title in scope_ae) if scope_ae else None,
        frozenset(scope_institution) if scope_institution else None,
    )
    database = open_database(context)
    asked = [("role", role), ("expires", expires or "never")]
    with audited(database, Kind.ADMIN, "keys add", [("name", name), *asked]):
        made, key = add_key(database, name, role, scope, ends)
    database.close()
    err.print(f"key {made.prefix} of {made.name}; it is shown this once")
    write_line(key)


@keys_app.command("list")
def list_keys(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="One JSON line a key.")] = False
) -> None:
    """List keys by name: prefix, role, scope, expiry, last use; never a key itself.

    Example: dicomnlp keys list
    """
    from dicomnlp.store.keys import keys

    database = open_database(context)
    held = keys(database)
    database.close()
    if as_json:
        for key in held:
            write_line(json.dumps(key.to_json(), ensure_ascii=False))
        return
    if not held:
        out.print("no keys")
        return
    print_records(
        ("name", "prefix", "role", "AE titles", "institutions", "expires", "revoked", "last used"),
        [
            (
                key.name,
                key.prefix,
                key.role,
                _names(key.scope.calling_ae_titles),
                _names(key.scope.institutions),
                *(utc_text(t) if t else "" for t in (key.expires_at, key.revoked_at, key.last_used_at)),
            )
            for key in held
        ],
    )


@keys_app.command("revoke")
def revoke(context: typer.Context, key: Annotated[str, typer.Argument(help="Name or prefix of the key.")]) -> None:
    """End a key for ever, and the logins made with it; it works on for a second at the most.

    Example: dicomnlp keys revoke viewer
    """
    from dicomnlp.audit.events import Kind
    from dicomnlp.store.keys import revoke_key

    database = open_database(context)
    with audited(database, Kind.ADMIN, "keys revoke", [("name", key)]):
        ended = revoke_key(database, key)
    database.close()
    write_line(f"revoked: {ended.name} ({ended.prefix})")


def _names(names: frozenset[str] | None) -> str:
    return "all" if names is None else ", ".join(sorted(names))
