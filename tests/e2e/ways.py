"""Every way into the platform: who may take it, and what it then answers. Written apart from what routes declare.

A table of routes that is new joins here: an entry for each in a table like `CONTROL`, and the table in `missing`.
"""

from isotherm.api.app import OPEN_PATHS, declared_routes
from isotherm.aws.lambda_api.table import BY_HOST
from isotherm.aws.service_model import ServiceModel
from isotherm.gateway.debugger import DEBUGGER_SUFFIX
from isotherm.gateway.operations import PATHS
from tests.e2e.aws_ways import AWS
from tests.e2e.way import ANY_ROLE, EVERYBODY, LOGGED_IN, Way

__all__ = ["BY_URL", "CONTENT", "CONTROL", "GATEWAY", "INVOKING", "missing"]

_ns = "/api/v1/namespaces/{ns}"
_fn = _ns + "/functions/{name}"
_user = "/api/v1/users/{user_id}"
_rollout = _fn + "/rollouts/{rollout_id}"
CONTROL = {
    "GET /": Way(EVERYBODY, 200),
    "GET /api/v1/openapi.json": Way(EVERYBODY, 200),
    "GET /api/v1/docs": Way(EVERYBODY, 200),
    "GET /internal/metrics": Way("", 404),  # from outside it is not there, whoever asks
    "GET /api/v1/me": Way(LOGGED_IN, 200),
    "GET /api/v1/status": Way(ANY_ROLE, 200),
    "GET /api/v1/hosts": Way("ADV", 200, "read"),
    "GET /api/v1/warmth": Way("ADV", 200, "read"),
    "GET /api/v1/events": Way("A", 200, "audit", query=True),
    "GET /api/v1/events/head": Way("A", 200, "audit"),
    "GET /api/v1/events/verification": Way("A", 200, "audit"),
    "POST /api/v1/auth/register": Way(EVERYBODY, 400),
    "POST /api/v1/auth/login": Way(EVERYBODY, 400),
    "POST /api/v1/auth/refresh": Way(EVERYBODY, 400),
    "POST /api/v1/auth/logout": Way(EVERYBODY, 400),
    "PUT /api/v1/auth/password": Way(LOGGED_IN, 400),
    "POST /api/v1/auth/token-key": Way("A", 200),
    "GET /api/v1/users": Way("A", 200),
    "POST /api/v1/users": Way("A", 400),
    f"GET {_user}": Way("A", 200),
    f"DELETE {_user}": Way("A", 404),
    f"POST {_user}/disable": Way("A", 404),
    f"POST {_user}/enable": Way("A", 404),
    f"POST {_user}/logout": Way("A", 404),
    f"POST {_user}/unlock": Way("A", 404),
    f"POST {_user}/reset": Way("A", 404),
    f"PUT {_user}/role": Way("A", 400),
    f"DELETE {_user}/role": Way("A", 404),
    f"GET {_ns}/members": Way("A", 200),
    f"POST {_ns}/members": Way("A", 400),
    f"PUT {_ns}/members/{{user_id}}": Way("A", 400),
    f"DELETE {_ns}/members/{{user_id}}": Way("A", 404),
    "GET /api/v1/namespaces": Way(ANY_ROLE, 200),
    "POST /api/v1/namespaces": Way("A", 400),
    f"GET {_ns}": Way("ADVI", 200, "every"),
    f"DELETE {_ns}": Way("A", 409, platform=True),  # it is not empty
    f"GET {_ns}/keys": Way("A", 200),
    f"POST {_ns}/keys": Way("A", 400),
    f"POST {_ns}/keys/{{key_id}}/rotation": Way("A", 404),
    f"GET {_ns}/keys/{{key_id}}": Way("A", 200),
    f"DELETE {_ns}/keys/{{key_id}}": Way("A", 404),
    "GET /api/v1/quotas": Way(ANY_ROLE, 200),
    f"GET {_ns}/quota": Way("ADV", 200, "read"),
    f"PUT {_ns}/quota": Way("A", 200, platform=True),
    f"GET {_ns}/secrets": Way("ADV", 200, "read secrets"),
    f"GET {_ns}/secrets/{{secret}}": Way("ADV", 200, "read secrets"),
    f"PUT {_ns}/secrets/{{secret}}": Way("AD", 400, "secrets"),
    f"DELETE {_ns}/secrets/{{secret}}": Way("AD", 404, "secrets"),
    f"POST {_ns}/packages": Way("AD", 400, "deploy", loose=True),
    f"GET {_ns}/functions": Way("ADV", 200, "read deploy"),
    f"PUT {_fn}": Way("AD", 400, "deploy"),
    f"GET {_fn}": Way("ADV", 200, "read deploy"),
    f"DELETE {_fn}": Way("AD", 404, "delete"),
    f"GET {_fn}/revisions": Way("ADV", 200, "read deploy"),
    f"GET {_fn}/revisions/{{number}}": Way("ADV", 200, "read deploy"),
    f"GET {_fn}/revisions/{{number}}/progress": Way("ADV", 200, "read deploy"),
    f"POST {_fn}/prune": Way("AD", 404, "deploy"),
    f"GET {_fn}/aliases": Way("ADV", 200, "read deploy"),
    f"GET {_fn}/aliases/{{alias}}": Way("ADV", 200, "read deploy"),
    f"PUT {_fn}/aliases/{{alias}}": Way("AD", 400, "deploy"),
    f"DELETE {_fn}/aliases/{{alias}}": Way("AD", 404, "deploy"),
    f"GET {_fn}/triggers": Way("ADV", 200, "read deploy"),
    f"POST {_fn}/rollback": Way("AD", 404, "deploy"),
    f"GET {_fn}/rollouts": Way("ADV", 200, "read deploy"),
    f"POST {_fn}/rollouts": Way("AD", 400, "deploy"),
    f"GET {_rollout}": Way("ADV", 404, "read deploy"),
    f"POST {_rollout}/pause": Way("AD", 404, "deploy"),
    f"POST {_rollout}/resume": Way("AD", 404, "deploy"),
    f"POST {_rollout}/abort": Way("AD", 404, "deploy"),
    f"GET {_fn}/logs": Way("ADV", 200, "read logs"),
    f"GET {_fn}/decisions": Way("ADV", 200, "read logs queue"),
    f"GET {_fn}/warmth": Way("ADV", 200, "read deploy"),
    f"GET {_ns}/minutes": Way("ADV", 200, "read logs queue"),
    f"GET {_ns}/invocations": Way("ADV", 200, "read logs queue"),
    f"GET {_ns}/invocations/{{invocation_id}}": Way("ADV", 404, "read logs queue", loose=True),
    f"GET {_ns}/invocations/{{invocation_id}}/event": Way("AD", 404),
    f"GET {_ns}/invocations/{{invocation_id}}/explanation": Way("ADV", 404, "read logs queue", loose=True),
    f"GET {_ns}/queues": Way("ADV", 200, "read logs queue"),
    f"GET {_ns}/calls": Way("ADV", 200, "read logs queue"),
    f"GET {_ns}/calls/{{call_id}}": Way("ADVI", 404, "read invoke queue", loose=True),
    f"POST {_fn}/queue/pause": Way("AD", 404, "queue"),
    f"POST {_fn}/queue/resume": Way("AD", 404, "queue"),
    f"POST {_fn}/queue/purge": Way("AD", 404, "queue"),
    f"POST {_fn}/queue/redrive": Way("AD", 404, "queue"),
}

