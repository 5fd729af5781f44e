// The plugin as one module with the console inside; JupyterLab's own packages stay outside and are shared.
import { build } from "esbuild";
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { licences } from "../../licences.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const { metafile } = await build({
  entryPoints: [here("src/index.ts")],
  outfile: here("lib/index.js"),
  bundle: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  minify: !process.argv.includes("--dev"),
  external: ["@jupyterlab/*", "@lumino/*"],
  loader: { ".svg": "text" },
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
});
await writeFile(here("lib/licences.txt"), await licences(Object.keys(metafile.inputs)));
