"""How functions are shown: rows of workloads as the nouns of this room, with URLs. Pure."""

from isotherm.functions.model import Alias, Function, Revision, Trigger
from isotherm.functions.policy import config_of, next_times, url_path
from isotherm.functions.time_limits import PlatformLimits, conflicts
from isotherm.workloads.model import LIVE, AliasRow, RevisionRow, WorkloadRow

__all__ = ["Views"]


class Views:
    """`content_url`: where function URLs begin. `limits`: those of the platform. `env`: the environment in clear;
    None: its values are masked."""

    def __init__(self, content_url: str, limits: PlatformLimits) -> None:
        self._content_url = content_url.rstrip("/")
        self._limits = limits

    def function(self, row: WorkloadRow, env: dict[str, str] | None = None) -> Function:
        """`env` is that of the latest revision."""
        return Function(
            id=row.id,
            namespace=row.namespace,
            name=row.name,
            url=self._content_url + url_path(row.namespace, row.name),
            public=row.public,
            created_at_ms=row.created_at_ms,
            updated_at_ms=row.updated_at_ms,
            live=row.live,
            latest=None if row.latest is None else self.revision(row.latest, env),
            development=row.latest is not None and row.latest.spec.development,
            etag=row.etag,
        )

    def revision(self, row: RevisionRow, env: dict[str, str] | None = None) -> Revision:
        config = config_of(row, env)
        return Revision(
            id=row.spec.id,
            number=row.spec.number,
            state=row.state,
            created_at_ms=row.created_at_ms,
            ready_after_ms=row.ready_after_ms,
            config=config,
            warnings=[str(each) for each in conflicts(config, self._limits)],
            problem=row.problem,
            template=row.template,
            unfit=row.unfit,
            url=self._content_url + url_path(row.spec.namespace, row.spec.name, None if row.head else row.spec.number),
        )

    def triggers(self, row: RevisionRow, now_ms: int) -> list[Trigger]:
        """The URL first."""
        url = self._content_url + url_path(row.spec.namespace, row.spec.name)
        found = [Trigger(kind="url", name="url", target=LIVE, url=url)]
        for cron in config_of(row, None).cron:
            times = next_times(cron, now_ms) if cron.enabled else []
            found.append(Trigger(kind="cron", name=cron.name, target=cron.alias or LIVE, cron=cron, next_at_ms=times))
        return found

    def alias(self, row: AliasRow) -> Alias:
        return Alias(name=row.name, weights=row.weights)
