// One sign-in with xmpp.js: SASL2, Bind 2, stream management and FAST as it does them by itself. What to do comes as one
// JSON object in the first argument, what happened goes out as JSON, a line each.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(`${process.env.XMPPJS}/`));
const { client, xml } = await import(pathToFileURL(require.resolve("@xmpp/client")));

const { service, domain, username, password, token, agent, tag } = JSON.parse(process.argv[2]);
const tell = (what) => console.log(JSON.stringify(what));

const userAgent = xml("user-agent", { id: agent }, xml("software", {}, "xmpp.js"), xml("device", {}, "test bench"));
const entity = client({ service, domain, resource: tag, userAgent, credentials: { username, password, token } });
entity.reconnect.stop();
// Its own two seconds a step are over before a busy machine has read its modules for the first time.
entity.timeout = 20_000;
const said = [];
entity.on("element", (element) => said.push(element.name));
entity.fast.saveToken = async (token) => tell({ token });
entity.fast.deleteToken = async () => tell({ refused: true });
entity.on("error", (error) => {
  tell({ error: String(error) });
  process.exit(1);
});
entity.on("online", async (jid) => {
  const pong = await entity.iqCaller.get(xml("ping", "urn:xmpp:ping"));
  tell({ online: jid.toString(), managed: entity.streamManagement.enabled, pong: pong === undefined, said });
  // It misses the server's farewell if that comes while it is still writing its own, and then waits in vain.
  entity.removeAllListeners("error");
  entity.on("error", () => {});
  await entity.stop().catch(() => {});
  process.exit(0);
});
await entity.start().catch((error) => {
  tell({ error: String(error) });
  process.exit(1);
});
