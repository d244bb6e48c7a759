"""`mesh waive` and `mesh confirm`: exceptions for one change of a product."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import click

from meshhouse.cli.output import console
from meshhouse.errors import UsageError
from meshhouse.lint.waivers import misspelt_product
from meshhouse.repository import Domain, Repository, display_path, printable
from meshhouse.repository.new_waivers import add_confirmation, add_waiver
from meshhouse.repository.waivers import NAME
from meshhouse.scaffold.write import editing


@click.command()
@click.argument("product", metavar="DOMAIN.PRODUCT")
@click.argument("change", metavar="CHANGE")
@click.option("--because", required=True, help="Why consumers can accept the change.")
@click.option("--owner", required=True, help="Who answers for it: name and e-mail address.")
@click.option("--until", required=True, metavar="DATE", help="The last day, such as 2027-01-31.")
@click.option(
    "--consent",
    multiple=True,
    metavar="DOMAIN",
    help="A domain that reads the product and has agreed; can be repeated.",
)
def waive(
    product: str, change: str, because: str, owner: str, until: str, consent: tuple[str, ...]
) -> None:
    """Allow one refused change of a product until a date.

    CHANGE is the key that `mesh run` shows with the refusal, such as S1:amount. A waiver does not
    lower the version step: it only lets the change be published.
    """
    repository = Repository.find()
    domain = _provider(repository, product)
    entry = {
        "change": change,
        "product": product,
        "why": because,
        "owner": owner,
        "until": _last_day(until),
    }
    if consent:
        _known(repository, domain, consent)
        entry["consent"] = list(dict.fromkeys(consent))
    with editing(repository):
        line = add_waiver(domain.path, entry)
    out = console()
    out.print(f"Wrote {display_path(domain.path / NAME)}:{line}.", markup=False)
    if not consent:
        out.print("Consumers that the change hits must agree: add them as `consent:`.")
    out.print(
        f"Next: let the owners of consenting domains review and commit the file, then run "
        f"`mesh run {domain.name}`. Remove the waiver when the change is published.",
        markup=False,
    )


@click.command()
@click.argument("product", metavar="DOMAIN.PRODUCT")
@click.argument("change", metavar="CHANGE")
@click.option("--because", required=True, help="What the new meaning is, and who knows of it.")
@click.option(
    "--fingerprint",
    metavar="TEXT",
    help="Identifies the exact change; the refused run shows it.",
)
@click.option("--owner", help="Who answers for it; by default the product's owner.")
def confirm(
    product: str, change: str, because: str, fingerprint: str | None, owner: str | None
) -> None:
    """Confirm that a silent change is meant: the same schema, another meaning.

    A confirmation counts for this one change of what is published now. A later change of the same
    kind asks again.
    """
    repository = Repository.find()
    domain = _provider(repository, product)
    if not fingerprint:
        raise UsageError(
            "Give --fingerprint: it says which change is meant. The run that refused the change "
            "shows the whole command."
        )
    entry = {
        "change": change,
        "product": product,
        "why": because,
        "owner": owner or _owner(domain, product),
        "fingerprint": fingerprint,
    }
    with editing(repository):
        line = add_confirmation(domain.path, entry)
    console().print(
        f"Wrote {display_path(domain.path / NAME)}:{line}.\nNext: commit the file, then run "
        f"`mesh run {domain.name}`. Remove the confirmation when the change is published.",
        markup=False,
    )


def _provider(repository: Repository, product: str) -> Domain:
    """The domain that publishes a product, which may no longer be declared.

    Raises:
        UsageError: there is no such domain, or the name looks like a misspelt product.
    """
    name, dot, rest = product.partition(".")
    domain = repository.reading(name)
    if not dot or not rest:
        published = ", ".join(each.relation for each in domain.products) or "none"
        raise UsageError(
            f"`{printable(product)}` is a domain, not a product. Its products: {published}."
        )
    model = rest.partition(".")[0]
    if close := misspelt_product(domain, model):
        raise UsageError(f"{name} declares no product `{printable(model)}`. Did you mean {close}?")
    return domain


def _known(repository: Repository, provider: Domain, consent: tuple[str, ...]) -> None:
    for name in consent:
        repository.reading(name)  # raises for an unknown domain
        if name == provider.name:
            raise UsageError(
                f"`--consent {name}` names the provider itself. Name domains that read the product."
            )


def _last_day(text: str) -> date:
    try:
        until = date.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"`--until {printable(text)}` is not a date, such as 2027-01-31."
        ) from None
    today = datetime.now(UTC).date()
    if until < today:
        raise UsageError(f"`--until {until}` is in the past (today is {today} in UTC).")
    return until


def _owner(domain: Domain, product: str) -> str:
    owner: dict[str, Any] = dict(domain.owner(domain.product(product.split(".")[1])))
    text = f"{owner.get('name') or ''} <{owner['email']}>".strip() if owner.get("email") else ""
    if not text:
        raise UsageError(f"{printable(product)} has no owner. Name one with --owner.")
    return text
