"""Starts the servers under test on loopback, in a directory of their own, with a certificate of a test authority.

Only the standard library. `Lampone` and `Prosody` have the same members, so that each script can be tried against both:
a script that fails against both is wrong about the specification or about the client.
"""

import base64
import hashlib
import hmac
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_S = 30


def run(*command, **options):
    """Runs a command to its end; its output is shown only when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


GIVEN_PORTS = set()


def free_port():
    """A port that nobody listens on now and that was not given before."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in GIVEN_PORTS:
            GIVEN_PORTS.add(port)
            return port


class Authority:
    """A certificate authority with one server certificate (ECDSA P-256, named by subjectAltName as RFC 6125 wants)."""

    def __init__(self, directory, domain, usage="serverAuth"):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        at = self.directory.joinpath
        self.ca, self.certificate, self.key = at("ca.pem"), at("server.pem"), at("server.key")
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        # A name of its own: the machine may trust another one of these, and OpenSSL goes by names.
        run("openssl", "req", "-x509", *curve, "-keyout", at("ca.key"), "-out", self.ca, "-days", "30",
            "-subj", f"/CN=Test authority {os.urandom(4).hex()}", "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign")
        run("openssl", "req", *curve, "-keyout", self.key, "-out", at("server.csr"), "-subj", f"/CN={domain}")
        at("extensions").write_text(
            f"subjectAltName=DNS:{domain},DNS:*.{domain}\nbasicConstraints=CA:FALSE\n"
            f"keyUsage=critical,digitalSignature\nextendedKeyUsage={usage}\n")
        run("openssl", "x509", "-req", "-in", at("server.csr"), "-CA", self.ca, "-CAkey", at("ca.key"),
            "-CAcreateserial", "-days", "30", "-extfile", at("extensions"), "-out", self.certificate)
        self.key.chmod(0o600)


