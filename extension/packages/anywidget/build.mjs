// One file without imports into the Python package. It travels in the notebook's messages, so it is small.
import { build } from "esbuild";
import { stat, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { licences } from "../../licences.mjs";

const BUDGET = 250 * 1024;
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const out = here("../../../pushpals/notebook/static");

const { metafile } = await build({
  entryPoints: [here("src/index.ts")],
  outfile: `${out}/widget.js`,
  bundle: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  minify: true,
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
});
await writeFile(`${out}/licences.txt`, await licences(Object.keys(metafile.inputs)));
const { size } = await stat(`${out}/widget.js`);
console.log(`widget.js ${(size / 1024).toFixed(0)} KiB`);
if (size > BUDGET) throw new Error(`widget.js is larger than ${BUDGET / 1024} KiB`);
