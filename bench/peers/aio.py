"""The same promise with aiohttp: a prepared StreamResponse for each subscriber, aiosqlite, commit each."""

import asyncio
import json
import sys

import aiosqlite
from aiohttp import web

streams: set[web.StreamResponse] = set()
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
        frame = f"id: {cursor}\ndata: {data}\n\n".encode()
        for stream in list(streams):
            await stream.write(frame)
    return web.json_response({"ok": True, "cursor": cursor})


async def events(request):
    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    stream.enable_chunked_encoding()
    await stream.prepare(request)
    await stream.write(b": connected\n\n")
    streams.add(stream)
    try:
        await asyncio.Event().wait()
    finally:
        streams.discard(stream)
    return stream


async def main():
    global db
    db = await aiosqlite.connect(sys.argv[2])
    await db.execute("PRAGMA journal_mode = WAL")
    await db.execute("PRAGMA synchronous = FULL")
    await db.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, data TEXT NOT NULL)")
    await db.commit()
    app = web.Application()
    app.add_routes([web.post("/post", post), web.get("/events", events)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(sys.argv[1]), backlog=4096).start()
    await asyncio.Event().wait()


asyncio.run(main())
