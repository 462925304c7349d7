"""Converse.js, as the server serves it at /chat/, in Debian's Chromium: over WebSocket, and over BOSH, two people talk, and
one sends a picture. Screenshots are kept in `target/screenshots`."""

import asyncio
import json
import os
import pathlib
import struct
import zlib

from slixmpp_person import PASSWORD, PATIENCE_S, facts

FACTS, fact = facts()
SCRIPT = pathlib.Path(__file__).with_name("converse_client.mjs")


def picture(path):
    """A small PNG, red."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\xd0\x20\x40" * 64 for _ in range(64))
    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


async def talk(house, way):
    """What happened between two browsers, line by line; and the addresses of their WebSockets and of their BOSH requests."""
    shots = pathlib.Path("target/screenshots").resolve()
    shots.mkdir(parents=True, exist_ok=True)
    wanted = {"domain": house.domain, "port": house.server.web_port, "people": [house.account(), house.account()],
              "password": PASSWORD, "picture": str(picture(house.directory / "raspberry.png")), "screenshots": str(shots),
              "way": way}
    node = await asyncio.create_subprocess_exec("node", SCRIPT, json.dumps(wanted), env=os.environ,
                                                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    try:
        out, err = await asyncio.wait_for(node.communicate(), PATIENCE_S * 5)
    finally:
        if node.returncode is None:
            node.kill()
    told = [json.loads(line) for line in out.decode().splitlines()]
    for happened in ({"heard": "message"}, {"heard": "answer"}, {"saw": "picture"}):
        assert happened in told, (told, err.decode()[-2000:])
    return [[address for line in told for address in line.get(kind, [])] for kind in ("sockets", "requests")]


@fact(prosody="its web door is another matter")
async def two_browsers_talk_and_one_sends_a_picture(house):
    sockets, _ = await talk(house, "websocket")
    assert sockets and all(socket == f"wss://{house.domain}:{house.server.web_port}/ws" for socket in sockets), sockets


@fact(prosody="its web door is another matter")
async def two_browsers_talk_over_bosh_and_one_sends_a_picture(house):
    sockets, requests = await talk(house, "bosh")
    assert not sockets, sockets
    assert requests and all(to == f"https://{house.domain}:{house.server.web_port}/bosh" for to in requests), requests
