#!/usr/bin/env node
// edge-asc FILE.ts --outFile FILE.wasm: asc with the settings that a plugin of Edge needs. Others can be added.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const name = "@edge-server/guest/";

// EDGE_ASC is the compiler of another folder; without it, the one that npm installed with this package.
const asc = (await import(process.env.EDGE_ASC ? pathToFileURL(join(dirname(dirname(process.env.EDGE_ASC)), "dist", "asc.js")) : "assemblyscript/asc")).default;

const args = process.argv.slice(2);
if (args.length === 0 || args.includes("--help")) {
  console.error("usage: edge-asc FILE.ts --outFile FILE.wasm [further options of asc]");
  process.exit(2);
}

const settings = [
  "--runtime", "incremental", // the others never free memory: a plugin would grow with each request
  "--exportStart", "_initialize", // so that the top level can call the host
  "--use", "abort=edge_abort", // errors go to the server's log
  "--use", "seed=edge_seed", // Math.random
  "--optimizeLevel", "3", "--shrinkLevel", "0", "--noAssert=false",
];

// The package itself is found wherever it lies, also when it is not in a node_modules.
async function read(filename, baseDir) {
  const at = filename.indexOf(name);
  const file = at >= 0 ? join(root, "assembly", filename.slice(at + name.length)) : join(baseDir, filename);
  if (!existsSync(file)) return null;
  return readFile(file, "utf8");
}

const { error, stderr } = await asc.main([...args, ...settings.filter((s) => s !== "--noAssert=false")], { readFile: read });
if (error) {
  console.error(stderr.toString().trim() || error.message);
  process.exit(1);
}
