// Copies what the pages take from node_modules into vmproxy/web/vendor/, with the licences and the types.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const vendor = join(here, "..", "vmproxy", "web", "vendor");
const modules = {
  xterm: "xterm",
  search: "addon-search",
  unicode11: "addon-unicode11",
  "web-links": "addon-web-links",
};

rmSync(vendor, { recursive: true, force: true });
mkdirSync(vendor);
const licences = [];
for (const [name, folder] of Object.entries(modules)) {
  const from = join(here, "node_modules", "@xterm", folder);
  const { version, license } = JSON.parse(readFileSync(join(from, "package.json"), "utf8"));
  // The source maps stay behind, so nothing may ask for them.
  const source = readFileSync(join(from, "lib", `${folder}.mjs`), "utf8").replace(/\n?\/\/# sourceMappingURL=.*\s*$/, "\n");
  writeFileSync(join(vendor, `${name}.mjs`), source);
  writeFileSync(join(vendor, `${name}.d.mts`), `export * from "@xterm/${folder}";\n`);
  let text = `${license} licence, as xterm.js.`;
  try {
    text = readFileSync(join(from, "LICENSE"), "utf8").trim();
  } catch {
    // It has the licence of its repository, which is that of xterm.js.
  }
  licences.push(`@xterm/${folder} ${version}\n\n${text}\n`);
}
writeFileSync(join(vendor, "xterm.css"), readFileSync(join(here, "node_modules", "@xterm", "xterm", "css", "xterm.css")));
writeFileSync(join(vendor, "LICENSES.txt"), licences.join(`\n${"-".repeat(78)}\n\n`));
