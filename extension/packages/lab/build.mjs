// The plugin as one module with the console inside; JupyterLab's own packages stay outside and are shared.
import { build } from "esbuild";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

await build({
  entryPoints: [here("src/index.ts")],
  outfile: here("lib/index.js"),
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: !process.argv.includes("--dev"),
  external: ["@jupyterlab/*", "@lumino/*"],
  loader: { ".svg": "text" },
  legalComments: "linked",
  logLevel: "warning",
});
