/**
 * Bundles the page into the Python package, from which the hub serves it: pushpals/server/static/app.
 *
 * The result is not committed; without it the hub serves its plain page. Fails when the page outgrows its
 * budget, because a phone on a bad link pays for every byte.
 */
import { build } from "esbuild";
import { cp, mkdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { licences } from "./licences.mjs";

const BUDGET = 250 * 1024;
const here = fileURLToPath(new URL(".", import.meta.url));
const out = `${here}../pushpals/server/static/app`;
const making = `${out}.making`;

await rm(making, { recursive: true, force: true });
await mkdir(making, { recursive: true });
const common = {
  bundle: true, minify: true, format: "esm", target: ["es2022"], charset: "utf8", legalComments: "linked", metafile: true,
  logLevel: "warning",
};
const made = await build({ ...common, entryPoints: { app: `${here}packages/web/lib/main.js` }, outdir: making });
await build({ ...common, format: "iife", legalComments: "none", entryPoints: { sw: `${here}packages/web/lib/sw.js` }, outdir: making });
await cp(`${here}packages/web/public`, making, { recursive: true });
await writeFile(`${making}/licences.txt`, await licences(Object.keys(made.metafile.inputs)));

const { size } = await stat(`${making}/app.js`);
const zipped = gzipSync(readFileSync(`${making}/app.js`)).length;
console.log(`app.js ${(size / 1024).toFixed(0)} KiB, ${(zipped / 1024).toFixed(0)} KiB gzip`);
if (size > BUDGET) throw new Error(`app.js is larger than ${BUDGET / 1024} KiB`);

// The directory changes hands in one step: a hub never serves half a build.
await rm(out, { recursive: true, force: true });
await rename(making, out);
