"""The page of an invitation in Debian's Chromium. Screenshots are kept in `target/screenshots`."""

import asyncio
import json
import os
import pathlib
import subprocess

from slixmpp_person import PASSWORD, PATIENCE_S, facts

FACTS, fact = facts()
SCRIPT = pathlib.Path(__file__).with_name("chromium_page.mjs")
BYTES_MAX = 30 * 1024


def said(house, *words):
    """What a command of the server prints."""
    command = [str(house.server.binary), *words, "--data", str(house.server.data)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def invitation(house):
    """The address of a page that makes one account."""
    return said(house, "invite")


def others(house, page):
    """The other pages, by name."""
    front = page.rsplit("/i/", 1)[0] + "/"
    password = said(house, "user", "reset-link", house.jid(house.account()))
    return {"front": front, "gone": page[:-4] + "0000", "password": password, "status": said(house, "status", "--link")}


@fact(prosody="its web door is another matter")
async def an_invitation_makes_an_account_with_and_without_scripts(house):
    shots = pathlib.Path("target/screenshots").resolve()
    shots.mkdir(parents=True, exist_ok=True)
    names = ["giulia", "romeo"]
    pages = [invitation(house), invitation(house)]
    wanted = {"domain": house.domain, "pages": pages, "others": others(house, pages[0]), "names": names,
              "password": PASSWORD, "screenshots": str(shots)}
    node = await asyncio.create_subprocess_exec("node", SCRIPT, json.dumps(wanted), env=os.environ,
                                                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    try:
        out, err = await asyncio.wait_for(node.communicate(), PATIENCE_S * 5)
    finally:
        if node.returncode is None:
            node.kill()
    told = [json.loads(line) for line in out.decode().splitlines()]
    shown = (told, err.decode()[-2000:])
    assert not any("error" in line for line in told), shown
    judged = [line for line in told if "judged" in line]
    assert len(judged) == 11 and not any(line["faults"] for line in judged), shown
    assert all(0 < line["bytes"] <= BYTES_MAX for line in told if "bytes" in line), shown
    assert not any(line.get("wide") for line in told), shown
    assert {"verdict": "This name is free."} in told, shown
    assert any("già di qualcuno" in line.get("taken", "") for line in told), shown
    for name in names:
        assert {"made": f"{name}@{house.domain}"} in told, shown
        await house.arrives(name)
