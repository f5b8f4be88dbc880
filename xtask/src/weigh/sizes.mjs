// `node sizes.mjs FILE…`: one line of JSON a file: what it weighs as it is, with gzip and with brotli at
// their best levels, as a server that compresses ahead of time would send it.
import { readFileSync } from "node:fs";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

for (const path of process.argv.slice(2)) {
  const bytes = readFileSync(path);
  const brotli = brotliCompressSync(bytes, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_LGWIN]: 22,
      [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    },
  });
  const gzip = gzipSync(bytes, { level: 9 });
  console.log(JSON.stringify({ path, raw: bytes.length, gzip: gzip.length, brotli: brotli.length }));
}
