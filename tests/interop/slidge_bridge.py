"""A bridge to a network of one person, Echo, written with slidge: `python -m slidge --legacy-module slidge_bridge` runs it.

What is said to Echo comes back. What begins with "elsewhere: " was written, says Echo's network, by the account's owner with
that network's own app.
"""

import itertools

from slidge import BaseGateway, BaseSession, LegacyContact, LegacyRoster

ELSEWHERE = "elsewhere: "


class Gateway(BaseGateway):
    """What people see of the network before they sign in."""

    COMPONENT_NAME = "Network of one"
    COMPONENT_TYPE = "xmpp"

    async def validate(self, user_jid, registration_form):
        """Any credentials but these are good."""
        if registration_form.get("password") == "wrong":
            raise ValueError("No such account.")


class Contact(LegacyContact):
    """Somebody there."""

    numbers = itertools.count()

    async def update_info(self):
        self.name, self.is_friend = "Echo", True

    async def on_message(self, message):
        number = str(next(self.numbers))
        if message.body.startswith(ELSEWHERE):
            self.send_text(message.body.removeprefix(ELSEWHERE), legacy_msg_id=f"own-{number}", carbon=True)
        else:
            self.send_text(f"{message.body}, {message.body}", legacy_msg_id=f"echo-{number}")
        return number

    async def on_displayed(self, legacy_msg_id, thread):
        self.send_text(f"you have read {legacy_msg_id}")

    async def on_sticker(self, sticker):
        return None

    async def available_emojis(self, legacy_msg_id=None):
        return None

    async def create_thread(self, xmpp_id):
        return xmpp_id


class Roster(LegacyRoster):
    """All who are there."""

    async def fill(self):
        yield await self.by_legacy_id("echo")


class Session(BaseSession):
    """Somebody here who has signed in there."""

    async def login(self):
        async for contact in self.contacts.fill():
            await contact.add_to_roster()
            contact.online()
        return "Connected"

    async def logout(self):
        pass

    async def on_presence(self, *_):
        pass
