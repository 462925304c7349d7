// Converse.js in Debian's Chromium, driven by playwright-core. What to do comes as one JSON object in the first argument;
// what happened goes out as JSON, a line each. Two people sign in over WebSocket or BOSH, talk, and one sends a picture.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(`${process.env.BROWSER}/`));
const { chromium } = require("playwright-core");

const { domain, port, people, password, picture, screenshots, way } = JSON.parse(process.argv[2]);
const tell = (what) => console.log(JSON.stringify(what));
const patience = { timeout: 20_000 };

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", `--host-resolver-rules=MAP ${domain} 127.0.0.1`,
  ],
});

async function arrives(name) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 900, height: 700 } });
  const page = await context.newPage();
  page.on("pageerror", (error) => tell({ pageerror: String(error) }));
  page.on("console", (line) => line.type() === "error" && tell({ console: line.text() }));
  const sockets = [];
  page.on("websocket", (socket) => sockets.push(socket.url()));
  const requests = [];
  page.on("request", (request) => request.method() === "POST" && requests.push(request.url()));
  if (way === "bosh") await page.addInitScript(() => { delete window.WebSocket; });
  await page.goto(`https://${domain}:${port}/chat`, { waitUntil: "load" });
  await page.fill('input[name="jid"]', `${name}@${domain}`, patience);
  await page.fill('input[name="password"]', password, patience);
  await page.click('input[type="submit"], button[type="submit"]', patience);
  await page.waitForSelector(".controlbox-section, converse-user-profile", patience);
  tell({ online: name, sockets, requests });
  return page;
}

async function opens(page, jid) {
  // By the address bar, as a link from elsewhere would.
  await page.evaluate((jid) => { location.hash = `converse/chat?jid=${jid}`; }, jid);
  await page.waitForSelector(".chat-textarea", patience);
}

try {
  const [anna, ben] = [await arrives(people[0]), await arrives(people[1])];
  await opens(anna, `${people[1]}@${domain}`);
  await anna.fill(".chat-textarea", "Ciao Ben, do you see me?", patience);
  await anna.press(".chat-textarea", "Enter");
  await opens(ben, `${people[0]}@${domain}`);
  await ben.waitForSelector("text=Ciao Ben, do you see me?", patience);
  tell({ heard: "message" });
  await ben.fill(".chat-textarea", "As clear as day.", patience);
  await ben.press(".chat-textarea", "Enter");
  await anna.waitForSelector("text=As clear as day.", patience);
  tell({ heard: "answer" });
  await anna.setInputFiles('input[type="file"]', picture, patience);
  await ben.waitForFunction(() => {
    const images = [...document.querySelectorAll(".chat-image, .chat-msg__media img, converse-chat-message img")];
    return images.some((image) => image.src.includes("/upload/") && image.naturalWidth > 1);
  }, null, patience);
  tell({ saw: "picture" });
  await anna.screenshot({ path: `${screenshots}/converse-${way}-anna.png` });
  await ben.screenshot({ path: `${screenshots}/converse-${way}-ben.png` });
} catch (error) {
  tell({ error: String(error) });
  let at = 0;
  for (const context of browser.contexts()) {
    for (const page of context.pages()) await page.screenshot({ path: `${screenshots}/failed-${way}-${at++}.png` });
  }
} finally {
  await browser.close();
}
