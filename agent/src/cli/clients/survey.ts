/** Looks into the configs of MCP clients, and changes nothing. */
import fs from 'node:fs';
import { join, resolve } from 'node:path';
import { utf8Text } from '@chancery/shared/ground/bytes.ts';
import { isRefusal } from '@chancery/shared/ground/errors.ts';
import { readTrustedFile } from '@chancery/shared/unix/files/trusted-file.ts';
import { inFile } from '@chancery/shared/unix/files/whole-file.ts';
import { BOM, MAX_FILE_BYTES } from './client-file.ts';
import { CLIENTS, type Home } from './clients.ts';
import { type ClientEntry, entriesIn, type Guards } from './entries.ts';
import { readJsonText } from './json-text.ts';

export interface Surveyed {
  /** The client's name, for people. */
  readonly client: string;
  readonly file: string;
  /** Why the file was not read. */
  readonly problem: string | null;
  readonly servers: readonly ClientEntry[];
}

/** The user's own files, and those of a project in the folder. A client without a file is left out. Blocks. */
export function survey(home: Home | undefined, folder: string, guards: Guards): readonly Surveyed[] {
  const own =
    home === undefined ? [] : Object.values(CLIENTS).map((each) => [each, each.file(home)] as const);
  const ofProject = PROJECT_FILES.map(([name, file]) => [CLIENTS[name], join(folder, file)] as const);
  const files = new Map([...ofProject, ...own].map(([client, path]) => [resolve(path), client]));
  return [...files].flatMap(([file, { called, servers }]) => {
    if (!fs.existsSync(file)) return [];
    return [{ client: called, file, ...look(file, servers, guards) }];
  });
}

/** As the documentation of these clients has it in November 2026. */
const PROJECT_FILES = [
  ['claude-code', '.mcp.json'],
  ['cursor', '.cursor/mcp.json'],
  ['vscode', '.vscode/mcp.json'],
] as const;

function look(file: string, servers: string, guards: Guards): Pick<Surveyed, 'problem' | 'servers'> {
  try {
    return inFile(file, 'file', () => {
      const text = utf8Text(readTrustedFile(file, { maxBytes: MAX_FILE_BYTES, code: 'file' }), 'file');
      const json = readJsonText(text.startsWith(BOM) ? text.slice(BOM.length) : text, true);
      return { problem: null, servers: entriesIn(json, servers, guards) };
    });
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return { problem: error.message, servers: [] };
  }
}
