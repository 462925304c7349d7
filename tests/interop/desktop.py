"""Where a program lives that does not know that it is tested: a network in which the house has a name and its
authority is the only one that is trusted, a home of its own; and on a desktop, a screen without glass (Xvfb) and a
session bus.

The program lives in a mount namespace of its own: there /etc/resolv.conf names the test's name server, and the system's
list of authorities has the test's authority alone. Its own checks of certificates stay as they are.
"""

import asyncio
import contextlib
import os
import pathlib
import shlex
import subprocess
import tempfile

from names import Names
from relay import Relay
from servers import ROOT

PICTURES = ROOT / "target" / "interop"
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
NOBODY = 65_534
START_S = 20
GLANCE_S = 0.05
SIZE = "1024x720"


class Place:
    """Entered, programs can be started in it."""

    # How a command line begins that is not to run as whoever runs this.
    AS_WHOM = ()

    def __init__(self, house, who, authority=None, relayed=False):
        self.house = house
        self.place = pathlib.Path(tempfile.mkdtemp(prefix=f"{who}-", dir=house.directory))
        self.authority = authority or house.server.authority.ca
        # What the programs call the place.
        self.home = self.place
        self.relayed, self.relays = relayed, []
        self.children = []
        self.stack = contextlib.AsyncExitStack()

    async def __aenter__(self):
        try:
            return await self.is_set_up()
        except BaseException:
            await self.__aexit__()
            raise

    async def is_set_up(self):
        """Makes the network."""
        ports = [self.house.server.port, self.house.server.tls_port]
        if self.relayed:
            self.relays = [await self.stack.enter_async_context(Relay(port)) for port in ports]
            ports = [relay.port for relay in self.relays]
        self.names = await self.stack.enter_async_context(Names(self.house.domain, *ports))
        (self.place / "resolv.conf").write_text(f"nameserver {self.names.address}\noptions timeout:1 attempts:1\n")
        return self

    async def __aexit__(self, *_):
        for child in reversed(self.children):
            if child.poll() is None:
                child.terminate()
        for child in reversed(self.children):
            try:
                await asyncio.to_thread(child.wait, 5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        await self.stack.aclose()

    def connections(self):
        """How many connections came so far, when they are relayed."""
        return sum(relay.taken for relay in self.relays)

    def cuts_connections(self):
        """Loses the connections that there are; how many."""
        return sum(relay.cuts() for relay in self.relays)

    async def ended(self, program):
        """Waits until a program has ended by itself."""
        await asyncio.wait_for(asyncio.to_thread(program.wait), START_S)

    async def ends(self, program):
        """Ends a program that was started here."""
        program.terminate()
        await self.ended(program)

    def environment(self):
        """Nothing of this machine's user reaches the program."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8",
                "GSETTINGS_BACKEND": "memory", "GIO_USE_VFS": "local"}

    def inside(self, *command):
        """The command line that starts a program in this place."""
        mounts = {self.place / "resolv.conf": "/etc/resolv.conf", self.authority: AUTHORITIES, self.place: self.home}
        script = "".join(f"mount --bind {shlex.quote(str(here))} {shlex.quote(str(there))} && "
                         for here, there in mounts.items() if here != there)
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                f"{script}exec {shlex.join([*self.AS_WHOM, *command])}"]

    def starts(self, *command):
        """Starts a program; what it prints goes to the file `output`."""
        with open(self.place / "output", "ab") as log:
            child = subprocess.Popen(self.inside(*command), env=self.environment(), stdin=subprocess.DEVNULL,
                                     stdout=log, stderr=log)
        self.children.append(child)
        return child

    def said(self):
        """What the programs printed."""
        return (self.place / "output").read_text(errors="replace")

    async def until(self, question, what, patience=START_S):
        """Asks again and again until the answer is yes; the answer."""
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            answer = question()
            if answer:
                return answer
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"{what} never came; {self.last_look()}; it printed:\n{self.said()[-3000:]}")
            await asyncio.sleep(GLANCE_S)

    def last_look(self):
        """What there is to see when something never came."""
        return "nothing to see"


class Desktop(Place):
    """Entered, it has a screen and a session bus. What is on the screen can be kept as a picture.

    Its programs run without rights, as somebody's do, and see their home at a path where nothing of others is above it.
    """

    AS_WHOM = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.home = pathlib.Path("/mnt")

    async def is_set_up(self):
        """Makes the network, the screen and the session bus."""
        await super().is_set_up()
        runtime = self.place / "runtime"
        runtime.mkdir(mode=0o700)
        for owned in (self.place, runtime):
            os.chown(owned, NOBODY, NOBODY)
        self.display = await self.starts_screen()
        self.starts("dbus-daemon", "--session", "--nofork", f"--address={self.bus()}")
        await self.until((runtime / "bus").exists, "a session bus")
        return self

    async def starts_screen(self):
        """The X server; it chooses its own number and tells it when it is ready."""
        reading, writing = os.pipe()
        command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", f"{SIZE}x24", "-nolisten", "tcp"]
        with open(self.place / "screen.log", "wb") as log:
            self.children.append(subprocess.Popen(command, pass_fds=[writing], stdout=log, stderr=log))
        os.close(writing)
        with os.fdopen(reading) as told:
            number = await asyncio.wait_for(asyncio.to_thread(told.readline), START_S)
        if not number.strip():
            raise AssertionError(f"no screen: {(self.place / 'screen.log').read_text()}")
        return f":{number.strip()}"

    def environment(self):
        runtime = self.home / "runtime"
        return {**super().environment(), "DISPLAY": self.display, "XDG_RUNTIME_DIR": str(runtime),
                "DBUS_SESSION_BUS_ADDRESS": self.bus(), "GDK_BACKEND": "x11",
                "GSK_RENDERER": "cairo", "LIBGL_ALWAYS_SOFTWARE": "1", "GTK_A11Y": "none", "NO_AT_BRIDGE": "1",
                "GTK_USE_PORTAL": "0"}

    def bus(self):
        """Where programs find the session bus."""
        return f"unix:path={self.home / 'runtime' / 'bus'}"

    def last_look(self):
        return f"picture: {self.keeps_picture('last')}"

    def xdotool(self, *words):
        """One command of the hand at keyboard and mouse; what it printed, nothing when it found nothing."""
        done = subprocess.run(["xdotool", *words], capture_output=True, text=True, check=False, env=self.environment())
        return done.stdout.strip() if done.returncode == 0 else ""

    async def types(self, window, text):
        """Gives a window the keyboard and types a line."""
        self.xdotool("windowfocus", "--sync", window)
        await asyncio.to_thread(self.xdotool, "type", "--delay", "4", text)
        self.xdotool("key", "Return")

    def keeps_picture(self, name):
        """Keeps what is on the screen; where the picture is."""
        kept = pathlib.Path(os.environ.get("INTEROP_PICTURES", PICTURES))
        kept.mkdir(parents=True, exist_ok=True)
        picture = kept / f"{name}.png"
        subprocess.run(["import", "-window", "root", picture], check=True, capture_output=True, env=self.environment())
        return picture
