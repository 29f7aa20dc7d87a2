"""The Lambda API: from an HTTP request and a principal to an HTTP answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from isotherm.aws.fault import AwsError, fault_of
from isotherm.aws.lambda_api.absent import ABSENT
from isotherm.aws.lambda_api.call import Call, Operation, Services
from isotherm.aws.lambda_api.missing import missing
from isotherm.aws.lambda_api.names import LOOSE, Names
from isotherm.aws.lambda_api.table import TABLE
from isotherm.aws.parsing import parse_input
from isotherm.aws.serializing import HttpAnswer, error_answer, output_answer
from isotherm.aws.service_model import Matched, ServiceModel
from isotherm.aws.validation import check_input
from isotherm.base.errors import IsothermError, NotFound
from isotherm.tenancy.model import Principal
from isotherm.tenancy.service import Tenancy
from isotherm.wire.scopes import ANY_FUNCTION

__all__ = ["AwsRequest", "LambdaApi"]

_log = structlog.get_logger(__name__)
# Operations that check a shape's enum themselves, with words of their own.
_own_checks = dict.fromkeys(("CreateFunction", "UpdateFunctionConfiguration"), frozenset(("Runtime",)))


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsRequest:
    """`path` is as it came, percent-encoded; `headers` have lower-case names; `url` is where the API was reached."""

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes
    url: str


class LambdaApi:
    """Thread-safe. The service's model is loaded with the first request."""

    def __init__(self, services: Services, tenancy: Tenancy) -> None:
        self._services = services
        self._tenancy = tenancy
        self._names = Names(services.settings.region)
        self.model = ServiceModel("lambda", LOOSE)

    def answer(self, request: AwsRequest, authenticate: Callable[[], Principal]) -> tuple[str, HttpAnswer]:
        """The name of the operation, and what its client gets. `authenticate` raises where nobody may be let in."""
        matched = self.model.match(request.method, request.path, request.query)
        name = "none" if matched is None else matched.operation.name
        operation = None if matched is None else matched.operation
        try:
            principal = authenticate()
            if matched is None:
                raise AwsError("UnknownOperationException", f"Lambda has no {request.method} {request.path[:200]}", 404)
            return name, self._run(request, matched, principal)
        except AwsError as error:
            return name, error_answer(self.model, operation, error)
        except IsothermError as error:
            return name, error_answer(self.model, operation, fault_of(error))
        except Exception:  # noqa: BLE001 (whatever an operation fails on, its client gets an answer in AWS's form)
            _log.exception("an operation failed", operation=name)
            failed = AwsError("ServiceException", "the platform failed; its log says why under this request's id", 500)
            return name, error_answer(self.model, operation, failed)

    def _run(self, request: AwsRequest, matched: Matched, principal: Principal) -> HttpAnswer:
        operation = TABLE.get(matched.operation.name)
        if operation is None or operation.run is None or operation.permission is None:
            raise _not_here(matched.operation.name)
        self._let_in(principal, operation)
        given = parse_input(matched.operation, matched.path, request.query, request.headers, request.body)
        check_input(self.model, matched.operation, given, _own_checks.get(operation.name, frozenset()))
        call = Call(self._services, principal, given, request.url, operation.name, self._names)
        try:
            output = operation.run(call)
        except NotFound as exc:
            raise self._missing(call, exc) from exc
        return output_answer(matched.operation, output)

    def _missing(self, call: Call, error: NotFound) -> AwsError:
        """In AWS's words, where it is a function, a version or an alias that is not there."""
        member = next((name for name in ("FunctionName", "Resource") if call.given.get(name)), None)
        if member is None or "namespace" in error.data:
            return fault_of(error)
        return missing(call.operation, self._names, call.function(member))

    def _let_in(self, principal: Principal, operation: Operation) -> None:
        """Before anything of the request is read: whoever may do this nowhere learns nothing of what it would be.

        The operation's own service checks it once more, in the namespace that the request names.
        """
        assert operation.permission is not None
        if not any(
            self._tenancy.allows(principal, operation.permission, g.namespace, ANY_FUNCTION) for g in principal.grants
        ):
            self._tenancy.require(principal, operation.permission, principal.home_namespace, ANY_FUNCTION)


def _not_here(name: str) -> AwsError:
    why = ABSENT.get(name, "it came after this version of the platform")
    return AwsError("NotImplementedException", f"{name} is not supported by this platform: {why}", 501)
