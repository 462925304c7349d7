"""Runs every fact of this folder against one server and counts them."""

import asyncio
import logging
import os
import pathlib
import sys
import tempfile
import time
import traceback

import chromium_page
import components
import delegations
import converse_chat
import dino_chat
import gajim_chat
import nbxmpp_chat
import profanity_chat
import profanity_group
import slixmpp_account
import slixmpp_archive
import slixmpp_chat
import slixmpp_contacts
import slixmpp_omemo_chat
import slixmpp_phone
import slixmpp_profile
import slixmpp_pubsub
import slixmpp_restart
import slixmpp_resume
import slixmpp_rooms
import slixmpp_server
import slixmpp_sign_in
import slixmpp_systemd
import slixmpp_upload
import stanza_web
import xmppjs_crowd
import xmppjs_fast

sys.path.append(str(pathlib.Path(__file__).with_name("suites")))
import aioxmpp_facts  # noqa: E402
import scansion_facts  # noqa: E402
import slixmpp_facts  # noqa: E402
from servers import Authority, Lampone, Prosody
from slixmpp_person import PASSWORD, House

DOMAIN = "house.test"
ACCOUNTS = 1000
FACT_S = 60
OPPONENTS = (slixmpp_sign_in, slixmpp_contacts, slixmpp_chat, slixmpp_archive, slixmpp_resume, slixmpp_restart, slixmpp_phone,
             slixmpp_account, slixmpp_profile, slixmpp_pubsub, slixmpp_rooms, slixmpp_omemo_chat, slixmpp_server,
             slixmpp_upload, slixmpp_systemd, components, delegations, profanity_chat, profanity_group, xmppjs_crowd, xmppjs_fast, stanza_web, nbxmpp_chat,
             chromium_page, converse_chat, dino_chat, gajim_chat, scansion_facts, slixmpp_facts, aioxmpp_facts)


async def holds(house, fact):
    """Runs one fact and signs everybody out; the error, if any."""
    try:
        await asyncio.wait_for(fact(house), FACT_S)
    except Exception:  # noqa: BLE001  whatever it was, it is this fact's failure
        return traceback.format_exc()
    finally:
        await house.everybody_leaves()
    if house.server.process.poll() is not None:
        return f"the server ended with status {house.server.process.returncode}"
    return None


async def run_all(house, wanted):
    """Runs the chosen facts; how many held and how many did not."""
    passed = failed = 0
    for opponent in OPPONENTS:
        for fact in opponent.FACTS:
            name = f"{opponent.__name__}: {fact.__name__}"
            if wanted and not any(word in name for word in wanted):
                continue
            reason = fact.not_with.get(house.kind)
            if reason:
                print(f"  --  {name}: {reason}")
                continue
            begun = time.monotonic()
            error = await holds(house, fact)
            spent = time.monotonic() - begun
            if error and house.server.process.poll() is None:
                # Real clients have deadlines of their own, which a busy machine misses: once more, and it is told.
                print(f" once more  {name} ({spent:.1f} s)\n{error}")
                begun = time.monotonic()
                error = await holds(house, fact)
                spent = time.monotonic() - begun
            if error:
                failed += 1
                print(f"FAIL  {name} ({spent:.1f} s)\n{error}")
            else:
                passed += 1
                print(f"  ok  {name} ({spent:.1f} s)")
            sys.stdout.flush()
    return passed, failed


def main():
    """Starts the server, runs the facts, prints the count."""
    logging.basicConfig(level=os.environ.get("INTEROP_LOG", "CRITICAL"))
    kind = os.environ.get("SERVER", "lampone")
    with tempfile.TemporaryDirectory(prefix="interop-") as place:
        place = pathlib.Path(place)
        authority = Authority(place / "authority", DOMAIN)
        if kind == "prosody":
            server = Prosody(place / "server", DOMAIN, authority)
        else:
            server = Lampone(place / "server", DOMAIN, authority, pathlib.Path(os.environ["LAMPONE"]).resolve())
        with server:
            server.start()
            server.add_accounts([("admin", PASSWORD), *((f"p{i}", PASSWORD) for i in range(ACCOUNTS))])
            house = House(server, place, ACCOUNTS)
            passed, failed = asyncio.run(run_all(house, sys.argv[1:]))
        if failed:
            print(f"--- what the server said:\n{server.said()[-6000:]}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
