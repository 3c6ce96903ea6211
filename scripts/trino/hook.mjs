// The parser's files import folders and names without .js, as bundlers take them and node does not.
import fs from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';

export async function resolve(name, context, next) {
  if (name.startsWith('.') && context.parentURL) {
    const base = fileURLToPath(new URL(name, context.parentURL));
    for (const path of [base, `${base}.js`, `${base}/index.js`]) {
      if (fs.existsSync(path) && fs.statSync(path).isFile()) return { url: pathToFileURL(path).href, shortCircuit: true };
    }
  }
  return next(name, context);
}

export async function load(url, context, next) {
  if (url.includes('/dt-sql-parser/dist/')) return { format: 'module', source: fs.readFileSync(fileURLToPath(url), 'utf8'), shortCircuit: true };
  return next(url, context);
}
