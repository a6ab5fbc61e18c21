// Checks an AsyncAPI document with the parser of the AsyncAPI initiative, which also checks the examples.
// usage: node asyncapi.mjs FILE
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const { Parser } = createRequire(import.meta.url)('@asyncapi/parser');

const file = process.argv[2];
const { document, diagnostics } = await new Parser().parse(readFileSync(file, 'utf8'));
const severities = ['error', 'warning', 'information', 'hint'];
for (const d of diagnostics) {
  console.error(`${file}:${d.range.start.line + 1}: ${severities[d.severity]}: ${d.message} (${d.code}, ${d.path.join('.')})`);
}
if (!document || diagnostics.some((d) => d.severity < 2)) process.exit(1);
console.log(`${file}: ${document.allOperations().length} operations, ${document.allMessages().length} messages: valid`);