# What the gateway answers itself on the API port: calls of functions, by the templates of the operations of AWS's.
_invoke = Way("ADI", 200, "invoke", without=403)
_arn = "arn:aws:lambda:local:{ns}:function:{name}"
INVOKING = {
    "POST /2015-03-31/functions/{ns}%2F{name}/invocations": _invoke,
    "POST /2015-03-31/functions/{ns}%2F{name}/invocations?Qualifier=live": _invoke,
    "POST /2015-03-31/functions/{ns}%2F{name}:1/invocations": _invoke,
    "POST /2015-03-31/functions/{ns}%2F{name}/invocations#dry": _invoke.replaced(
        answers=204, headers=(("X-Amz-Invocation-Type", "DryRun"),)
    ),
    "POST /2015-03-31/functions/{ns}%2F{name}/invocations#event": _invoke.replaced(
        answers=202, headers=(("X-Amz-Invocation-Type", "Event"),)
    ),
    f"POST /2015-03-31/functions/{_arn}/invocations": _invoke,
    "POST /2021-11-15/functions/{ns}%2F{name}/response-streaming-invocations": _invoke,
    f"POST {_fn}/debugger": Way("AD", 409, "deploy", bearer=True),  # none of them is a development function
}
GATEWAY = {
    "GET /healthz": Way(EVERYBODY, 200),
    "GET /readyz": Way(EVERYBODY, 200),
    "GET /metrics": Way("ADV", 200, "read"),
}
# By a signature in the URL, which `GetFunction` gives, and which these do not have.
BY_URL = {f"GET /aws/lambda/code/{{ns}}/{'0' * 64}.zip": Way(EVERYBODY, 403)}
# The content port, whose every path is a function's.
CONTENT = {
    "GET /@{ns}/{name}/": Way("ADI", 200, "invoke"),
    "POST /@{ns}/{name}/some/path": Way("ADI", 200, "invoke"),
    "GET /@{ns}/{name}:live/": Way("ADI", 200, "invoke"),
    "GET /@{ns}/{name}:1/": Way("ADI", 200, "invoke"),
}


def missing() -> set[str]:
    """Ways that the platform has and no table, or the other way round."""
    routes = {f"{route.method} {route.path}" for route in declared_routes()} | {f"GET {path}" for path in OPEN_PATHS}
    model = ServiceModel("lambda")
    operations = set(model.operations) - BY_HOST.table.keys()
    templates = {model.operation(name).http["requestUri"].partition("{")[0] for name in BY_HOST.table}
    invoking = {f"/{way.split('/')[1]}/functions/" for way in INVOKING if way.startswith("POST /20")}
    paths = {way.removeprefix("GET ").encode() for way in GATEWAY}
    debugging = {way.rpartition("/")[2] for way in INVOKING if way.startswith("POST /api/")}
    unlike = (
        routes ^ CONTROL.keys(),
        operations ^ AWS.keys(),
        templates ^ invoking,
        paths ^ PATHS,
        debugging ^ {DEBUGGER_SUFFIX.decode()[1:]},
    )
    return {str(way) for each in unlike for way in each}
