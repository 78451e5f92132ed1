/** Verifies a folder with an audit log and prints what was found: for the offline program and for the CA's command. */
import type { ExitStatus, Io } from '../cli/program.ts';
import { base64 } from '../ground/bytes.ts';
import type { NoteKey } from '../tlog/note.ts';
import type { ReadFile } from '../tlog/read-log.ts';
import { type KeptCheckpoint, type LogReport, verifyLog } from '../tlog/verify-log.ts';
import { readIn } from './folder.ts';

export interface FolderToVerify {
  readonly folder: string;
  readonly key: NoteKey;
  readonly kept: readonly KeptCheckpoint[];
  readonly json: boolean;
}

/**
 * 0 if the log is what was signed, else 1. Throws tlog for a kept checkpoint that the key has not signed, and the
 * reason of `io.signal` when it aborts.
 */
export async function verifyFolder(of: FolderToVerify, io: Io): Promise<ExitStatus> {
  const { folder, key, kept, json } = of;
  const bar = new ProgressBar(json ? undefined : io);
  const onProgress = (read: number, size: number): void => bar.show(read, size);
  const inFolder = readIn(folder);
  const read: ReadFile = (path) => {
    io.signal.throwIfAborted();
    return inFolder(path);
  };
  const report = await verifyLog({ read, key, kept, onProgress }).finally(() => bar.clear());
  if (json) io.out(`${JSON.stringify(jsonOf(report, of), null, 2)}\n`);
  else print(report, of, io);
  return report.findings.length === 0 ? 0 : 1;
}

function print(
  { checkpoint, from, lacking, findings }: LogReport,
  { folder, key, kept }: FolderToVerify,
  io: Io,
): void {
  for (const { problem } of findings) io.out(`BAD  ${problem}\n`);
  if (checkpoint === undefined || findings.length > 0) return;
  const { size, root } = checkpoint;
  const which = from === 0 ? `${size} entries` : `entries ${from} to ${size - 1} of ${size}`;
  const says = `${which} are those that ${key.name} signed, root ${base64(root)}`;
  io.out(`good: ${folder}: ${says}\n`);
  if (from > 0) io.out(`entries before ${from} were pruned, as a kept entry says\n`);
  if (lacking.length > 0) io.out(`${lackingLine(lacking)}\n`);
  for (const { name } of kept) io.out(`good: they begin with those of the kept checkpoint ${name}\n`);
  if (kept.length === 0)
    io.out('not proved without a checkpoint kept elsewhere (--from): that no later entries were cut off\n');
}

/** The first of them, and how many more there are. */
function lackingLine([first, ...more]: readonly string[]): string {
  const which = more.length === 0 ? `${first} is` : `${first} and ${more.length} more tiles like it are`;
  return (
    `${which} missing, over entries that were pruned: no proof of a kept entry needs them, and only a log whose ` +
    'files were written again from ca.db, as after a restore, is without them'
  );
}

const jsonOf = ({ checkpoint, from, lacking, findings }: LogReport, { key, kept }: FolderToVerify) => ({
  good: findings.length === 0,
  origin: key.name,
  entries: checkpoint?.size ?? null,
  from,
  lacking,
  root: checkpoint === undefined ? null : base64(checkpoint.root),
  kept: kept.map(({ name }) => name),
  findings: findings.map(({ entry, problem }) => ({ entry: entry ?? null, problem })),
});

const WIDTH = 30;

/** On a terminal; nothing elsewhere. */
class ProgressBar {
  readonly #io: Pick<Io, 'progress'> | undefined;
  #shown = -1;

  constructor(io: Pick<Io, 'progress'> | undefined) {
    this.#io = io;
  }

  /** Draws it again where that shows another number. */
  show(done: number, all: number): void {
    const percent = Math.floor((done / all) * 100);
    if (percent === this.#shown) return;
    this.#shown = percent;
    const full = Math.floor((done / all) * WIDTH);
    const bar = `${'#'.repeat(full)}${'.'.repeat(WIDTH - full)}`;
    this.#io?.progress?.(`[${bar}] ${percent} %, ${done} of ${all} entries`);
  }

  /** Removes it. */
  clear(): void {
    if (this.#shown >= 0) this.#io?.progress?.('');
  }
}
