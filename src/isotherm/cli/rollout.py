"""`isotherm rollout`: names, flags and help, and the flags that `deploy` shares with it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from isotherm.base.errors import Invalid
from isotherm.cli.options import FunctionName, Json, Limit, Namespace

if TYPE_CHECKING:
    from isotherm.client import Client

__all__ = ["BakeS", "MinSamples", "Shadow", "StepS", "Steps", "Strategy", "Watch", "plan_of", "register"]

Strategy = Annotated[str | None, typer.Option(help="all-at-once, canary or blue-green.")]
Steps = Annotated[str | None, typer.Option(metavar="PERCENT,…", help="Canary: such as 1,10,50,100.")]
StepS = Annotated[float | None, typer.Option(min=0, help="Shortest time of a step, seconds.")]
MinSamples = Annotated[int | None, typer.Option(min=1, help="Calls of either revision that a step needs.")]
BakeS = Annotated[float | None, typer.Option(min=0, help="Watch for so long after all calls went over.")]
Shadow = Annotated[str | None, typer.Option(metavar="PERCENT", help="First copy so many of the calls to it.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end; exits 1 where it goes back.")]
RolloutId = Annotated[str | None, typer.Option("--id", help="Of a rollout; default: the newest of the alias.")]
AliasName = Annotated[str, typer.Option(help="The alias that is moved.")]


class _StartByDefault(TyperGroup):
    """`rollout NAME REVISION` is `rollout start NAME REVISION`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["start", *args]
        return super().resolve_command(ctx, args)


def plan_of(
    strategy: str | None,
    steps: str | None,
    step_s: float | None,
    min_samples: int | None,
    bake_s: float | None,
    shadow: str | None,
) -> dict[str, Any]:
    """What flags say of a plan, by its own names. Raises `Invalid`."""
    plan: dict[str, Any] = {
        "strategy": strategy,
        "steps": None if steps is None else [_percent("--steps", text) for text in steps.split(",")],
        "step_s": step_s,
        "min_samples": min_samples,
        "bake_s": bake_s,
        "shadow": None if shadow is None else _percent("--shadow", shadow),
    }
    if steps is not None and strategy is None:
        plan["strategy"] = "canary"
    return {key: value for key, value in plan.items() if value is not None}


def _percent(flag: str, text: str) -> float:
    try:
        return float(text.strip().removesuffix("%"))
    except ValueError as exc:
        raise Invalid(f"{flag} {text}: expected a number of percent, such as 10") from exc


def register(app: typer.Typer, client_of: Callable[[str | None], AbstractContextManager["Client"]]) -> None:
    """Add the group to the command line."""
    group = typer.Typer(
        cls=_StartByDefault, help="Move an alias to another revision, step by step and watched.", no_args_is_help=True
    )
    app.add_typer(group, name="rollout")

    @group.command()
    def start(
        name: FunctionName,
        revision: Annotated[int, typer.Argument(metavar="REVISION", help="Number of a ready revision.")],
        strategy: Strategy = None,
        steps: Steps = None,
        step_s: StepS = None,
        max_step_s: Annotated[
            float | None, typer.Option(min=0, help="With too few calls, a step ends after this, seconds.")
        ] = None,
        min_samples: MinSamples = None,
        bake_s: BakeS = None,
        shadow: Shadow = None,
        on_quiet: Annotated[str | None, typer.Option(help="With too few calls: advance, hold or roll-back.")] = None,
        gate: Annotated[bool | None, typer.Option(help="Whether a worse revision goes back by itself.")] = None,
        alias: AliasName = "live",
        watch: Watch = False,
        namespace: Namespace = None,
        json_: Json = False,
    ) -> None:
        """Begin to move an alias to a revision. The word `start` may be left out."""
        from isotherm.cli.commands import rollouts as command

        plan = plan_of(strategy, steps, step_s, min_samples, bake_s, shadow)
        more = {"max_step_s": max_step_s, "on_quiet": on_quiet, "gate": gate}
        plan |= {key: value for key, value in more.items() if value is not None}
        with client_of(namespace) as client:
            command.start(client, name, revision, alias, plan, watch)

    @group.command()
    def status(
        name: FunctionName,
        rollout_id: RolloutId = None,
        alias: AliasName = "live",
        watch: Watch = False,
        namespace: Namespace = None,
        json_: Json = False,
    ) -> None:
        """Show how far a rollout has got, and what speaks for and against the new revision."""
        from isotherm.cli.commands import rollouts as command

        with client_of(namespace) as client:
            command.status(client, name, rollout_id, alias, watch)

    @group.command("ls")
    def list_rollouts(name: FunctionName, limit: Limit = 20, namespace: Namespace = None, json_: Json = False) -> None:
        """List the rollouts of a function, newest first."""
        from isotherm.cli.commands import rollouts as command

        with client_of(namespace) as client:
            command.list_rollouts(client, name, limit)

    @group.command()
    def pause(name: FunctionName, alias: AliasName = "live", namespace: Namespace = None, json_: Json = False) -> None:
        """Stay at this step. The gate goes on watching."""
        from isotherm.cli.commands import rollouts as command

        with client_of(namespace) as client:
            command.steer(client, name, alias, "pause")

    @group.command()
    def resume(name: FunctionName, alias: AliasName = "live", namespace: Namespace = None, json_: Json = False) -> None:
        """Go on where it was paused."""
        from isotherm.cli.commands import rollouts as command

        with client_of(namespace) as client:
            command.steer(client, name, alias, "resume")

    @group.command()
    def abort(name: FunctionName, alias: AliasName = "live", namespace: Namespace = None, json_: Json = False) -> None:
        """Send all calls back to the revision that had them."""
        from isotherm.cli.commands import rollouts as command

        with client_of(namespace) as client:
            command.steer(client, name, alias, "abort")
