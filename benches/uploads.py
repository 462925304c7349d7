"""What uploads cost the server and those who chat beside them; see `uploads`."""

import asyncio
import contextlib
import json
import os
import pathlib
import socket
import ssl
import subprocess
import statistics
import sys
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "interop"))
from servers import Authority, Lampone  # noqa: E402
from slixmpp_person import PASSWORD, PLUGINS, House  # noqa: E402

MIB = 1024 * 1024
BLOCK = os.urandom(256 * 1024)
# What stands in the list of promises: so many large files at once, and so many of a day while people talk.
LARGE, LARGE_BYTES, PER_PERSON = 20, 100 * MIB, 10
FILES, FILE_BYTES, AT_ONCE = 100, 10 * MIB, 4
# `lampone bench` has 25 pairs, so two of them make fifty.
TALKS, PAIRS, MESSAGES = 2, 25, int(os.environ.get("MESSAGES", "800"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
# Who uploads is on another machine: here what they do has to wait for everybody else. 0: it does not.
NICE = int(os.environ.get("NICE", "19"))


class Quiet(Lampone):
    """As it runs at home."""

    LOG = "info"


def kib(pid, name):
    """A figure of the kernel's about the process's memory."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0])


@contextlib.contextmanager
def peak(pid, told):
    """The most that was in memory meanwhile, in kilobytes, beyond what was before."""
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
    before = kib(pid, "VmRSS")
    yield
    told["idle KiB"], told["more KiB"] = before, kib(pid, "VmHWM") - before
    told["left KiB"] = kib(pid, "VmRSS") - before


class Web:
    """Puts and fetches, by connections of its own."""

    def __init__(self, house):
        self.house = house
        self.context = ssl.create_default_context(cafile=str(house.server.authority.ca))

    def line(self, url):
        """A connection, and what to ask it for."""
        parts = urllib.parse.urlsplit(url)
        line = self.context.wrap_socket(socket.create_connection(("127.0.0.1", parts.port)), server_hostname=parts.hostname)
        return line, f"{parts.path}{'?' if parts.query else ''}{parts.query}"

    def put(self, url, size):
        """Puts so many bytes there."""
        line, path = self.line(url)
        with line:
            line.sendall(f"PUT {path} HTTP/1.1\r\nHost: {self.house.domain}\r\nContent-Length: {size}\r\n"
                         "Connection: close\r\n\r\n".encode())
            for at in range(0, size, len(BLOCK)):
                line.sendall(BLOCK[: size - at])
            head = line.recv(4096)
        assert b" 201 " in head.split(b"\r\n")[0], head

    def get(self, url, size):
        """Fetches so many."""
        line, path = self.line(url)
        room, left = bytearray(256 * 1024), size
        with line:
            line.sendall(f"GET {path} HTTP/1.1\r\nHost: {self.house.domain}\r\nConnection: close\r\n\r\n".encode())
            head = b""
            while b"\r\n\r\n" not in head:
                head += line.recv(1024)
            left -= len(head.split(b"\r\n\r\n", 1)[1])
            while left > 0:
                got = line.recv_into(room)
                assert got, f"{left} bytes are missing"
                left -= got


async def slot(person, name, size):
    """The addresses to put and to get."""
    iq = await person.plugin["xep_0363"].request_slot(person.boundjid.domain, name, size, "application/octet-stream")
    return iq["http_upload_slot"]["put"]["url"], iq["http_upload_slot"]["get"]["url"]


async def large_ones(house, web):
    """Twenty large files at once."""
    told, slots = {}, []
    for _ in range(LARGE // PER_PERSON):
        person = await house.arrives(plugins=(*PLUGINS, "xep_0363"))
        slots += [await slot(person, f"{n}.bin", LARGE_BYTES) for n in range(PER_PERSON)]
    # Before the first request: what it makes and what stays of it counts.
    begun = time.monotonic()
    with peak(house.server.pid, told):
        await asyncio.gather(*(crowd(web.put, put, LARGE_BYTES) for put, _ in slots))
    told["MB/s"] = round(LARGE * LARGE_BYTES / 1e6 / (time.monotonic() - begun))
    return told


def crowd(function, *args):
    """Runs in a thread of its own, not in a pool of few: all are under way at once."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def work():
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        try:
            function(*args)
        except (OSError, AssertionError) as error:
            loop.call_soon_threadsafe(done.set_exception, error)
        else:
            loop.call_soon_threadsafe(done.set_result, None)

    threading.Thread(target=work, daemon=True).start()
    return done


async def talk(server):
    """The latencies of pairs that chat, as `lampone bench` measures them: median and 99 of 100, in microseconds."""
    words = [server.binary, "bench", f"127.0.0.1:{server.port}", "--domain", server.domain, "--ca", server.authority.ca,
             "--data", server.data, "--only", "pairs", "--accounts", PAIRS * 2, "--messages", MESSAGES, "--yes"]
    process = await asyncio.create_subprocess_exec(*map(str, words), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = await process.communicate()
    assert process.returncode == 0, (out, err)
    result = json.loads(out.decode().splitlines()[-1])["results"][0]
    assert result["pairs"] == PAIRS and not result["errors"], result
    return result["median_us"], result["p99_us"]


async def talks(server):
    """The slowest of those that go on at once."""
    said = await asyncio.gather(*(talk(server) for _ in range(TALKS)))
    return [max(one) for one in zip(*said)]


async def files(person, web):
    """Files go up and come down, a few at a time."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number):
        async with gate:
            put, get = await slot(person, f"{number}.bin", FILE_BYTES)
            await crowd(web.put, put, FILE_BYTES)
            await crowd(web.get, get, FILE_BYTES)

    await asyncio.gather(*(one(number) for number in range(FILES)))


async def beside(house, web):
    """What the talk loses by the files, and what the server's memory gains."""
    alone, together, more, through = [], [], [], []
    for _ in range(ROUNDS):
        alone.append(await talks(house.server))
        person, told = await house.arrives(plugins=(*PLUGINS, "xep_0363")), {}
        with peak(house.server.pid, told):
            under_way = asyncio.ensure_future(files(person, web))
            together.append(await talks(house.server))
            through.append(not under_way.done())
            await under_way
        more.append(told["more KiB"])
    middle = [[statistics.median(column) for column in zip(*rows)] for rows in (alone, together)]
    ratios = [round(with_files / without, 2) for without, with_files in zip(*middle)]
    return {"alone us": middle[0], "beside us": middle[1], "ratio of medians": ratios[0], "ratio of 99 of 100": ratios[1],
            "more KiB": more, "files all the while": all(through)}


async def measured(binary):
    """Starts the server and measures."""
    with tempfile.TemporaryDirectory(prefix="uploads-") as place:
        place = pathlib.Path(place)
        server = Quiet(place / "lampone", "house.test", Authority(place / "authority", "house.test"), binary)
        server.add_accounts([(f"p{number}", PASSWORD) for number in range(20)])
        with server:
            server.start()
            house = House(server, place, 20)
            web = Web(house)
            print(f"{LARGE} of {LARGE_BYTES // MIB} MiB at once:", json.dumps(await large_ones(house, web)), flush=True)
            print(f"{FILES} of {FILE_BYTES // MIB} MiB beside {TALKS * PAIRS} pairs:",
                  json.dumps(await beside(house, web)), flush=True)
            await house.everybody_leaves()


if __name__ == "__main__":
    asyncio.run(measured(pathlib.Path(os.environ["LAMPONE"]).resolve()))
