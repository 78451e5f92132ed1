/** `npm run generate`: writes the reference pages of docs/. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pages } from './reference.ts';
import { root } from './repository.ts';

for (const [path, text] of Object.entries(pages())) writeFileSync(join(root, path), text);
