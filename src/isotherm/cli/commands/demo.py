"""`isotherm up --demo`: deploy every example and call each once."""

import json
from pathlib import Path

import isotherm
from isotherm.base.errors import IsothermError, NotFound
from isotherm.cli.output import output
from isotherm.cli.times import duration
from isotherm.client import Client
from isotherm.client.profiles import Profile
from isotherm.functions.manifest import MANIFEST

__all__ = ["deploy_examples", "examples_folder", "is_built", "list_examples"]


def examples_folder() -> Path:
    """`./examples` where it holds functions, else those that came with the package. Raises `NotFound`."""
    package = Path(isotherm.__file__).parent
    for folder in (Path("examples"), package / "examples", package.parents[1] / "examples"):
        if list_examples(folder):
            return folder.absolute()
    raise NotFound("--demo: no examples here; run it in a checkout of isotherm")


def list_examples(folder: Path) -> list[Path]:
    """The folders with a manifest, by name."""
    return sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))


def is_built(example: Path) -> bool:
    """Whether there is nothing to be compiled first."""
    return not (example / "Makefile").is_file() or (example / "bootstrap").is_file()


def deploy_examples(profile: Profile) -> None:
    """Deploy and call each; one that fails is told and does not stop the others."""
    folder = examples_folder()
    output.line(f"deploying the examples of {folder}")
    failed = 0
    with Client(profile.url, profile.key, verify=False) as client:  # our own port
        for example in list_examples(folder):
            if not is_built(example):
                output.note(f"  {example.name}: left out; `make -C {example}` builds it")
                continue
            try:
                _deploy_one(client, example)
            except IsothermError as exc:
                failed += 1
                output.note(f"  {example.name}: failed")
                output.error(exc)
    done = "all examples are deployed" if not failed else f"{failed} of the examples failed"
    output.line(f"{done}; `isotherm ls` lists them")


def _deploy_one(client: Client, example: Path) -> None:
    deployed = client.functions.deploy(example)
    output.line(f"  {deployed.name:<16} {duration(deployed.took_ms):>8}  {deployed.url}")
    event = example / "event.json"
    payload = event.read_bytes() if event.is_file() else b"{}"
    answer = client.functions.invoke(deployed.name, payload, check=False)
    word = "->" if answer.error is None else "fails, as it should:"
    text = answer.payload.decode("utf-8", "replace")
    if answer.error is not None:
        text = str(json.loads(text).get("errorMessage", text))
    output.line(f"  {'':<16} {word} {text if len(text) <= 100 else text[:97] + '…'}")
