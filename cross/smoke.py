"""A house under emulation: what must work on a board before anything is shipped for it."""

import asyncio
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "interop"))
from servers import Authority, Lampone, Prosody  # noqa: E402
from slixmpp_person import PASSWORD, House  # noqa: E402

DOMAIN = "house.test"


async def before_the_restart(house):
    """Two people chat; one leaves, and a message and a contact stay behind."""
    anna = await house.arrives("anna", mechanism="SCRAM-SHA-1")
    bert = await house.arrives("bert", mechanism="PLAIN", direct=False)
    anna.says(bert.boundjid.bare, "do you read me?")
    await bert.hears_text("do you read me?", anna.boundjid.bare)
    bert.says(anna.boundjid.full, "loud and clear")
    await anna.hears_text("loud and clear", bert.boundjid.bare)
    await bert.leave()
    await anna.update_roster(house.jid("bert"), name="Bert", groups=["Board"])
    anna.says(house.jid("bert"), "for later")
    await anna.fence()
    await house.everybody_leaves()


async def after_the_restart(house):
    """Accounts, message and contact are still there."""
    bert = await house.arrives("bert")
    message = await bert.hears_text("for later", house.jid("anna"))
    assert message["delay"]["stamp"], "no stamp on a message that waited"
    anna = await house.arrives("anna")
    roster = await anna.asks("get", "<query xmlns='jabber:iq:roster'/>")
    assert [item.get("name") for item in roster.iter("{jabber:iq:roster}item")] == ["Bert"]
    await house.everybody_leaves()


def main():
    """Runs both halves around a restart."""
    with tempfile.TemporaryDirectory(prefix="smoke-") as place:
        place = pathlib.Path(place)
        authority = Authority(place / "authority", DOMAIN)
        if os.environ.get("SERVER") == "prosody":
            server = Prosody(place / "server", DOMAIN, authority)
        else:
            server = Lampone(place / "server", DOMAIN, authority, pathlib.Path(sys.argv[1]).resolve())
        try:
            with server:
                print(f"accepting after {server.start():.2f} s")
                server.add_accounts([("anna", PASSWORD), ("bert", PASSWORD)])
                asyncio.run(before_the_restart(House(server, place, 0)))
            with server:
                print(f"accepting again after {server.start():.2f} s")
                asyncio.run(after_the_restart(House(server, place, 0)))
        except BaseException:
            print(server.said()[-4000:])
            raise
    print("smoke: passed")


if __name__ == "__main__":
    main()
