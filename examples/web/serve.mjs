// Serves this folder, and a bundle as /bundle/:   node serve.mjs BUNDLE [PORT]
import { createReadStream } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, extname, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

const TYPES = {
  ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css",
  ".json": "application/json", ".wasm": "application/wasm", ".onnx": "application/octet-stream",
};
const here = dirname(fileURLToPath(import.meta.url));
const [bundle, port = "8080"] = process.argv.slice(2);
if (!bundle) {
  console.error("which bundle? node serve.mjs BUNDLE [PORT]");
  process.exit(2);
}

/** The file that a request's path names, or nothing if it leaves the two folders. */
async function fileOf(path) {
  const inBundle = path.startsWith("/bundle/");
  const root = await realpath(inBundle ? resolve(bundle) : here);
  const wanted = join(root, inBundle ? path.slice("/bundle/".length) : path === "/" ? "index.html" : path);
  const found = await realpath(wanted).catch(() => undefined);
  return found?.startsWith(root + sep) && (await stat(found)).isFile() ? found : undefined;
}

const server = createServer(async (request, answer) => {
  const file = await fileOf(decodeURIComponent(new URL(request.url, "http://localhost").pathname)).catch(() => undefined);
  if (!file) {
    answer.writeHead(404).end("not found");
    return;
  }
  answer.writeHead(200, {
    "Content-Type": TYPES[extname(file)] ?? "application/octet-stream",
    // Both are needed before a browser lets WebAssembly use threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
  });
  createReadStream(file).pipe(answer);
});
server.listen(Number(port), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
