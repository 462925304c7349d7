// Two hundred people in one room, each with xmpp.js: they enter, hear what the first says, some answer, all leave. What to do
// comes as one JSON object in the first argument, what happened goes out as JSON, a line each; a line on standard input is
// waited for before they speak and before they leave.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { createInterface } from "node:readline";

const require = createRequire(pathToFileURL(`${process.env.XMPPJS}/`));
const { client, xml } = await import(pathToFileURL(require.resolve("@xmpp/client")));

const { service, domain, names, password, room, speakers } = JSON.parse(process.argv[2]);
const tell = (what) => console.log(JSON.stringify(what));
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const AT_ONCE = 8;

class Occupant {
  constructor(name) {
    this.name = name;
    this.heard = [];
    this.present = new Set();
    this.waiting = [];
    // Its own way with a challenge is slow a hundred times over; TLS protects the password.
    this.entity = client({ service, domain, credentials: (authenticate) => authenticate({ username: name, password }, "PLAIN") });
    this.entity.reconnect.stop();
    this.entity.timeout = 30_000;
    this.entity.on("error", (error) => this.failed ?? fail(`${name}: ${error}`));
    this.entity.on("stanza", (stanza) => this.hear(stanza));
  }

  hear(stanza) {
    const [bare, nick] = (stanza.attrs.from ?? "").split("/");
    if (bare !== room) return;
    if (stanza.attrs.type === "error") fail(`${this.name}: ${stanza}`);
    if (stanza.is("presence")) {
      if (stanza.attrs.type === "unavailable") this.present.delete(nick);
      else this.present.add(nick);
    } else if (stanza.getChildText("body")) this.heard.push(stanza.getChildText("body"));
    this.waiting = this.waiting.filter(([isSo, done]) => !(isSo() && (done(), true)));
  }

  until(isSo) {
    return isSo() ? Promise.resolve() : new Promise((done) => this.waiting.push([isSo, done]));
  }

  async enter() {
    await this.entity.start();
    const history = xml("history", { maxstanzas: "0" });
    await this.entity.send(
      xml("presence", { to: `${room}/${this.name}` }, xml("x", "http://jabber.org/protocol/muc", history)),
    );
    await this.until(() => this.present.has(this.name));
  }
}

function fail(why) {
  tell({ failed: why });
  process.exit(1);
}

const crowd = names.map((name) => new Occupant(name));
const queue = [...crowd];
await Promise.all(Array.from({ length: AT_ONCE }, async () => {
  for (let next; (next = queue.shift()); ) await next.enter();
}));
await Promise.all(crowd.map((one) => one.until(() => names.every((name) => one.present.has(name)))));
tell({ inside: crowd.length, seen: crowd[0].present.size });
await lines.next();
await Promise.all(crowd.slice(0, speakers).map((one) => one.entity.send(
  xml("message", { to: room, type: "groupchat" }, xml("body", {}, `${one.name} agrees`)),
)));
await Promise.all(crowd.map((one) => one.until(() => one.heard.length >= speakers + 1)));
tell({ heard: crowd[0].heard, alike: crowd.every((one) => one.heard.join() === crowd[0].heard.join()) });
await lines.next();
for (const one of crowd) one.entity.removeAllListeners("error");
await Promise.all(crowd.map((one) => one.entity.on("error", () => {}) && one.entity.stop().catch(() => {})));
process.exit(0);
