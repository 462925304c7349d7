"""A room of two hundred: xmpp.js for all but the owner, who has slixmpp."""

import asyncio
import json
import os
import pathlib

from slixmpp_person import PASSWORD, PATIENCE_S, facts
from slixmpp_rooms import WITH_ROOMS, makes, said

FACTS, fact = facts()
SCRIPT = pathlib.Path(__file__).with_name("crowd_client.mjs")
CROWD, SPEAKERS = 200, 10


@fact
async def two_hundred_hear_the_same_in_the_same_order(house):
    anna = await house.arrives(plugins=WITH_ROOMS)
    room = await makes(anna, house, "hall", maxusers="300")
    names = [house.account() for _ in range(CROWD)]
    wanted = {"service": f"xmpp://127.0.0.1:{house.server.port}", "domain": house.domain, "names": names,
              "password": PASSWORD, "room": str(room), "speakers": SPEAKERS}
    environment = {**os.environ, "NODE_EXTRA_CA_CERTS": str(house.server.authority.ca)}
    node = await asyncio.create_subprocess_exec("node", SCRIPT, json.dumps(wanted), env=environment,
                                                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                                                limit=1_000_000)

    async def told():
        line = json.loads(await asyncio.wait_for(node.stdout.readline(), 4 * PATIENCE_S) or "{}")
        assert line and "failed" not in line, line
        return line

    try:
        assert await told() == {"inside": CROWD, "seen": CROWD + 1}
        anna.send_message(mto=room, mbody="Shall we?", mtype="groupchat")
        await anna.expect(said("Shall we?"), "her own words")
        node.stdin.write(b"\n")
        line = await told()
        assert line["alike"] and line["heard"][0] == "Shall we?", line
        assert sorted(line["heard"][1:]) == sorted(f"{name} agrees" for name in names[:SPEAKERS]), line
        node.stdin.write(b"\n")
        await asyncio.wait_for(node.wait(), 2 * PATIENCE_S)
    finally:
        if node.returncode is None:
            node.kill()
    for _ in range(CROWD):
        await anna.expect(lambda s: s.name == "presence" and s["type"] == "unavailable", "somebody who leaves")
    assert list(anna["xep_0045"].get_roster(room)) == [anna.name]
