"""The echo function for FastAPI, as its documentation writes one."""

from typing import Annotated, Any

from fastapi import Body, FastAPI

app = FastAPI()


@app.post("/echo")
async def echo(event: Annotated[Any, Body()]) -> Any:
    return event
