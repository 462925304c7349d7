"""slixmpp's integration tests, module by module, each between two accounts that are no contacts."""

import asyncio
import os
import pathlib
import sys

from slixmpp_person import PASSWORD, facts

FACTS, fact = facts()
SOURCE = pathlib.Path(os.environ["SUITES"]) / "slixmpp"
RUNNER = pathlib.Path(__file__).with_name("slixmpp_tests.py")
NOT_PROSODY = "its modules for these tests are not in the settings here"

NOT_RUN = {
    "test_component": "XEP-0114 is not spoken",
    "test_httpupload": "wants a name that DNS knows",
    "test_sos": "XEP-0455 is not spoken",
    "test_tls_check": "wants a name that DNS knows, and the ports 5222 and 5223",
    "test_vcard": "XEP-0054 §3.3: who has no vCard is like one who does not exist; the test wants an empty vCard",
}
RUN = (
    "test_basic_connect_and_message test_blocking test_bob test_chatmarkers test_disco test_ibb test_last_activity "
    "test_mam test_moderate test_muc test_pep test_ping test_privatestorage test_quickresponse test_reactions "
    "test_reconnect test_retract test_selfping test_slow_filters test_user_avatar test_vcard_avatar test_version"
).split()


async def passes(house, module):
    """Runs a module in a process of its own."""
    anna, bert = await house.arrives(), await house.arrives()
    names = [person.boundjid.bare for person in (anna, bert)]
    await house.everybody_leaves()
    environment = dict(
        os.environ, CI_ACCOUNT1=names[0], CI_ACCOUNT2=names[1], CI_ACCOUNT1_PASSWORD=PASSWORD,
        CI_ACCOUNT2_PASSWORD=PASSWORD, CI_MUC_SERVER=f"rooms.{house.domain}", CA=str(house.server.authority.ca),
        PORT=str(house.server.tls_port))
    run = await asyncio.create_subprocess_exec(
        sys.executable, str(RUNNER), module, cwd=SOURCE, env=environment, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    try:
        said, _ = await run.communicate()
    finally:
        if run.returncode is None:
            run.kill()
    assert run.returncode == 0, said.decode(errors="replace")[-4000:]


def module_of_tests(name):
    """The fact that a module's tests pass."""
    async def tests_pass(house):
        await passes(house, name)

    tests_pass.__name__ = name
    fact(prosody=NOT_PROSODY)(tests_pass)


for run_module in RUN:
    module_of_tests(run_module)


@fact(prosody=NOT_PROSODY)
async def each_module_is_run_or_has_a_reason_not_to_be(_house):
    found = {path.stem for path in (SOURCE / "itests").glob("test_*.py")}
    assert found == {*RUN, *NOT_RUN}, found ^ {*RUN, *NOT_RUN}
    await asyncio.sleep(0)
