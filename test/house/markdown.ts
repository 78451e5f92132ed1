/** Reads our own Markdown: links, headings, fenced blocks and tables. */
import { posix } from 'node:path';

export interface Block {
  /** What stands behind the fence, for instance `sh` or `yaml fragment`. */
  readonly kind: string;
  readonly text: string;
  /** Of the fence, from 1. */
  readonly line: number;
}

const FENCE = /^```(.*)\n([\s\S]*?)^```$/gm;

export function blocksOf(markdown: string): readonly Block[] {
  return [...markdown.matchAll(FENCE)].map(({ 1: kind = '', 2: text = '', index }) => ({
    kind: kind.trim(),
    text,
    line: markdown.slice(0, index).split('\n').length,
  }));
}

export const withoutBlocks = (markdown: string): string => markdown.replaceAll(FENCE, '');

/** Targets of links and pictures, as written. */
export const linksOf = (markdown: string): readonly string[] =>
  [...withoutBlocks(markdown).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target ?? '');

/** As GitHub makes them from headings. */
export const anchorsOf = (markdown: string): readonly string[] =>
  [...withoutBlocks(markdown).matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{Letter}\p{Number}\s_-]/gu, '')
      .trim()
      .replaceAll(' ', '-'),
  );

/** Where a relative link of `page` leads: a path from the root, and an anchor in it or ''. */
export function target(page: string, link: string): { path: string; anchor: string } {
  const [file = '', anchor = ''] = link.split('#');
  return { path: file === '' ? page : posix.join(posix.dirname(page), file), anchor };
}

/** Cells of the rows of every table under `heading`, without head and rule. */
export function rowsUnder(markdown: string, heading: string): readonly (readonly string[])[] {
  const [, rest = ''] = markdown.split(new RegExp(`^#+ ${heading}$`, 'm'));
  const section = rest.split(/^#/m)[0] ?? '';
  return [...section.matchAll(/^\|(.+)\|$/gm)]
    .map(([, row = '']) => row.split(' | ').map((cell) => cell.trim()))
    .slice(2);
}
