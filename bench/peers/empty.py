"""An empty Tornado handler: it reads the JSON and answers. What Tornado leaves for a hub to spend."""

import asyncio
import json
import sys

from tornado.web import Application, RequestHandler


class Post(RequestHandler):
    def post(self):
        json.loads(self.request.body)["text"]
        self.finish({"ok": True, "cursor": 1})


async def main():
    Application([("/post", Post)], log_function=lambda handler: None).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


asyncio.run(main())