class Server:
    """A server as a child process. `start` returns once its direct TLS port accepts."""

    def __init__(self, directory, domain, authority):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.domain, self.authority = domain, authority
        self.port, self.tls_port, self.web_port, self.component_port = (free_port() for _ in range(4))
        self.component, self.secret = f"bridge.{domain}", "the secret of a bridge"
        self.admin = f"admin@{domain}"
        self.process = None

    def command(self):
        """The command line; the process that it becomes is the server itself."""
        raise NotImplementedError

    def add_accounts(self, accounts):
        """Adds (name, password) pairs."""
        raise NotImplementedError

    def start(self):
        """Starts it; the seconds until its direct TLS port accepted."""
        self.output = open(self.directory / "output", "ab")
        begun = time.monotonic()
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=self.output,
                                        stderr=subprocess.STDOUT, cwd=self.directory)
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.tls_port)) == 0:
                    return time.monotonic() - begun
            if self.process.poll() is not None or time.monotonic() - begun > START_S:
                self.stop()
                raise RuntimeError(f"{type(self).__name__} does not listen:\n{self.said()[-4000:]}")
            time.sleep(0.001)

    def said(self):
        """What it printed so far."""
        return (self.directory / "output").read_text(errors="replace")

    @property
    def pid(self):
        """The server's process."""
        return self.process.pid

    def stop(self):
        """Ends it politely, and after ten seconds by force."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        if self.process:
            self.output.close()

    def kill(self):
        """Ends it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Lampone(Server):
    """The product. Accounts are added to the running server over its administration socket."""

    # What is refused is told at this level only.
    LOG = "debug"

    def __init__(self, directory, domain, authority, binary):
        super().__init__(directory, domain, authority)
        self.binary = pathlib.Path(binary)
        self.data = self.directory / "data"
        # Settings that a fact needs beyond those of the house.
        self.more = {}

    def command(self):
        settings = {
            "listen.c2s_tls": f"127.0.0.1:{self.tls_port}", "listen.c2s": f"127.0.0.1:{self.port}", "listen.s2s": "none",
            "tls.certificate": self.authority.certificate, "tls.key": self.authority.key,
            "listen.https": f"127.0.0.1:{self.web_port}", "web.client": os.environ.get("BROWSER", "browser"),
            "admins": self.admin, "log": self.LOG, "listen.component": f"127.0.0.1:{self.component_port}",
        }
        pubsub = "http://jabber.org/protocol/pubsub"
        rights = {"secret": self.secret, "roster": "both", "message": "outgoing", "presence": "managed_entity",
                  "iq": f"{pubsub}, set {pubsub}#owner, get urn:xmpp:http:upload:0"}
        settings.update({f"components.{self.component}.{key}": value for key, value in rights.items()} | self.more)
        options = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        return [*self.runner(), str(self.binary), "serve", "--domain", self.domain, "--data", str(self.data), *options]

    def start(self):
        """Starts it; its administration socket is there as well when this returns."""
        took = super().start()
        while self.process.poll() is None:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self.data / "admin.sock")) == 0:
                    break
            time.sleep(0.001)
        return took

    def runner(self):
        """An emulator in front of the binary, from the environment."""
        return os.environ.get("LAMPONE_RUNNER", "").split()

    def add_accounts(self, accounts):
        batch = self.directory / "accounts"
        batch.write_text("".join(f"{name}@{self.domain}\t{password}\n" for name, password in accounts))
        batch.chmod(0o600)
        running = self.process is not None and self.process.poll() is None
        if not running:
            self.start()
        run(*self.runner(), str(self.binary), "user", "add", "--data", str(self.data), "--from", str(batch))
        if not running:
            self.stop()

    def status(self):
        """What `lampone status` says, or nothing when there is no such command."""
        done = subprocess.run([*self.runner(), str(self.binary), "status", "--data", str(self.data)],
                              capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else ""


PROSODY_CONFIG = """
run_as_root = true
pidfile = "{directory}/prosody.pid"
data_path = "{directory}/data"
admins = {{ "{admin}" }}
network_backend = "epoll"
modules_enabled = {{ "roster", "saslauth", "tls", "disco", "carbons", "smacks", "offline", "ping", {extra} }}
modules_disabled = {{ "s2s" }}
authentication = "internal_hashed"
storage = {storage}
allow_registration = false
c2s_require_encryption = true
smacks_hibernation_time = 300
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{ {tls_port} }}
s2s_ports = {{ }}
http_ports = {{ }}
https_ports = {{ }}
log = {{ warn = "*console" }}
ssl = {{ certificate = "{certificate}", key = "{key}" }}
c2s_direct_tls_ssl = {{ certificate = "{certificate}", key = "{key}" }}
{settings}
VirtualHost "{domain}"
"""


class Prosody(Server):
    """Debian's Prosody; no rate limits, and no archive unless a subclass adds one. Accounts are written into its files."""

    STORAGE = '"internal"'
    SETTINGS = ""

    EXTRA = ("blocklist", "vcard_legacy", "pep", "private", "version", "time", "lastactivity", "uptime", "admin_adhoc",
             "adhoc", "csi_simple")

    def __init__(self, directory, domain, authority, extra=EXTRA):
        super().__init__(directory, domain, authority)
        (self.directory / "data").mkdir(exist_ok=True)
        self.config = self.directory / "prosody.cfg.lua"
        self.config.write_text(PROSODY_CONFIG.format(
            storage=self.STORAGE, settings=self.SETTINGS, directory=self.directory, admin=self.admin, domain=domain, port=self.port, tls_port=self.tls_port,
            certificate=authority.certificate, key=authority.key, extra=", ".join(f'"{name}"' for name in extra)))

    def command(self):
        if not shutil.which("prosody"):
            raise RuntimeError("prosody is not installed")
        return ["prosody", "--config", str(self.config), "-F"]

    def add_accounts(self, accounts):
        escaped = "".join(c if c.isalnum() else f"%{ord(c):02x}" for c in self.domain)
        folder = self.directory / "data" / escaped / "accounts"
        folder.mkdir(parents=True, exist_ok=True)
        keys = {}
        for name, password in accounts:
            if password not in keys:
                keys[password] = self.hashed(password)
            (folder / f"{name}.dat").write_text(keys[password])

    @staticmethod
    def hashed(password):
        """What `internal_hashed` stores: the two keys of RFC 5802 §3 in hexadecimal."""
        salt, rounds = base64.b64encode(os.urandom(12)).decode(), 10_000
        salted = hashlib.pbkdf2_hmac("sha1", password.encode(), salt.encode(), rounds)
        client_key = hmac.digest(salted, b"Client Key", "sha1")
        server_key = hmac.digest(salted, b"Server Key", "sha1").hex()
        stored_key = hashlib.sha1(client_key).hexdigest()
        return (f'return {{ ["salt"] = "{salt}"; ["iteration_count"] = {rounds}; ["stored_key"] = "{stored_key}"; '
                f'["server_key"] = "{server_key}"; }};\n')

    def status(self):
        """Prosody has nothing to compare."""
        return ""
