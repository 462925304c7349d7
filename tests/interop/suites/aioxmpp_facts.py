"""aioxmpp's end-to-end tests, all in one fact, between people who are no contacts of each other."""

import asyncio
import os
import pathlib
import tempfile

from slixmpp_person import PASSWORD, facts

FACTS, fact = facts()
SOURCE = pathlib.Path(os.environ["SUITES"]).resolve() / "aioxmpp"
# More than the tests use.
PEOPLE = 200
SETTINGS = """[global]
provisioner=aioxmpp_people.People
timeout=20

[aioxmpp_people.People]
host={domain}
accounts=[("unused", "unused")]
block_features={{"{domain}": ["http://jabber.org/protocol/pubsub#*"]}}
"""


@fact(prosody="its settings here lack the modules")
async def all_end_to_end_tests_pass(house):
    prefix = f"{house.account()}-"
    house.server.add_accounts([(f"{prefix}{number}", PASSWORD) for number in range(1, PEOPLE)])
    with tempfile.TemporaryDirectory() as place:
        settings = pathlib.Path(place) / "settings.ini"
        settings.write_text(SETTINGS.format(domain=house.domain))
        tests = sorted(SOURCE.glob("tests/**/test_e2e.py"))
        assert len(tests) > 10, f"{SOURCE} lacks tests"
        environment = dict(
            os.environ, DOMAIN=house.domain, PORT=str(house.server.port), PASSWORD=PASSWORD, PREFIX=prefix,
            PYTHONPATH=str(pathlib.Path(__file__).resolve().parent))
        run = await asyncio.create_subprocess_exec(
            SOURCE / "venv" / "bin" / "python", "-m", "pytest", "-q", "-W", "ignore", "-p", "no:cacheprovider",
            "-p", "aioxmpp.e2etest", "--e2etest-config", settings, *tests, cwd=SOURCE, env=environment,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        try:
            said, _ = await run.communicate()
        finally:
            if run.returncode is None:
                run.kill()
    said = said.decode(errors="replace")
    assert run.returncode == 0, said[-6000:]
    print("     ", said.strip().splitlines()[-1])
