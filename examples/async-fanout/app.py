"""An async handler that does many slow things at once; one instance serves 64 calls at the same time."""

import asyncio


async def handler(event, context):
    parts = min(int(event.get("parts", 5)), 100)
    pause_s = min(float(event.get("pause_s", 0.05)), 5)
    results = await asyncio.gather(*(part(number, pause_s) for number in range(parts)))
    return {"sum": sum(results), "parts": parts}


async def part(number, pause_s):
    await asyncio.sleep(pause_s)  # where a real one would wait for a database or another service
    return number * number
