"""A durable event hub as its parts' documentation shows: starlette, aiosqlite, sse-starlette, uvicorn.

Every post is inserted and committed before it is answered; every subscriber has a queue and a generator.
"""

import asyncio
import json
import sys

import aiosqlite
import uvicorn
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

queues: set[asyncio.Queue] = set()
last = 0
lock = asyncio.Lock()


async def post(request):
    global last
    text = (await request.json())["text"]
    async with lock:
        last += 1
        cursor = last
        data = json.dumps({"id": cursor, "type": "message", "sessionId": "dev", "payload": {"text": text}})
        await db.execute("INSERT INTO events (seq, data) VALUES (?, ?)", (cursor, data))
        await db.commit()
        for queue in queues:
            queue.put_nowait((cursor, data))
    return JSONResponse({"ok": True, "cursor": cursor})


async def events(request):
    queue = asyncio.Queue()

    async def stream():
        queues.add(queue)
        try:
            while True:
                cursor, data = await queue.get()
                yield ServerSentEvent(data, id=str(cursor))
        finally:
            queues.discard(queue)

    return EventSourceResponse(stream())


async def main():
    global db
    db = await aiosqlite.connect(sys.argv[2])
    await db.execute("PRAGMA journal_mode = WAL")
    await db.execute("PRAGMA synchronous = FULL")
    await db.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, data TEXT NOT NULL)")
    await db.commit()
    app = Starlette(routes=[Route("/post", post, methods=["POST"]), Route("/events", events)])
    config = uvicorn.Config(app, port=int(sys.argv[1]), log_level="warning", backlog=4096)
    await uvicorn.Server(config).serve()


asyncio.run(main())
