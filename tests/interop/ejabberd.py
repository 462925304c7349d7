"""Debian's ejabberd as a server among others: dialback or certificates, an archive, rooms on `conference.`.

It runs without Erlang's distribution, so that neither epmd nor a node's name are needed; accounts are made as it starts.
"""

import json
import shutil
import time

from servers import START_S, Server

# Where Debian keeps its modules.
LIBRARIES = "/usr/lib/x86_64-linux-gnu"

# What it says when everybody has an account.
MADE = "accounts are made"

CONFIG = """
hosts: ["{domain}"]
loglevel: info
certfiles: ["{directory}/there.pem"]
ca_file: "{ca}"
s2s_use_starttls: {starttls}
s2s_cafile: "{ca}"
acme: {{auto: false}}
auth_method: internal
auth_password_format: scram
listen:
  - {{port: {port}, ip: "127.0.0.1", module: ejabberd_c2s, starttls_required: true, starttls: true}}
  - {{port: {tls_port}, ip: "127.0.0.1", module: ejabberd_c2s, tls: true}}
  - {{port: 5269, ip: "{address}", module: ejabberd_s2s_in}}
access_rules: {{local: [allow: all]}}
modules:
  mod_admin_extra: {{}}
  mod_carboncopy: {{}}
  mod_disco: {{}}
  mod_mam: {{default: always, assume_mam_usage: true}}
  mod_muc: {{host: "conference.@HOST@", access_create: local, default_room_options: {{mam: true}}}}
  mod_offline: {{}}
  mod_ping: {{}}
  mod_roster: {{versioning: true}}
{dialback}
  mod_stream_mgmt: {{resend_on_timeout: if_offline}}
"""


class Ejabberd(Server):
    """With a door for other servers at `ADDRESS`."""

    ADDRESS = "127.0.0.2"

    def __init__(self, directory, domain, authority, secure):
        super().__init__(directory, domain, authority)
        chain = authority.certificate.read_text() + authority.key.read_text()
        (self.directory / "there.pem").write_text(chain)
        self.accounts = []
        (self.directory / "ejabberd.yml").write_text(CONFIG.format(
            domain=domain, directory=self.directory, ca=authority.ca, port=self.port, tls_port=self.tls_port,
            address=self.ADDRESS, starttls="required", dialback="" if secure else "  mod_s2s_dialback: {}"))

    def add_accounts(self, accounts):
        """Before it starts."""
        self.accounts += accounts

    def command(self):
        if not shutil.which("ejabberdctl"):
            raise RuntimeError("ejabberd is not installed")
        binary = lambda text: f"<<{json.dumps(text)}>>"  # noqa: E731
        people = ",".join(f"{{{binary(name)},{binary(password)}}}" for name, password in self.accounts)
        begin = (f"{{ok,_}} = application:ensure_all_started(ejabberd), "
                 f"[ejabberd_auth:try_register(N, {binary(self.domain)}, P) || {{N, P}} <- [{people}]], "
                 f"io:format(\"{MADE}~n\").")
        (self.directory / "spool").mkdir(exist_ok=True)
        return ["env", f"ERL_LIBS={LIBRARIES}", f"HOME={self.directory}",
                f"EJABBERD_CONFIG_PATH={self.directory}/ejabberd.yml", f"EJABBERD_LOG_PATH={self.directory}/log",
                "erl", "-noinput", "-mnesia", "dir", f'"{self.directory}/spool"', "-eval", begin]

    def start(self):
        """Until everybody can sign in."""
        begun = time.monotonic()
        super().start()
        while MADE not in super().said():
            if self.process.poll() is not None or time.monotonic() - begun > START_S:
                raise RuntimeError(f"no accounts:\n{self.said()[-4000:]}")
            time.sleep(0.01)
        return time.monotonic() - begun

    def said(self):
        """What it printed, and its log."""
        log = self.directory / "log"
        return super().said() + (log.read_text(errors="replace") if log.exists() else "")

    def status(self):
        """Nothing to compare."""
        return ""
