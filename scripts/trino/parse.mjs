// parse.mjs MODULES: reads {name: SQL} from its input, and prints for each its name and the SHA-256 of its SQL, once Trino's
// grammar takes all of them.
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { register } from 'node:module';
import { pathToFileURL } from 'node:url';

const modules = pathToFileURL(`${process.argv[2]}/`);
register('./hook.mjs', import.meta.url);
const { TrinoSQL } = await import(new URL('dt-sql-parser/dist/index.js', modules));
const { version } = JSON.parse(fs.readFileSync(new URL('dt-sql-parser/package.json', modules)));
const parser = new TrinoSQL();

if (parser.validate('SELECT FROM events;').length === 0) throw new Error('the parser takes anything');
const all = JSON.parse(fs.readFileSync(0));
let wrong = 0;
for (const [name, sql] of Object.entries(all)) {
  for (const e of parser.validate(`${sql};`)) {
    console.error(`${name}, line ${e.startLine}:${e.startColumn}: ${e.message}`);
    wrong++;
  }
}
if (wrong) process.exit(1);
console.log(`# What Trino's grammar takes, by dt-sql-parser ${version}: scripts/trino/check writes this.`);
for (const name of Object.keys(all).sort()) console.log(name, createHash('sha256').update(all[name]).digest('hex'));
