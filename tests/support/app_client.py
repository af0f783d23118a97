"""Requests to an application, answered in this process, from an address of one's choice."""

import asyncio

import httpx


class Client:
    """Requests to an application, answered in this process."""

    def __init__(self, app, address="203.0.113.5", base_url="http://127.0.0.1:8080"):
        self.app, self.address, self.base_url = app, address, base_url

    def request(self, method, path, *, key=None, cookies=None, **arguments):
        """One request, with an API key or the cookies of a browser."""
        headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **arguments.pop("headers", {})}

        async def ask():
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=(self.address, 12345))
            async with httpx.AsyncClient(transport=transport, base_url=self.base_url, cookies=cookies) as client:
                return await client.request(method, path, headers=headers, **arguments)

        return asyncio.run(ask())

    def get(self, path, **arguments):
        """One GET."""
        return self.request("GET", path, **arguments)

    def post(self, path, **arguments):
        """One POST."""
        return self.request("POST", path, **arguments)
