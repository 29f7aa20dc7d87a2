"""Operations that are not there, and why: they are refused by their names."""

__all__ = ["ABSENT"]

_durable = "there are no durable executions"
_capacity = "there are no capacity providers: instances run on this platform's own hosts"
_signing = "code is not signed"

ABSENT: dict[str, str] = {
    **dict.fromkeys(
        (
            "CheckpointDurableExecution", "DeleteDurableExecution", "GetDurableExecution", "GetDurableExecutionHistory",
            "GetDurableExecutionState", "ListDurableExecutionsByFunction", "PauseDurableExecution",
            "ResumeDurableExecution", "SendDurableExecutionCallbackFailure", "SendDurableExecutionCallbackHeartbeat",
            "SendDurableExecutionCallbackSuccess", "StopDurableExecution",
        ),
        _durable,
    ),
    **dict.fromkeys(
        (
            "CreateCapacityProvider", "DeleteCapacityProvider", "GetCapacityProvider", "ListCapacityProviders",
            "ListFunctionVersionsByCapacityProvider", "UpdateCapacityProvider", "GetFunctionScalingConfig",
            "PutFunctionScalingConfig",
        ),
        _capacity,
    ),
    **dict.fromkeys(
        (
            "CreateCodeSigningConfig", "DeleteCodeSigningConfig", "DeleteFunctionCodeSigningConfig",
            "GetCodeSigningConfig", "ListCodeSigningConfigs", "ListFunctionsByCodeSigningConfig",
            "PutFunctionCodeSigningConfig", "UpdateCodeSigningConfig",
        ),
        _signing,
    ),
    **dict.fromkeys(
        ("DeleteResourcePolicy", "GetResourcePolicy", "PutResourcePolicy"),
        "a policy is made of statements: AddPermission, RemovePermission, GetPolicy",
    ),
    "InvokeAsync": "use Invoke with the type Event, as AWS says since 2014",
}  # fmt: skip
