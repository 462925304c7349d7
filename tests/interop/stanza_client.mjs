// Two people with stanza.js, through the web door: by WebSocket or by BOSH. What to do comes as one JSON object in the first
// argument; each step that was done goes out as a line of JSON, and so does the one that failed.
import dns from "node:dns";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(`${process.env.XMPPJS}/`));
const { createClient } = require("stanza");

const { url, by, domain, password, anna, bert } = JSON.parse(process.argv[2]);
// The domain is in nobody's DNS.
const lookup = dns.lookup;
dns.lookup = (name, ...rest) => lookup(name === domain ? "127.0.0.1" : name, ...rest);

const tell = (what) => console.log(JSON.stringify(what));
const PATIENCE_MS = 20_000;

/** Resolves with what the client tells under this name, once it fits. */
const once = (client, name, fits = () => true) =>
  new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no ${name}`)), PATIENCE_MS);
    client.on(name, (what) => {
      if (!fits(what)) return;
      clearTimeout(late);
      resolve(what);
    });
  });

const person = (name) => {
  const transports = { websocket: false, bosh: false, [by]: url };
  const client = createClient({ jid: `${name}@${domain}`, password, transports });
  client.on("auth:failed", () => tell({ failed: `${name} signs in` }));
  return client;
};

const step = async (name, work) => {
  try {
    tell({ step: name, told: (await work()) ?? null });
  } catch (error) {
    tell({ failed: name, why: error?.error ?? String(error) });
    process.exit(1);
  }
};

const one = person(anna);
const other = person(bert);
for (const client of [one, other]) {
  await step(`${client === one ? "one" : "other"} is there`, async () => {
    const there = once(client, "session:started");
    client.connect();
    await there;
    await client.getRoster();
    await client.enableCarbons();
    client.updateCaps();
    client.sendPresence({ legacyCapabilities: client.disco.getCaps() });
  });
}

for (const [asking, asked, name] of [[one, other, anna], [other, one, bert]]) {
  await step(`${name} sees the other`, async () => {
    const to = `${name === anna ? bert : anna}@${domain}`;
    const request = once(asked, "subscribe");
    asking.subscribe(to);
    await request;
    const seen = once(asking, "available", (presence) => presence.from.startsWith(to));
    asked.acceptSubscription(`${name}@${domain}`);
    await seen;
  });
}
await step("they chat, and the message is confirmed", async () => {
  const came = once(other, "message", (message) => message.body);
  const confirmed = once(one, "receipt");
  one.sendMessage({ to: `${bert}@${domain}`, type: "chat", body: "tea <& cake>?", receipt: { type: "request" } });
  const { body } = await came;
  await confirmed;
  return body;
});
await step("the archive has it", async () => {
  const { results } = await one.searchHistory({ with: `${bert}@${domain}`, paging: { max: 5, before: "" } });
  return results.map(({ item }) => item.message.body).filter(Boolean);
});
await step("a picture of one's own is seen by the contact", async () => {
  const seen = once(other, "avatar", (avatar) => avatar.jid.startsWith(`${anna}@`));
  const bytes = Buffer.from("not much of a picture");
  await one.publishAvatar("0123abcd", bytes);
  await one.useAvatars([{ id: "0123abcd", bytes: bytes.length, mediaType: "image/png" }]);
  await seen;
  const { content } = await other.getAvatar(`${anna}@${domain}`, "0123abcd");
  return content.data.toString();
});
await step("they meet in a room", async () => {
  const room = `kitchen-${anna}@rooms.${domain}`;
  await one.joinRoom(room, "one");
  await one.configureRoom(room, { type: "submit", fields: [] });
  await other.joinRoom(room, "other");
  const came = once(other, "groupchat", (message) => message.body);
  one.sendMessage({ to: room, type: "groupchat", body: "supper" });
  return (await came).body;
});
await step("a room is remembered", async () => {
  await one.addBookmark({ jid: `kitchen@rooms.${domain}`, autoJoin: false, name: "Kitchen" });
  return (await one.getBookmarks()).map(({ name }) => name);
});
await step("a file goes up and comes down", async () => {
  const { jid } = await one.getUploadService(domain);
  const { upload, download } = await one.getUploadSlot(jid, { name: "a.txt", size: 5, mediaType: "text/plain" });
  const headers = Object.fromEntries((upload.headers ?? []).map(({ name, value }) => [name, value]));
  const put = await fetch(upload.url, { method: "PUT", headers: { ...headers, "Content-Type": "text/plain" }, body: "hello" });
  return [put.status, await (await fetch(download)).text()];
});
for (const client of [one, other]) {
  await step(`${client === one ? "one" : "other"} leaves`, async () => {
    // It may wait for a queue that nobody empties any more before it says that it is disconnected.
    const gone = Promise.any([once(client, "disconnected"), once(client, "bosh:terminate")]);
    client.disconnect();
    await gone;
  });
}
process.exit(0);
