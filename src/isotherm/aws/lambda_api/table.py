"""All operations that are there, by name."""

from isotherm.aws.lambda_api import (
    account,
    aliases,
    concurrency,
    functions,
    invoke_configs,
    layers,
    permissions,
    sources,
    tags,
    urls,
    versions,
)
from isotherm.aws.lambda_api.call import Operation, Operations

__all__ = ["BY_HOST", "GROUPS", "TABLE"]

# What the host process answers, on the data plane, without control.
BY_HOST = Operations("Invocation")
for _name, _note in (
    ("Invoke", "`RequestResponse`, `Event`, `DryRun`; `LogType` `Tail`; qualifiers and client contexts"),
    ("InvokeWithResponseStream", "`RequestResponse` and `DryRun`"),
):
    BY_HOST.table[_name] = Operation(name=_name, permission=None, state="yes", note=_note)

GROUPS: tuple[Operations, ...] = (
    functions.operations,
    BY_HOST,
    versions.operations,
    aliases.operations,
    urls.operations,
    concurrency.operations,
    invoke_configs.operations,
    permissions.operations,
    tags.operations,
    layers.operations,
    account.operations,
    sources.operations,
)
TABLE: dict[str, Operation] = {name: operation for group in GROUPS for name, operation in group.table.items()}
