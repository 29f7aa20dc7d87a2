"""`isotherm alias`: names for revisions, whole or by weights."""

import re

import msgspec

from isotherm.base.errors import Invalid
from isotherm.cli.commands.functions import weights_text
from isotherm.cli.output import output
from isotherm.client import Client
from isotherm.client.model import Alias

__all__ = ["get", "parse_weights", "put", "remove"]


def get(client: Client, name: str, alias: str | None) -> None:
    """One alias, or all."""
    if alias is not None:
        _print(client.aliases.get(name, alias))
        return
    found = list(client.aliases.list(name))
    if output.json:
        output.result({"items": msgspec.to_builtins(found)})
        return
    output.table(
        ("ALIAS", "REVISION"), ((each.name, weights_text(each.weights)) for each in found), f"{name} has no aliases"
    )


def put(client: Client, name: str, alias: str, weights: list[str]) -> None:
    """Make or move an alias."""
    _print(client.aliases.set(name, alias, parse_weights(weights)))


def remove(client: Client, name: str, alias: str) -> None:
    client.aliases.delete(name, alias)
    if output.json:
        output.result({"deleted": alias})
        return
    output.line(f"deleted the alias {alias} of {name}")


def parse_weights(texts: list[str]) -> dict[int, float]:
    """`3`, or `3=90% 4=10%` (or `3=0.9 4=0.1`). Raises `Invalid`."""
    if len(texts) == 1 and texts[0].isdigit():
        return {int(texts[0]): 1.0}
    weights = {}
    for text in texts:
        match = re.fullmatch(r"(\d+)=(\d*\.?\d+)(%?)", text)
        if match is None:
            raise Invalid(f"{text}: expected REVISION, or REVISION=WEIGHT such as 3=90% 4=10%")
        if int(match[1]) in weights:
            raise Invalid(f"{text}: revision {match[1]} has a weight already")
        weights[int(match[1])] = float(match[2]) / (100 if match[3] else 1)
    total = sum(weights.values())
    if abs(total - 1) > 1e-6:
        raise Invalid(f"the weights sum to {total:.4g}; they must sum to 1 (or 100%)")
    return weights


def _print(alias: Alias) -> None:
    if output.json:
        output.result(msgspec.to_builtins(alias))
        return
    output.line(f"{alias.name} -> {weights_text(alias.weights)}")
