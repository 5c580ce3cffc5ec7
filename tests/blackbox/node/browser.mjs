// A page of one origin calls a bucket of another: browser.mjs PAGE_URL PUT_URL GET_URL OTHER_URL prints JSON of what
// the page saw.
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [page_url, put_url, get_url, other_url] = process.argv.slice(2);
const context = await chromium.launchPersistentContext(mkdtempSync(join(tmpdir(), "chromium-")), {
  executablePath: "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"],
});
const page = await context.newPage();
await page.goto(page_url);
const seen = await page.evaluate(async ([put_url, get_url, other_url]) => {
  const call = async (url, options) => {
    try {
      const reply = await fetch(url, options);
      return { status: reply.status, etag: reply.headers.get("etag"), secret: reply.headers.get("x-amz-request-id"),
               text: await reply.text() };
    } catch (error) {
      return { blocked: String(error) };
    }
  };
  return {
    put: await call(put_url, { method: "PUT", body: "from a page", headers: { "content-type": "text/plain" } }),
    get: await call(get_url, {}),
    not_allowed_method: await call(put_url, { method: "DELETE" }),
    not_allowed_header: await call(put_url, { method: "PUT", body: "x", headers: { "x-other": "1" } }),
    other_bucket: await call(other_url, {}),
  };
}, [put_url, get_url, other_url]);
await context.close();
console.log(JSON.stringify(seen));
