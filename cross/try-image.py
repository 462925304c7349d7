"""An SD card in an emulated Raspberry Pi 3: first start, what is announced, sign-in from outside, power cut, update, and one that is taken back."""

import asyncio
import calendar
import os
import pathlib
import queue
import re
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import types
import urllib.parse
import urllib.request

import dns.message
import dns.name
import dns.rdatatype

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "interop"))
from servers import free_port, run  # noqa: E402
from slixmpp_person import PASSWORD, House  # noqa: E402

DOMAIN = "house.test"
# As QEMU wants it: a power of two. The image is smaller, so the data partition grows.
CARD_MIB = 256
# Where the boot partition begins.
BOOT_AT = "4M"
PATIENCE_S = 150
# Power on to a client that is signed in, on the first start (the bar).
SIGNED_IN_S_MAX = 60
SPOILER = "#!/bin/sh\nfor file in /data/lampone/*; do [ ! -f $file ] || echo spoilt >$file; done\nexit 1\n"


class Neighbour:
    """Another machine in the board's local network, in frames of its own making: it asks by multicast (RFC 6762) and tells the time."""

    ADDRESS, GROUP, HARDWARE = "10.0.2.99", "224.0.0.251", bytes.fromhex("525400000099")
    # From the first of 1900 (RFC 5905 §6) to the first of 1970.
    ERA_S = 2208988800
    # So that nobody could take the image's own clock for the one of the network.
    AHEAD_S = 30 * 24 * 3600

    def __init__(self):
        self.wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.wire.bind(("127.0.0.1", 0))
        self.here, self.there = self.wire.getsockname()[1], free_port()
        self.heard = queue.Queue()
        threading.Thread(target=self.listens, daemon=True).start()

    def time(self):
        """Seconds since 1970, as everybody in this network believes."""
        return time.time() + self.AHEAD_S

    def listens(self):
        """Answers who asks for its hardware address (RFC 826) or the time, and keeps what is said by multicast."""
        while True:
            frame = self.wire.recv(2048)
            if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\1" and frame[38:42] == socket.inet_aton(self.ADDRESS):
                self.sends(frame[6:12], 0x0806, frame[14:20] + b"\0\2" + self.HARDWARE + frame[38:42] + frame[22:32])
            elif frame[12:14] == b"\x08\x00" and frame[23] == 17:
                source, target = struct.unpack("!HH", frame[34:38])
                if target == 5353:
                    self.heard.put(frame[42:])
                elif target == 123 and frame[30:34] == socket.inet_aton(self.ADDRESS):
                    self.datagram(frame[6:12], socket.inet_ntoa(frame[26:30]), 123, source, self.tells_the_time(frame[42:90]))

    def tells_the_time(self, question):
        """The answer of a server with a clock of its own (RFC 5905 §7.3), in the version of the question."""
        seconds = self.time() + self.ERA_S
        now = struct.pack("!II", int(seconds), int(seconds % 1 * 2**32))
        return bytes([question[0] & 0x38 | 4, 1, question[2], 0xec]) + bytes(8) + b"GPS\0" + now + question[40:48] + now + now

    def sends(self, hardware, kind, body):
        """One frame to this hardware address."""
        self.wire.sendto(hardware + self.HARDWARE + struct.pack("!H", kind) + body, ("127.0.0.1", self.there))

    def datagram(self, hardware, address, source, target, body):
        """One datagram of UDP over IPv4."""
        datagram = struct.pack("!HHHH", source, target, 8 + len(body), 0) + body
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 0, 0, 255, 17, 0,
                           socket.inet_aton(self.ADDRESS), socket.inet_aton(address))
        total = sum(struct.unpack("!10H", head))
        total = ~((total & 0xffff) + (total >> 16)) & 0xffff
        self.sends(hardware, 0x0800, head[:10] + struct.pack("!H", total) + head[12:] + datagram)

    def asks(self, name, kind):
        """Sends one question."""
        self.datagram(bytes.fromhex("01005e0000fb"), self.GROUP, 5353, 5353,
                      dns.message.make_query(name, kind, id=0, flags=0).to_wire())

    def hears(self, until):
        """Records that are announced or answered up to `until`, as text."""
        while (left := until - time.monotonic()) > 0:
            try:
                message = self.heard.get(timeout=left)
            except queue.Empty:
                return
            for records in dns.message.from_wire(in_one_class(message), ignore_trailing=True).sections[1:]:
                yield from (str(record) for record in records)

    def finds(self, name, kind, words, patience_s=30):
        """Asks until what comes contains these words, a regular expression."""
        end, heard = time.monotonic() + patience_s, []
        while time.monotonic() < end:
            self.asks(name, kind)
            for record in self.hears(time.monotonic() + 2):
                heard.append(record)
                if found := re.search(words, record):
                    return found
        raise RuntimeError(f"nobody in the network answers {words!r} about {name}, but {heard[-20:]}")

    def misses(self, name, kind, words, patience_s=30):
        """Asks until something comes, and nothing that does contains these words."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            # What came before the question is no answer to it.
            list(self.hears(time.monotonic() + 1))
            self.asks(name, kind)
            heard = list(self.hears(time.monotonic() + 2))
            if heard and not any(re.search(words, record) for record in heard):
                return
        raise RuntimeError(f"somebody in the network still answers {words!r} about {name}")


def in_one_class(message):
    """The message without the marks that its records replace older ones (RFC 6762 §10.2): the parser takes them for classes."""
    message = bytearray(message)
    questions, *records = struct.unpack("!4H", message[4:12])
    at = 12
    for number in range(questions + sum(records)):
        _, length = dns.name.from_wire(bytes(message), at)
        at += length
        message[at + 2] &= 0x7f
        at += 4 if number < questions else 10 + int.from_bytes(message[at + 8:at + 10])
    return bytes(message)


class Board:
    """The card, and the machine that it is in."""

    def __init__(self, place, image):
        self.place, self.card, self.console = place, place / "card", place / "console"
        shutil.copyfile(image, self.card)
        os.truncate(self.card, CARD_MIB * 1024 * 1024)
        for file in ("kernel8.img", "initrd.gz", "bcm2837-rpi-3-b.dtb", "cmdline.txt"):
            self.take(file)
        self.tls_port, self.port, self.web_port = free_port(), free_port(), free_port()
        self.domain, self.process, self.neighbour = DOMAIN, None, Neighbour()
        self.authority = types.SimpleNamespace(ca=place / "ca.pem")

    def take(self, file):
        """A file of the boot partition, as the owner's computer reads it."""
        run("mcopy", "-n", "-o", "-i", f"{self.card}@@{BOOT_AT}", f"::{file}", self.place / file)
        return self.place / file

    def makes(self, folder):
        """A folder on the boot partition."""
        run("mmd", "-i", f"{self.card}@@{BOOT_AT}", f"::{folder}")

    def put(self, file, text=None):
        """A file onto the boot partition, as the owner's computer writes it."""
        if text is not None:
            (self.place / file).parent.mkdir(exist_ok=True)
            (self.place / file).write_text(text)
        run("mcopy", "-n", "-o", "-i", f"{self.card}@@{BOOT_AT}", self.place / file, f"::{file}")

    def names(self):
        """The names on the boot partition."""
        return [name.removeprefix("::/") for name in run("mdir", "-b", "-i", f"{self.card}@@{BOOT_AT}", "::").split()]

    def power_on(self):
        """Starts the machine; the firmware's part, which is to load kernel, archive and device tree, is QEMU's."""
        self.console.write_text("")
        words = (self.place / "cmdline.txt").read_text().replace("console=tty0", "").split()
        ports = [(self.port, 5222), (self.tls_port, 5223), (self.web_port, 5443)]
        forwards = ",".join(f"hostfwd=tcp:127.0.0.1:{here}-:{there}" for here, there in ports)
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            ["qemu-system-aarch64", "-M", "raspi3b", "-display", "none", "-no-reboot", "-monitor", "none",
             "-serial", f"file:{self.console}", "-kernel", self.place / "kernel8.img", "-initrd", self.place / "initrd.gz",
             "-dtb", self.place / "bcm2837-rpi-3-b.dtb", "-append", " ".join([*words, "lampone.watchdog=no"]),
             "-drive", f"file={self.card},if=sd,format=raw", "-device", "usb-net,netdev=n",
             "-netdev", "hubport,id=n,hubid=0", "-netdev", f"user,id=u,restrict=on,{forwards}",
             "-netdev", f"socket,id=s,udp=127.0.0.1:{self.neighbour.here},localaddr=127.0.0.1:{self.neighbour.there}",
             "-netdev", "hubport,id=v,hubid=0,netdev=u", "-netdev", "hubport,id=w,hubid=0,netdev=s"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def says(self, words):
        """Waits until these words, a regular expression, stand on the console; what was found."""
        while not (found := re.search(words, self.console.read_text(errors="replace"))):
            if self.process.poll() is not None or time.monotonic() - self.begun > PATIENCE_S:
                raise RuntimeError(f"the console does not say {words!r}")
            time.sleep(0.1)
        return found

    def clock(self, words):
        """What the console says of the time after these words, in seconds since 1970."""
        said = self.says(words + r" (\w+ \w+ +\d+ [\d:]+ UTC \d+)")[1]
        return calendar.timegm(time.strptime(said, "%a %b %d %H:%M:%S UTC %Y"))

    def is_on(self):
        """Seconds since power on."""
        return time.monotonic() - self.begun

    def power_off(self):
        """Pulls the plug."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


def register(board, link, name):
    """Makes an account with the page of an invitation, as a browser does."""
    trust = ssl.create_default_context(cafile=board.authority.ca)
    trust.check_hostname = False
    form = urllib.parse.urlencode({"name": name, "password": PASSWORD}).encode()
    page = urllib.request.Request(f"https://127.0.0.1:{board.web_port}{link}", form, {"Host": f"{DOMAIN}:5443"})
    with urllib.request.urlopen(page, timeout=30, context=trust) as answer:
        assert answer.status == 201, f"the invitation's page answers {answer.status}"


async def first_evening(board):
    """Somebody signs in, and leaves a note for herself in her contacts."""
    house = House(board, board.place, 0)
    anna = await house.arrives("anna")
    print(f"signed in {board.is_on():.1f} s after power on", flush=True)
    await anna.update_roster(house.jid("bert"), name="Bert", groups=["Board"])
    await anna.fence()
    await house.everybody_leaves()


async def later(board):
    """What was acknowledged is there."""
    house = House(board, board.place, 0)
    anna = await house.arrives("anna")
    roster = await anna.asks("get", "<query xmlns='jabber:iq:roster'/>")
    assert [item.get("name") for item in roster.iter("{jabber:iq:roster}item")] == ["Bert"]
    await house.everybody_leaves()


def starts_again(board, what):
    """The next start, until somebody is signed in."""
    board.power_on()
    board.says(r": ready")
    began = board.clock("the clock begins with")
    assert 0 <= board.neighbour.time() - began < 600, f"the clock begins {board.neighbour.time() - began:.0f} s too early"
    asyncio.run(later(board))
    print(f"{what}: signed in {board.is_on():.1f} s after power on, and the data are there", flush=True)


def live(board):
    """All that happens to the card."""
    settings = board.take("lampone.txt").read_text().replace("lampone.local", DOMAIN)
    board.put("lampone.txt", settings.replace("#time = pool.ntp.org", f"time = {Neighbour.ADDRESS}"))
    board.makes("firmware")
    board.put("firmware/brcmfmac43436-sdio.bin", "what a maker gives")
    board.power_on()
    board.says(r"firmware of the owner: brcmfmac43436-sdio\.bin")
    assert abs(board.neighbour.time() - board.clock("the time is")) < 60, "the time is not the network's"
    print(f"the time is the network's {board.is_on():.1f} s after power on", flush=True)
    board.says(r": ready")
    link = re.search(r"https://[^/]*(/i/\S+)", board.says(r"invitation:(.*\n)+?.*invitation written")[0])[1]
    board.says(r"has the address")
    pem = ssl.get_server_certificate(("127.0.0.1", board.tls_port), timeout=30)
    board.authority.ca.write_text(pem)
    neighbour = board.neighbour
    neighbour.finds("lampone.local", "A", r"lampone\.local\. .* A 10\.0\.2\.15")
    neighbour.finds("_xmpp-client._tcp.local", "PTR", r"Lampone\._xmpp-client\._tcp\.local\. .* SRV 0 0 5222 lampone\.local")
    neighbour.finds("_https._tcp.local", "PTR", r"first.*_https\._tcp\.local\. .* SRV 0 0 5443 lampone\.local")
    neighbour.finds("_https._tcp.local", "PTR", rf'TXT "path={link}"')
    print(f"name, services and invitation are announced {board.is_on():.1f} s after power on", flush=True)
    register(board, link, "anna")
    asyncio.run(first_evening(board))
    took = board.is_on()
    board.says(r"invitation gone")
    neighbour.misses("_https._tcp.local", "PTR", r'TXT "path=/i/')
    board.power_off()
    assert f"{DOMAIN}.crt" in board.names(), "the boot partition has no certificate"
    assert "invitation.txt" not in board.names(), "the invitation is still there"
    assert board.take(f"{DOMAIN}.crt").read_text().split() == pem.split(), "another certificate than the one served"
    assert took < SIGNED_IN_S_MAX, f"it took {took:.0f} s and may take {SIGNED_IN_S_MAX}"

    starts_again(board, "after a power cut")
    board.says(r"invitation gone")
    board.power_off()
    assert "invitation.txt" not in board.names(), "the invitation is still there"

    program = board.take("lampone").read_bytes()
    (board.place / "lampone.new").write_bytes(program + b"the next version")
    board.put("lampone.new")
    starts_again(board, "updated by file")
    board.says(r"The update runs")
    board.says(r"invitation gone")
    board.power_off()
    assert "lampone.new" not in board.names()

    board.put("lampone.new", SPOILER)
    starts_again(board, "an update that spoils the data is taken back")
    board.says(r"was taken back")
    board.says(r"invitation gone")
    board.power_off()
    told = board.take("update.txt").read_text()
    assert "The update runs" in told and "taken back" in told, f"update.txt says {told!r}"
    assert "lampone.new" not in board.names()


def main():
    """Makes a card of the image and lives."""
    with tempfile.TemporaryDirectory(prefix="card-") as place:
        board = Board(pathlib.Path(place), sys.argv[1])
        try:
            live(board)
        except BaseException:
            print(board.console.read_text(errors="replace")[-4000:])
            raise
        finally:
            board.power_off()
    print("the image serves: first start, power cut, update, and an update taken back")


if __name__ == "__main__":
    main()
