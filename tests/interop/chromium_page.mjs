// The page of an invitation in Debian's Chromium: looked at by axe-core, light and dark, on a telephone's screen and a large
// one, and its form filled in with and without scripts. Outcomes go out as JSON, a line each.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(`${process.env.BROWSER}/`));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const { domain, pages, others, names, password, screenshots } = JSON.parse(process.argv[2]);
const tell = (what) => console.log(JSON.stringify(what));

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", `--host-resolver-rules=MAP ${domain} 127.0.0.1`,
  ],
});

async function opened(page, options) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
  const tab = await context.newPage();
  tab.on("pageerror", (error) => tell({ error: String(error) }));
  tab.on("console", (line) => line.type() === "error" && !line.text().includes("status of 404") && tell({ console: line.text() }));
  let bytes = 0;
  tab.on("response", async (response) => {
    const sizes = await response.request().sizes().catch(() => null);
    if (sizes) bytes += sizes.responseBodySize + sizes.responseHeadersSize;
  });
  await tab.goto(page, { waitUntil: "networkidle" });
  return { tab, bytes: () => bytes };
}

async function judged(tab, what) {
  const outcome = await tab.evaluate(`${axe}; axe.run()`);
  tell({ judged: what, faults: outcome.violations.map((fault) => `${fault.id}: ${fault.nodes[0].html}`) });
}

const telephone = { viewport: { width: 360, height: 740 }, userAgent: "Mozilla/5.0 (Linux; Android 16) Chrome/150" };
try {
  for (const [locale, colorScheme] of [["en", "light"], ["it", "dark"]]) {
    const { tab, bytes } = await opened(pages[0], { ...telephone, locale, colorScheme });
    await judged(tab, `${locale} ${colorScheme}`);
    tell({ bytes: bytes() });
    const wide = await tab.evaluate("document.documentElement.scrollWidth > innerWidth");
    tell({ wide });
    await tab.screenshot({ path: `${screenshots}/invitation-${locale}-${colorScheme}.png`, fullPage: true });
  }
  // The host's own page, a link that is no good, a new password, the status.
  for (const [name, page] of Object.entries(others)) {
    for (const [locale, colorScheme] of [["it", "light"], ["en", "dark"]]) {
      const { tab } = await opened(page, { ...telephone, locale, colorScheme });
      await judged(tab, `${name} ${locale} ${colorScheme}`);
      tell({ wide: await tab.evaluate("document.documentElement.scrollWidth > innerWidth") });
      await tab.screenshot({ path: `${screenshots}/${name}-${locale}-${colorScheme}.png`, fullPage: true });
    }
  }
  // With the script the name is checked as one types.
  const { tab } = await opened(pages[0], { viewport: { width: 1200, height: 900 }, locale: "en" });
  await tab.fill("#name", names[0]);
  await tab.waitForSelector("#verdict:not(:empty)");
  tell({ verdict: await tab.textContent("#verdict") });
  await tab.fill("#password", password);
  await tab.click("button");
  await tab.waitForSelector("strong");
  tell({ made: await tab.textContent("strong") });
  await judged(tab, "done");
  await tab.screenshot({ path: `${screenshots}/invitation-done.png` });
  // And without it.
  const plain = await opened(pages[1], { ...telephone, locale: "it", javaScriptEnabled: false });
  await plain.tab.fill("#name", names[0]);
  await plain.tab.fill("#password", password);
  await plain.tab.click("button");
  tell({ taken: await plain.tab.textContent("#verdict") });
  await plain.tab.screenshot({ path: `${screenshots}/invitation-taken.png`, fullPage: true });
  await plain.tab.fill("#name", names[1]);
  await plain.tab.fill("#password", password);
  await plain.tab.click("button");
  tell({ made: await plain.tab.textContent("strong") });
} catch (error) {
  tell({ error: String(error) });
} finally {
  await browser.close();
}
