"""stanza.js, which web pages and Node programs are built with: two people over WebSocket, and over BOSH."""

import asyncio
import json
import os
import pathlib

from slixmpp_person import PASSWORD, PATIENCE_S, facts

FACTS, fact = facts()
PROSODY = "Debian's is started without its web door"
SCRIPT = pathlib.Path(__file__).with_name("stanza_client.mjs")


async def an_evening(house, by, url):
    """What two people did; what the client told of each step."""
    wanted = {"by": by, "url": url, "domain": house.domain, "password": PASSWORD, "anna": house.account(),
              "bert": house.account()}
    environment = {**os.environ, "NODE_EXTRA_CA_CERTS": str(house.server.authority.ca)}
    node = await asyncio.create_subprocess_exec("node", SCRIPT, json.dumps(wanted), env=environment,
                                                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    out, err = await asyncio.wait_for(node.communicate(), PATIENCE_S * 4)
    told = [json.loads(line) for line in out.decode().splitlines()]
    assert node.returncode == 0 and not any("failed" in line for line in told), (told, err.decode())
    return {line["step"]: line["told"] for line in told}


async def goes_well(house, by, url):
    """The same evening by either way."""
    told = await an_evening(house, by, url)
    assert told["they chat, and the message is confirmed"] == "tea <& cake>?", told
    assert told["the archive has it"] == ["tea <& cake>?"], told
    assert told["a picture of one's own is seen by the contact"] == "not much of a picture", told
    assert told["they meet in a room"] == "supper", told
    assert told["a room is remembered"] == ["Kitchen"], told
    assert told["a file goes up and comes down"] == [201, "hello"], told


@fact(prosody=PROSODY)
async def two_people_spend_an_evening_over_websocket(house):
    await goes_well(house, "websocket", f"wss://{house.domain}:{house.server.web_port}/ws")


@fact(prosody=PROSODY)
async def two_people_spend_an_evening_over_bosh(house):
    # Where another server would have it.
    await goes_well(house, "bosh", f"https://{house.domain}:{house.server.web_port}/http-bind")
