"""`isotherm init`: a function to start from."""

import re
from pathlib import Path

from isotherm.base.errors import Conflict, Invalid
from isotherm.base.ids import NAME_PATTERN, is_name
from isotherm.cli.commands.demo import examples_folder
from isotherm.cli.output import output
from isotherm.cli.templates import DEFAULT, TEMPLATES, Template

__all__ = ["list_templates", "run"]

SHOWN = 5  # files of a folder that is not empty, as the refusal names them


def run(folder: Path, template: str | None, runtime: str | None, name: str | None, force: bool) -> None:
    """Write the files. Raises `Conflict` where something is there already, `Invalid` where no name can be made."""
    chosen_name, chosen = name or _name_of(folder), _chosen(template, runtime)
    if not is_name(chosen_name):
        raise Invalid(f"--name {chosen_name}: must match {NAME_PATTERN}")
    _check_empty(folder, force)
    files = {each: text.replace("@NAME@", chosen_name).encode() for each, text in chosen.files.items()}
    files |= _of_example(chosen)
    try:
        for each, content in files.items():
            path = folder / each
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            if each in chosen.executable:
                path.chmod(0o755)
    except OSError as exc:
        raise Invalid(f"{folder}: {exc.strerror}; choose a folder that can be written") from exc
    if output.json:
        output.result({"name": chosen_name, "folder": str(folder), "files": list(files)})
        return
    shown = dict.fromkeys(each.partition("/")[0] + "/" * ("/" in each) for each in files)
    output.line(f"made {chosen_name} in {folder}: {', '.join(shown)}")
    where = "" if folder.resolve() == Path.cwd() else f" {folder}"
    build = f"{chosen.build} -C {folder} && " if chosen.build else ""
    output.line(f"next: {build}isotherm dev{where}, isotherm test{where}, isotherm deploy{where}")


def list_templates() -> None:
    """By name, with what each is."""
    if output.json:
        found = [{"name": name, "runtime": each.runtime, "about": each.about} for name, each in TEMPLATES.items()]
        output.result({"items": found})
        return
    output.table(["TEMPLATE", "WHAT"], [(name, each.about) for name, each in TEMPLATES.items()], "")


def _chosen(template: str | None, runtime: str | None) -> Template:
    if template is None and runtime is not None:
        template = next((name for name, each in TEMPLATES.items() if each.runtime == runtime), None)
        if template is None:
            known = sorted({each.runtime for each in TEMPLATES.values()})
            raise Invalid(f"--runtime {runtime}: must be one of {', '.join(known)}")
    found = TEMPLATES.get(template or DEFAULT)
    if found is None:
        raise Invalid(f"--template {template}: must be one of {', '.join(TEMPLATES)}; `isotherm init --list` says more")
    if runtime is not None and found.runtime != runtime:
        raise Invalid(
            f"--template {template} is of the runtime {found.runtime}, not {runtime}; leave out one of the two"
        )
    return found


def _check_empty(folder: Path, force: bool) -> None:
    """Raises `Conflict` where anything but hidden files is in it."""
    try:
        there = sorted(each.name for each in folder.iterdir() if not each.name.startswith("."))
    except FileNotFoundError:
        return
    except OSError as exc:
        raise Invalid(f"{folder}: {exc.strerror}; choose a folder that can be written") from exc
    if there and not force:
        more = f" and {len(there) - SHOWN} more" if len(there) > SHOWN else ""
        raise Conflict(
            f"{folder} is not empty: {', '.join(there[:SHOWN])}{more}; choose another folder, or pass --force to write "
            "into it, over files of the same names"
        )


def _of_example(template: Template) -> dict[str, bytes]:
    """The files that it takes of an example."""
    if template.example is None:
        return {}
    folder = examples_folder() / template.example
    try:
        return {name: (folder / name).read_bytes() for name in template.taken}
    except OSError as exc:
        raise Invalid(f"{exc.filename}: cannot be read: {exc.strerror}; install isotherm again") from exc


def _name_of(folder: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")[:63].strip("-")
    if not is_name(name):
        raise Invalid(f"{folder}: no function can be called that; pass --name (it must match {NAME_PATTERN})")
    return name
