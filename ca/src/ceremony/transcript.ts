/** The transcript of a ceremony: what those who were there print and sign. */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { filesOf, writeNew } from './folder.ts';

/** What was done, in the order in which it is printed; a label has at most 24 characters. */
export type Facts = readonly (readonly [label: string, value: string])[];

const WIDTH = 26;
const LINE = '_'.repeat(40);

/** Plain ASCII. */
export function transcriptOf(title: string, facts: Facts): string {
  const lines = facts.map(([label, value]) => `${label.padEnd(WIDTH)}${value}`);
  const present = ['Present', 'Signature', 'Present', 'Signature'].map(
    (each) => `${each.padEnd(WIDTH)}${LINE}`,
  );
  return `Chancery ceremony: ${title}\n\n${lines.join('\n')}\n\n${present.join('\n\n')}\n`;
}

/** Returns the path. `name` says what was done, `now` when. Throws file. Blocks. */
export function keepTranscript(
  dir: string,
  { name, now }: { name: string; now: Date },
  text: string,
): string {
  const time = now.toISOString().replace(/[-:]|\.\d+/g, '');
  const at = (more: string): string => join(filesOf(dir).transcripts, `${time}-${name}${more}.txt`);
  const path = existsSync(at('')) ? at(`-${randomUUID()}`) : at('');
  writeNew(path, text);
  return path;
}
