"""A house under emulation: what must work on a board before anything is shipped for it."""

import asyncio
import os
import pathlib
import socket
import ssl
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "interop"))
from servers import Authority, Lampone  # noqa: E402
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
    """Accounts, message and contact are still there; another message is left."""
    bert = await house.arrives("bert")
    message = await bert.hears_text("for later", house.jid("anna"))
    assert message["delay"]["stamp"], "no stamp on a message that waited"
    await bert.leave()
    anna = await house.arrives("anna")
    roster = await anna.asks("get", "<query xmlns='jabber:iq:roster'/>")
    assert [item.get("name") for item in roster.iter("{jabber:iq:roster}item")] == ["Bert"]
    anna.says(house.jid("bert"), "for much later")
    await anna.fence()
    await house.everybody_leaves()


async def on_the_way_back(house):
    """What was left last is there, and what was fetched is not there again."""
    bert = await house.arrives("bert")
    await bert.hears_text("for much later", house.jid("anna"))
    await house.everybody_leaves()


def cipher(server):
    """What the server chooses from all that a client offers which prefers AES."""
    context = ssl.create_default_context(cafile=server.authority.ca)
    with socket.create_connection(("127.0.0.1", server.tls_port)) as plain:
        with context.wrap_socket(plain, server_hostname=DOMAIN) as line:
            return line.cipher()[0]


def main():
    """Writes with one binary, reads with the next: this machine's, if there is one, before and after the board's."""
    board, host = pathlib.Path(sys.argv[1]).resolve(), os.environ.get("SMOKE_HOST")
    host = host and pathlib.Path(host).resolve()
    emulator = os.environ.pop("LAMPONE_RUNNER", "").split()
    with tempfile.TemporaryDirectory(prefix="smoke-") as place:
        place = pathlib.Path(place)
        authority = Authority(place / "authority", DOMAIN)
        server = Lampone(place / "server", DOMAIN, authority, board)

        def begin(binary):
            """Starts this binary on the same data."""
            server.binary, server.runner = binary, lambda: emulator if binary == board else []
            print(f"{'board' if binary == board else 'host'}: accepting after {server.start():.2f} s", flush=True)

        try:
            with server:
                begin(host or board)
                server.add_accounts([("anna", PASSWORD), ("bert", PASSWORD)])
                asyncio.run(before_the_restart(House(server, place, 0)))
            with server:
                begin(board)
                asyncio.run(after_the_restart(House(server, place, 0)))
                chosen = cipher(server)
                print(f"cipher: {chosen}")
                wanted = os.environ.get("SMOKE_CIPHER", "")
                assert wanted in chosen, f"the cipher is {chosen} and not {wanted}"
            with server:
                begin(host or board)
                asyncio.run(on_the_way_back(House(server, place, 0)))
        except BaseException:
            print(server.said()[-4000:])
            raise
    print("smoke: passed")


if __name__ == "__main__":
    main()
