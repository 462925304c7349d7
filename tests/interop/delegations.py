"""A component by other hands answers for the nodes of accounts (XEP-0355), and nobody sees the difference."""

import asyncio
import contextlib
import os
import pathlib
import subprocess

from slixmpp.exceptions import IqError

from slixmpp_person import PATIENCE_S, facts

FACTS, fact = facts()
PUBSUB = "http://jabber.org/protocol/pubsub"
INFO = "http://jabber.org/protocol/disco#info"
MOOD = "http://jabber.org/protocol/mood"


@contextlib.contextmanager
def delegating(house):
    """The house with other settings, for as long as a fact needs them."""
    server = house.server
    server.stop()
    server.more = {f"components.{server.component}.delegate": f"{PUBSUB}, {PUBSUB}#owner"}
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.more = {}
        server.start()


@contextlib.asynccontextmanager
async def nodes(server):
    """The component, once it says what is delegated to it."""
    program = pathlib.Path(__file__).parent / "wokkel_nodes.py"
    process = await asyncio.create_subprocess_exec(
        os.environ["WOKKEL"] + "/bin/python", program, server.component, server.secret, str(server.component_port),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = []
    try:
        async with asyncio.timeout(2 * PATIENCE_S):
            while line := await process.stdout.readline():
                said.append(line.decode(errors="replace"))
                if f"namespace {PUBSUB}#owner" in said[-1]:
                    break
        yield
    except Exception as error:
        raise AssertionError(f"{error!r}; the component said:\n{''.join(said[-40:])}") from error
    finally:
        if process.returncode is None:
            process.terminate()
        # What it still says must not hold it back.
        await process.communicate()


async def features(who):
    """What somebody's own account can do, with its identities."""
    answer = await who.asks("get", f"<query xmlns='{INFO}'/>", who.boundjid.bare)
    identities = {(one.get("category"), one.get("type")) for one in answer.iter(f"{{{INFO}}}identity")}
    return {one.get("var") for one in answer.iter(f"{{{INFO}}}feature")} | identities


async def until(claim, what):
    """Asks until the answer is as it is wanted: the component tells what it can do in its own time."""
    async with asyncio.timeout(PATIENCE_S):
        while not claim(await what()):
            pass


@fact(prosody="it knows no delegation without a module")
async def a_component_by_other_hands_keeps_the_nodes_of_accounts(house):
    with delegating(house) as server:
        anna, bert = await house.arrives(), await house.arrives()
        item = f"<item id='1'><mood xmlns='{MOOD}'><happy/></mood></item>"
        publish = f"<pubsub xmlns='{PUBSUB}'><publish node='{MOOD}'>{item}</publish></pubsub>"
        read = f"<pubsub xmlns='{PUBSUB}'><items node='{MOOD}'/></pubsub>"
        async with nodes(server):
            await until(lambda told: f"{PUBSUB}#publish" in told, lambda: features(anna))
            told = await features(anna)
            assert ("pubsub", "pep") in told and f"{PUBSUB}#auto-create" in told, told
            assert f"{PUBSUB}#access-presence" not in told, "that is the server's own"
            await anna.asks("set", publish)
            for who, to in ((anna, None), (bert, anna.boundjid.bare)):
                answer = await who.asks("get", read, to)
                assert answer.find(f".//{{{MOOD}}}happy") is not None, answer
        try:
            await anna.asks("get", read)
        except IqError as error:
            assert error.condition == "service-unavailable", error
        else:
            raise AssertionError("an answer of a component that is gone")
        await until(lambda told: f"{PUBSUB}#publish" not in told, lambda: features(anna))
